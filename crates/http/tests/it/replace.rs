//! Abuse case 36: a file that is replaced while it is read is one version, or a cut connection.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::client::{Reply, head};
use crate::site::{Plan, Site, url};

const SIZE: usize = 3 << 20;

/// Reads an answer slowly enough that the file is replaced several times meanwhile.
async fn read_slowly(site: &Site, fields: &[(&str, &str)]) -> Reply {
    let mut stream = TcpStream::connect(site.address).await.unwrap();
    let mut fields = fields.to_vec();
    fields.push(("Connection", "close"));
    stream.write_all(head("GET", &url("images/a"), &fields).as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let mut chunk = vec![0; 256 << 10];
    loop {
        match stream.read(&mut chunk).await {
            Ok(0) | Err(_) => return Reply::parse(&answer),
            Ok(n) => answer.extend_from_slice(&chunk[..n]),
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

async fn never_mixed(local: bool) {
    let site = Arc::new(Site::with(Plan { local, ..Plan::default() }).await);
    site.publish("images/a", vec![0; SIZE]).await;
    let writer = {
        let site = site.clone();
        tokio::spawn(async move {
            for version in 1..=u8::MAX {
                // Sizes differ now and then, so that an old size meets new bytes.
                let size = SIZE - usize::from(version % 3);
                site.publish("images/a", vec![version; size]).await;
                tokio::time::sleep(Duration::from_millis(3)).await;
            }
        })
    };
    let mut whole = 0;
    let mut in_parts = 0;
    let mut versions = std::collections::BTreeSet::new();
    while !writer.is_finished() {
        for fields in [&[][..], &[("Range", "bytes=1-")], &[("Range", "bytes=2000000-,5-999999")]] {
            let reply = read_slowly(&site, fields).await;
            if reply.status == 503 {
                continue;
            }
            assert!(matches!(reply.status, 200 | 206), "{}", reply.status);
            if reply.field("content-type").is_some_and(|t| t.starts_with("multipart/")) {
                in_parts += 1;
                if reply.is_complete() {
                    let parts = reply.parts("application/octet-stream");
                    let version = parts[0].1[0];
                    let is_its = |(_, bytes): &(String, &[u8])| bytes.iter().all(|b| *b == version);
                    assert!(parts.len() == 2 && parts.iter().all(is_its), "parts of two versions");
                }
                continue;
            }
            let Some(version) = reply.body.first() else { continue };
            assert!(reply.body.iter().all(|b| b == version), "two versions in one answer");
            if reply.is_complete() {
                whole += 1;
                versions.insert(*version);
                let missing = usize::from(reply.status == 206);
                assert_eq!(reply.body.len(), SIZE - missing - usize::from(version % 3));
            }
        }
    }
    writer.await.unwrap();
    assert!(whole > 0 && versions.len() > 1, "{whole} whole answers of versions {versions:?}");
    // A part that is opened after a replacement cuts the connection, so few of these are whole.
    assert!(in_parts > 0, "no answer in parts");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abuse_36_in_memory() {
    never_mixed(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn abuse_36_on_local_files() {
    never_mixed(true).await;
}
