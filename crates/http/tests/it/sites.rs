//! Several sites on one listener.

use crate::client::request;
use crate::site::{Plan, Site, url};

#[tokio::test]
async fn a_request_is_for_the_site_of_its_host_and_prefix() {
    let shop = Site::start().await;
    shop.publish("images/a", "shop").await;
    let press = Site::start().await;
    press.publish("images/a", "press").await;
    let sites = vec![
        ("/var/site/storage/press", press.service.clone()),
        ("http://shop.example.com/var/site/storage", shop.service.clone()),
    ];
    let site = Site::with(Plan { sites, ..Plan::default() }).await;
    site.publish("images/a", "main").await;
    site.publish("images/press/images/a", "main").await;
    let target = url("images/a");
    let get = async |host: &str, target: &str| {
        let bytes = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let reply = crate::client::Reply::parse(
            &crate::client::exchange(site.address, bytes.as_bytes()).await,
        );
        (reply.status, String::from_utf8(reply.body).unwrap())
    };
    let found = |text: &str| (200, text.to_owned());
    assert_eq!(get("localhost", &target).await, found("main"));
    assert_eq!(get("shop.example.com", &target).await, found("shop"));
    assert_eq!(get("SHOP.example.com:80", &target).await, found("shop"));
    // Its prefix is longer than that of the main site, whatever the host; but a host comes first.
    let press_target = url("press/images/a");
    assert_eq!(get("localhost", &press_target).await, found("press"));
    assert_eq!(get("shop.example.com", &press_target).await.0, 404);
    for (host, target) in [
        ("localhost", "/elsewhere/images/a"),
        ("localhost", "/var/site/storage/press/original/a"),
        ("shop.example.com", "/images/a"),
    ] {
        assert_eq!(get(host, target).await.0, 404, "{host} {target}");
    }
    // The admin API is that of the main store.
    let fields = [("Authorization", "Bearer all")];
    let reply = request(site.admin, "GET", "/v1/files/images/a", &fields).await;
    assert_eq!(reply.body, b"main");
}

#[tokio::test]
async fn with_hosts_alone_another_host_is_misdirected() {
    let shop = Site::start().await;
    shop.publish("images/a", "shop").await;
    let sites = vec![("http://shop.example.com/", shop.service.clone())];
    let plan = Plan { url_prefix: "http://www.example.com/", sites, ..Plan::default() };
    let site = Site::with(plan).await;
    assert_eq!(site.status("GET", "/images/a").await, 421);
}
