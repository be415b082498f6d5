//! `/metrics`.

use crate::client::request;
use crate::site::{Site, url};

async fn metrics(site: &Site) -> String {
    let reply = request(site.admin, "GET", "/metrics", &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.field("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    String::from_utf8(reply.body).unwrap()
}

/// The value of a sample by its name with labels, as it is written.
fn value(text: &str, sample: &str) -> Option<f64> {
    text.lines().find_map(|l| l.strip_prefix(sample)?.strip_prefix(' ')?.parse().ok())
}

#[tokio::test]
async fn requests_are_counted_by_route_and_status() {
    let site = Site::start().await;
    site.publish("images/a", "hello").await;
    for _ in 0..3 {
        site.get(&url("images/a"), &[]).await;
    }
    site.get(&url("images/none"), &[]).await;
    site.get("/nowhere/at/all?x=1", &[]).await;
    request(site.admin, "GET", "/v1/files/images/a", &[]).await;
    let text = metrics(&site).await;
    let count = |listener: &str, route: &str, status: &str| {
        let labels = format!("listener=\"{listener}\",route=\"{route}\",status=\"{status}\"");
        value(&text, &format!("ezdfs_http_request_duration_seconds_count{{{labels}}}"))
    };
    assert_eq!(count("assets", "asset", "2xx"), Some(3.0), "{text}");
    assert_eq!(count("assets", "asset", "4xx"), Some(1.0));
    assert_eq!(count("assets", "other", "4xx"), Some(1.0));
    assert_eq!(count("admin", "files", "4xx"), Some(1.0));
    assert_eq!(value(&text, "ezdfs_http_requests_in_flight{listener=\"assets\"}"), Some(0.0));
    // This one.
    assert_eq!(value(&text, "ezdfs_http_requests_in_flight{listener=\"admin\"}"), Some(1.0));
    assert_eq!(value(&text, "ezdfs_files"), Some(1.0));
    assert_eq!(value(&text, "ezdfs_pending_live"), Some(0.0));
    assert_eq!(value(&text, "ezdfs_ready"), Some(1.0));
    site.readiness.withdraw();
    assert_eq!(value(&metrics(&site).await, "ezdfs_ready"), Some(0.0));
}

#[tokio::test]
async fn no_client_makes_labels() {
    let site = Site::start().await;
    let before = metrics(&site).await.lines().count();
    for i in 0..50 {
        site.get(&format!("/{i}/x{i}"), &[("User-Agent", &i.to_string())]).await;
    }
    let text = metrics(&site).await;
    // One histogram more: twelve bounds, infinity, sum and count; and that of the first scrape.
    assert!(text.lines().count() <= before + 2 * 15 + 2, "{text}");
    assert!(!text.contains("x49"), "{text}");
}

#[tokio::test]
async fn each_metric_is_described_once_and_before_its_samples() {
    let site = Site::start().await;
    site.get(&url("images/none"), &[]).await;
    let text = metrics(&site).await;
    let mut described = Vec::new();
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let name = rest.split(' ').next().unwrap();
            assert!(!described.contains(&name), "{name} twice");
            described.push(name);
        } else if !line.starts_with('#') {
            let name = line.split(['{', ' ']).next().unwrap();
            assert!(described.iter().any(|d| name.starts_with(d)), "{name} is not described");
        }
    }
    assert!(described.len() > 10, "{described:?}");
}
