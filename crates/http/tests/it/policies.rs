//! What operators choose about answers, over the wire.

use std::time::Duration;

use ezdfs_core::Clock as _;
use ezdfs_http::{
    CachePolicies, CachePolicy, Cors, Placeholder, Placeholders, Policies, SigningKeys,
};

use crate::client::request;
use crate::site::{Plan, SIGNING_KEY, Site, policies, url};

async fn site(policies: Policies) -> Site {
    Site::with(Plan { policies, ..Plan::default() }).await
}

#[tokio::test]
async fn a_private_file_is_read_with_its_signature_only() {
    let site = Site::start().await;
    site.publish("original/a b.pdf", "secret").await;
    site.publish("original/other.pdf", "other").await;
    let keys = SigningKeys::new([("test", SIGNING_KEY)], Duration::from_secs(3600)).unwrap();
    let until = site.clock.now().plus(Duration::from_secs(30));
    let signature = keys.sign(&url("original/a b.pdf"), until).unwrap();
    let file = url("original/a%20b.pdf");

    let reply = site.get(&format!("{file}?{signature}"), &[]).await;
    assert_eq!((reply.status, &reply.body[..]), (200, &b"secret"[..]));
    assert_eq!(reply.field("cache-control"), Some("private, max-age=30, must-revalidate"));
    let head = request(site.address, "HEAD", &format!("{file}?{signature}"), &[]).await;
    assert_eq!((head.status, head.length()), (200, Some(6)));

    // Without one it does not exist, whether it does or not.
    let without = site.get(&file, &[]).await;
    let missing = site.get(&url("original/none.pdf"), &[]).await;
    assert_eq!((without.status, missing.status), (404, 404));
    assert_eq!(without.body, missing.body);

    for target in [
        format!("{}?{signature}", url("original/other.pdf")),
        format!("{file}?{}", signature.replace("ezdfs-key=test", "ezdfs-key=x")),
        format!("{file}?{signature}&ezdfs-key=test"),
    ] {
        assert_eq!(site.get(&target, &[]).await.status, 403, "{target}");
    }
    assert_eq!(request(site.address, "PUT", &format!("{file}?{signature}"), &[]).await.status, 405);
    site.clock.advance(Duration::from_secs(31));
    let over = site.get(&format!("{file}?{signature}"), &[]).await;
    assert_eq!((over.status, over.field("cache-control")), (403, Some("no-store")));
}

#[tokio::test]
async fn a_missing_image_shows_its_placeholder() {
    let shown = |pattern, as_found| Placeholder { pattern, path: "images/none.png", as_found };
    let placeholders =
        Placeholders::new([shown("images/avatars/**", true), shown("images/**", false)]).unwrap();
    let site = site(Policies { placeholders, ..policies() }).await;
    assert_eq!(site.get(&url("images/x.jpg"), &[]).await.body, b"There is no such file.\n");
    site.publish("images/none.png", "a picture").await;
    for (file, status) in [("images/x.jpg", 404), ("images/avatars/7.jpg", 200)] {
        let fields = [("Range", "bytes=0-0"), ("If-None-Match", "*")];
        let reply = site.get(&url(file), &fields).await;
        assert_eq!((reply.status, &reply.body[..]), (status, &b"a picture"[..]), "{file}");
        assert_eq!(reply.field("content-type"), Some("image/png"));
        assert_eq!(reply.field("cache-control"), Some("max-age=10"));
        for name in ["etag", "last-modified", "accept-ranges", "content-range"] {
            assert_eq!(reply.field(name), None, "{name}");
        }
    }
    let head = request(site.address, "HEAD", &url("images/x.jpg"), &[]).await;
    assert_eq!((head.status, head.length(), head.body.len()), (404, Some(9), 0));
    // Where nobody may look nothing is shown.
    assert_eq!(site.get(&url("original/x"), &[]).await.body, b"There is no such file.\n");
}

#[tokio::test]
async fn caches_in_front_are_told_what_they_need() {
    let hashed = CachePolicy {
        pattern: "images/**",
        hashed: true,
        cache_control: "public, max-age=31536000, immutable",
        cdn_cache_control: Some("max-age=86400"),
    };
    let cache = CachePolicies::new([hashed]).unwrap();
    let site = site(Policies { cache, surrogate_keys: true, ..Policies::default() }).await;
    let published = site.publish("images/1/0a1b2c3d4e5f-p.jpg", "x").await;
    let target = url("images/1/0a1b2c3d4e5f-p.jpg");
    let tag = published.etag.to_string();
    for (fields, status) in [(&[][..], 200), (&[("If-None-Match", &*tag)], 304)] {
        let reply = site.get(&target, fields).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.field("cache-control"), Some("public, max-age=31536000, immutable"));
        assert_eq!(reply.field("cdn-cache-control"), Some("max-age=86400"));
        assert_eq!(reply.field("xkey"), reply.field("surrogate-key"));
        assert_eq!(reply.field("xkey").unwrap().split(' ').count(), 2);
    }
}

#[tokio::test]
async fn scripts_of_listed_sites_may_read() {
    let cors = Cors::new(["https://www.example.com"]).unwrap();
    let site = site(Policies { cors, ..policies() }).await;
    site.publish("images/a.jpg", "x").await;
    let origin = [("Origin", "https://www.example.com")];
    let reply = site.get(&url("images/a.jpg"), &origin).await;
    assert_eq!(reply.field("access-control-allow-origin"), Some("https://www.example.com"));
    assert_eq!(reply.field("vary"), Some("Origin"));
    let missing = site.get(&url("images/none.jpg"), &origin).await;
    assert_eq!(missing.field("access-control-allow-origin"), Some("https://www.example.com"));
    let preflight =
        [("Origin", "https://www.example.com"), ("Access-Control-Request-Method", "GET")];
    let reply = request(site.address, "OPTIONS", &url("images/a.jpg"), &preflight).await;
    assert_eq!(
        (reply.status, reply.field("access-control-allow-methods")),
        (204, Some("GET, HEAD"))
    );
    let other = site.get(&url("images/a.jpg"), &[("Origin", "https://evil.example")]).await;
    assert_eq!(other.field("access-control-allow-origin"), None);
    assert_eq!(other.status, 200);
}
