//! Varnish.

use std::process::Command;

use super::{Front, IMAGE, Site, check, example, free_address, program};
use crate::common::http;

/// Cached by Varnish for long, so that what is seen again was purged and did not end; ezdfs looks at
/// the row for each request.
const SETTINGS: &str = "[serve]\nfreshness = \"strict\"\n\n[[serve.cache_policy]]\nmatch = \"images/1/2/**\"\n\
     cache_control = \"public, max-age=60\"\ncdn_cache_control = \"max-age=3600\"\n";

#[test]
fn varnish_in_front() {
    let Some(varnish) = program("varnishd") else { return };
    let site = Site::new(SETTINGS);
    let address = free_address();
    let (host, port) = (site.ezdfs.assets.ip(), site.ezdfs.assets.port());
    let text = example("varnish.vcl")
        .replace("\"8080\"", &format!("\"{port}\""))
        .replace("\"8000\"", &format!("\"{}\"", site.web.port()));
    assert_eq!(host.to_string(), "127.0.0.1");
    let vcl = site.home.write("varnish.vcl", text);
    let mut command = Command::new(varnish);
    command
        .args(["-F", "-j", "none", "-s", "malloc,64m", "-a", &address.to_string(), "-f"])
        .arg(vcl)
        .arg("-n")
        .arg(site.home.path().join("varnish"));
    let front = Front::start(&site, &mut command, address);
    check(&front);

    let body = || front.get(IMAGE, &[]).body;
    assert_eq!(body(), b"bytes of an image");
    site.home.put("images/1/2/a.jpg", "another image");
    assert_eq!(body(), b"bytes of an image", "cached as `cdn_cache_control` says");
    let purge = http::request(front.address, "PURGE", IMAGE, &[]);
    assert_eq!(purge.status, 200, "{purge:?}");
    assert_eq!(body(), b"another image");

    site.home.put("images/1/2/a.jpg", "a third image");
    assert_eq!(body(), b"another image");
    let tags = http::get(site.ezdfs.assets, IMAGE).header("xkey").unwrap().to_owned();
    let ban = |tag: &str| http::request(front.address, "BAN", IMAGE, &[("xkey", tag)]).status;
    assert_eq!(ban("p-no-directory-of-this-file"), 200);
    assert_eq!(body(), b"another image");
    assert_eq!(ban(tags.split_whitespace().last().unwrap()), 200, "{tags}");
    assert_eq!(body(), b"a third image");
    assert_eq!(front.get(IMAGE, &[]).header("xkey"), None, "tags are not for browsers");

    site.ezdfs.stop();
    assert_eq!(body(), b"a third image", "what is cached is served while ezdfs is away");
}
