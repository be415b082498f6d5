//! What is left in staging, and what is not touched.

use std::time::{Duration, SystemTime};

use ezdfs_core::{Clock as _, SealSlot, SystemClock, Timestamp};
use object_store::{ObjectStore as _, PutMultipartOptions};

use super::*;

fn age(path: &std::path::Path) {
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000)).unwrap();
}

fn day_ago() -> Timestamp {
    SystemClock.now().minus(Duration::from_secs(86_400))
}

#[tokio::test]
async fn abandoned_files_go_and_live_uploads_stay() {
    let local = Local::new();
    let staging = local.root.join(".ezdfs/staging");
    std::fs::create_dir_all(&staging).unwrap();
    std::fs::write(staging.join("crashed"), "12345").unwrap();
    age(&staging.join("crashed"));
    std::fs::write(staging.join("young"), "1").unwrap();
    std::fs::create_dir(staging.join("directory")).unwrap();

    let mut live = local.store.put_multipart(&key("a")).await.unwrap();
    live.put_part("alive".into()).await.unwrap();
    let upload = local.staged().into_iter().find(|p| p.file_name().is_some_and(|n| n.len() == 32));
    age(&upload.unwrap());

    let swept = local.store.sweep(day_ago()).await.unwrap();
    assert_eq!((swept.files, swept.bytes, swept.kept), (1, 5, 2));
    assert!(!staging.join("crashed").exists() && staging.join("young").exists());
    live.complete().await.unwrap();
    assert_eq!(std::fs::read(local.root.join("a")).unwrap(), b"alive");
}

#[tokio::test]
async fn a_finished_upload_leaves_nothing_even_while_its_seal_is_held() {
    let local = Local::new();
    for ending in ["complete", "abort", "drop"] {
        let slot = SealSlot::default();
        let mut options = PutMultipartOptions::default();
        options.extensions.insert(slot.clone());
        let mut upload = local.store.put_multipart_opts(&key("a"), options).await.unwrap();
        upload.put_part("1".into()).await.unwrap();
        assert_eq!(local.staged().len(), 1);
        let seal = slot.get().unwrap();
        match ending {
            "complete" => drop(upload.complete().await.unwrap()),
            "abort" => upload.abort().await.unwrap(),
            _ => drop(upload),
        }
        local.staging_runs_empty().await;
        assert!(seal.seal().await.is_err(), "sealed after {ending}");
        local.store.delete(&key("a")).await.unwrap();
    }
    // A cancelled put, wherever it was.
    for i in 0..20 {
        let at = key("cancelled");
        let put = local.store.put(&at, vec![0; 1 << 20].into());
        let _ = tokio::time::timeout(Duration::from_micros(i * 100), put).await;
    }
    local.staging_runs_empty().await;
}

#[tokio::test]
async fn a_lost_part_makes_completion_fail() {
    let local = Local::new();
    let mut upload = local.store.put_multipart(&key("a")).await.unwrap();
    upload.put_part("1".into()).await.unwrap();
    drop(upload.put_part("2".into()));
    upload.put_part("3".into()).await.unwrap();
    assert!(upload.complete().await.is_err());
    drop(upload);
    local.staging_runs_empty().await;
    assert!(!local.root.join("a").exists());
}

#[tokio::test]
async fn staging_comes_back_when_somebody_removes_it() {
    let local = Local::new();
    local.put("first", "makes the directories").await;
    std::fs::remove_dir_all(local.root.join(".ezdfs")).unwrap();
    assert_eq!(local.store.sweep(day_ago()).await.unwrap(), crate::local::Swept::default());
    local.put("a", "1").await;
    assert_eq!(local.staged(), Vec::<PathBuf>::new());
}
