//! The access log of a running server.

use std::io::Write;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use ezdfs_http::Format;
use serde_json::Value;

use crate::client::request;
use crate::site::{Plan, Site, url};

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn every_answer_is_one_line() {
    let sink = Sink::default();
    let log = Some((Format::Json, Box::new(sink.clone()) as Box<dyn Write + Send>));
    let site = Site::with(Plan { log, ..Plan::default() }).await;
    site.publish("images/a", vec![1; 100_000]).await;
    let target = url("images/a");
    site.get(&format!("{target}?ezdfs-signature=secret"), &[("User-Agent", "test")]).await;
    request(site.address, "HEAD", &target, &[]).await;
    site.get(&target, &[("Range", "bytes=0-9")]).await;
    site.get(&target, &[("If-None-Match", "*")]).await;
    site.get("/nowhere", &[]).await;
    request(site.address, "OPTIONS", "*", &[]).await;
    site.faults.break_after.store(50_000, Ordering::SeqCst);
    site.get(&target, &[]).await;
    tokio::time::timeout(Duration::from_secs(10), site.shut_down()).await.unwrap().unwrap();

    let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
    assert!(!text.contains("secret"), "{text}");
    let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let seen: Vec<_> = lines
        .iter()
        .map(|l| {
            let text = |key: &str| l[key].as_str().unwrap().to_owned();
            (text("method"), text("path"), l["status"].clone(), l["complete"].clone())
        })
        .collect();
    let line = |method: &str, path: &str, status: u16, complete: bool| {
        (method.to_owned(), path.to_owned(), Value::from(status), Value::from(complete))
    };
    assert_eq!(
        seen,
        [
            line("GET", &target, 200, true),
            line("HEAD", &target, 200, true),
            line("GET", &target, 206, true),
            line("GET", &target, 304, true),
            line("GET", "/nowhere", 404, true),
            line("OPTIONS", "*", 204, true),
            line("GET", &target, 200, false),
        ]
    );
    assert_eq!(lines[0]["bytes"], 100_000);
    assert_eq!(lines[0]["user_agent"], "test");
    assert_eq!(lines[0]["remote"], "127.0.0.1");
    let ids: Vec<_> = lines.iter().map(|l| l["request_id"].as_str().unwrap()).collect();
    assert!(ids.iter().all(|id| ids.iter().filter(|other| *other == id).count() == 1), "{ids:?}");
    assert_eq!((&lines[1]["bytes"], &lines[2]["bytes"]), (&Value::from(0), &Value::from(10)));
}
