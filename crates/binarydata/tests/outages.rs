//! A cloud that fails, is silent, slow or overloaded, and breaks off half-way.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test may")]

mod buckets;

use std::time::Duration;

use bytes::Bytes;
use ezdfs_core::capabilities::TOKEN_ATTRIBUTE;
use ezdfs_core::{Error, ErrorKind, Pin, ReplaceSlot, Replaces};
use ezdfs_testkit::object_store_suite::{key, pattern, put, read};
use ezdfs_testkit::{FakeCloud, Trouble};
use object_store::{
    Attribute, Attributes, GetOptions, GetRange, ObjectStore, ObjectStoreExt as _,
    PutMultipartOptions, PutPayload,
};
use tokio::time::Instant;

const IO_TIMEOUT: Duration = Duration::from_secs(1);

async fn fake() -> (FakeCloud, std::sync::Arc<dyn ObjectStore>) {
    let fake = FakeCloud::start().await;
    let store = buckets::open_s3_fake(&fake, IO_TIMEOUT).store;
    put(&*store, "a", b"bytes").await;
    fake.take_requests();
    (fake, store)
}

async fn kind(store: &dyn ObjectStore) -> Result<(), ErrorKind> {
    match store.get(&key("a")).await {
        Ok(_) => Ok(()),
        Err(e) => Err(Error::from(e).kind()),
    }
}

#[tokio::test]
async fn a_single_failure_is_not_seen() {
    for trouble in [Trouble::Status(503), Trouble::Status(500), Trouble::LostReply] {
        let (fake, store) = fake().await;
        fake.set_for(2, trouble);
        assert_eq!(read(&*store, "a").await, b"bytes".as_slice());
        assert_eq!(fake.take_requests().len(), 3, "{trouble:?}");
    }
}

#[tokio::test]
async fn what_is_refused_is_not_asked_again() {
    for status in [400, 403, 404, 412] {
        let (fake, store) = fake().await;
        fake.set(Trouble::Status(status));
        assert!(kind(&*store).await.is_err());
        assert_eq!(fake.take_requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn a_silent_store_is_a_time_out_and_a_failing_one_unavailable() {
    let (fake, store) = fake().await;
    fake.set(Trouble::Silence);
    let start = Instant::now();
    assert_eq!(kind(&*store).await, Err(ErrorKind::TimedOut));
    assert!(start.elapsed() < IO_TIMEOUT * 2, "{:?}", start.elapsed());

    let (fake, store) = self::fake().await;
    fake.set(Trouble::Status(503));
    let start = Instant::now();
    assert_eq!(kind(&*store).await, Err(ErrorKind::Unavailable));
    assert!(start.elapsed() < IO_TIMEOUT * 2, "{:?}", start.elapsed());
    // Away altogether.
    drop(fake);
    assert_eq!(kind(&*store).await, Err(ErrorKind::Unavailable));
}

/// A store that throttles is asked less, and not three times as often by each caller.
#[tokio::test]
async fn an_outage_is_not_multiplied_and_callers_are_told_at_once() {
    let (fake, store) = fake().await;
    fake.set(Trouble::Status(503));
    let ask = || async { kind(&*store).await };
    let answers = futures::future::join_all((0..200).map(|_| ask())).await;
    // On a slow machine some of so many do not get through in time.
    assert!(answers.iter().all(|a| a.is_err_and(ErrorKind::is_transient)), "{answers:?}");
    // Those that were under way when it began, and the retries of the budget.
    let asked = fake.take_requests().len();
    assert!(asked <= 210, "200 callers sent {asked} requests");

    let start = Instant::now();
    for _ in 0..1000 {
        assert_eq!(kind(&*store).await, Err(ErrorKind::Unavailable));
    }
    assert!(start.elapsed() < IO_TIMEOUT, "callers wait: {:?}", start.elapsed());
    let asked = fake.take_requests().len();
    assert!(asked <= 8, "the store was asked {asked} times while it was down");
}

/// Callers come back all the time; the store sees one of them, then a few, then all.
#[tokio::test]
async fn a_store_that_comes_back_is_found_by_one_request_and_not_run_over() {
    let (fake, store) = fake().await;
    fake.set(Trouble::Status(503));
    for _ in 0..50 {
        let _ = kind(&*store).await;
    }
    fake.take_requests();
    fake.set(Trouble::Delay(Duration::from_millis(50)));
    let ask = || async { kind(&*store).await.is_ok() };
    let start = Instant::now();
    let (mut answered, mut rounds) = (0, 0);
    // 100 callers, each again as soon as it is told.
    while answered < 100 {
        assert!(start.elapsed() < Duration::from_secs(20), "no recovery");
        let answers = futures::future::join_all((0..100).map(|_| ask())).await;
        answered = answers.into_iter().filter(|is| *is).count();
        let asked = fake.take_requests().len();
        assert_eq!(asked, answered, "a request more than the answers");
        if answered > 0 {
            rounds += 1;
            let most = 1 << (2 * rounds);
            assert!(answered <= most.max(2) || answered == 100, "{answered} in round {rounds}");
            assert!(rounds > 1 || answered <= 2, "{answered} at once in the first round");
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(rounds > 2, "it closed after {rounds} rounds");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_resumed_as_the_same_version() {
    let (fake, store) = fake().await;
    let bytes = pattern(3_000_000, 1);
    put(&*store, "big", &bytes).await;
    for range in [None, Some(GetRange::Bounded(1_000..2_500_000))] {
        fake.take_requests();
        fake.set_for(2, Trouble::Cut(1_000_000));
        let options = GetOptions { range: range.clone(), ..GetOptions::default() };
        let got = store.get_opts(&key("big"), options).await.unwrap();
        let expected = match &range {
            None => &bytes[..],
            Some(_) => &bytes[1_000..2_500_000],
        };
        assert!(got.bytes().await.unwrap() == expected, "{range:?}");
        assert_eq!(fake.take_requests().len(), 3, "{range:?}");
    }
}

/// Half of one version and half of another are never one body.
#[tokio::test]
async fn a_body_is_not_resumed_with_another_version() {
    let (fake, store) = fake().await;
    put(&*store, "big", &pattern(3_000_000, 1)).await;
    fake.set_for(1, Trouble::Cut(1_000_000));
    let got = store.get(&key("big")).await.unwrap();
    put(&*store, "big", &pattern(3_000_000, 2)).await;
    let error = Error::from(got.bytes().await.unwrap_err());
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}

#[tokio::test]
async fn a_body_that_keeps_breaking_off_fails_in_the_end() {
    let (fake, store) = fake().await;
    put(&*store, "big", &pattern(3_000_000, 1)).await;
    fake.take_requests();
    fake.set(Trouble::Cut(1_000));
    let got = store.get(&key("big")).await.unwrap();
    got.bytes().await.unwrap_err();
    let asked = fake.take_requests().len();
    assert!((2..=4).contains(&asked), "{asked}");
}

/// A condition that a lost reply has broken is not another writer's doing.
#[tokio::test]
async fn a_conditional_upload_whose_reply_is_lost_is_recognised() {
    for len in [10, (5 << 20) + 10] {
        let (fake, store) = fake().await;
        let old = store.head(&key("a")).await.unwrap();
        let slot = ReplaceSlot::default();
        let mut attributes = Attributes::new();
        attributes.insert(Attribute::Metadata(TOKEN_ATTRIBUTE.into()), "0123".into());
        let mut options = PutMultipartOptions { attributes, ..PutMultipartOptions::default() };
        options.extensions.insert(slot.clone());
        let mut upload = store.put_multipart_opts(&key("a"), options).await.unwrap();
        let bytes = pattern(len, 3);
        for part in bytes.chunks(5 << 20) {
            let part = PutPayload::from(Bytes::copy_from_slice(part));
            upload.put_part(part).await.unwrap();
        }
        slot.set(Replaces::Version(Pin::new(old.e_tag.as_deref(), None).unwrap()));
        fake.set_for(1, Trouble::LostReply);
        let put = upload.complete().await.unwrap();
        let now = store.head(&key("a")).await.unwrap();
        assert_eq!(put.e_tag, now.e_tag, "{len}");
        assert!(read(&*store, "a").await == bytes);
        assert_eq!(fake.unfinished_uploads(), 0);
    }
}

/// Large uploads are completed on the condition of their slot.
#[tokio::test]
async fn a_large_upload_is_completed_only_over_the_version_of_its_slot() {
    let (fake, store) = fake().await;
    let slot = ReplaceSlot::default();
    let mut options = PutMultipartOptions::default();
    options.extensions.insert(slot.clone());
    let mut upload = store.put_multipart_opts(&key("a"), options).await.unwrap();
    for _ in 0..2 {
        upload.put_part(PutPayload::from(vec![1; 5 << 20])).await.unwrap();
    }
    let old = store.head(&key("a")).await.unwrap();
    put(&*store, "a", b"foreign").await;
    slot.set(Replaces::Version(Pin::new(old.e_tag.as_deref(), None).unwrap()));
    let refused = upload.complete().await.unwrap_err();
    assert_eq!(Error::from(refused).kind(), ErrorKind::PreconditionFailed);
    assert_eq!(read(&*store, "a").await, b"foreign".as_slice());
    upload.abort().await.unwrap();
    assert_eq!(fake.unfinished_uploads(), 0);
}

/// A store that works for longer than any silence may last, and says so all the time; and one that
/// stops saying it.
#[tokio::test]
async fn a_large_upload_may_take_long_to_complete_as_long_as_the_store_is_not_silent() {
    let (fake, store) = fake().await;
    let parts = [pattern(5 << 20, 1), pattern(10, 2)];
    for (spaces, pause, is_told) in [(6, IO_TIMEOUT / 3, true), (2, IO_TIMEOUT * 3, false)] {
        let mut upload = store.put_multipart(&key("large")).await.unwrap();
        for part in &parts {
            upload.put_part(PutPayload::from(part.clone())).await.unwrap();
        }
        fake.set(Trouble::SlowCompletion(spaces, pause));
        let started = Instant::now();
        let completed = upload.complete().await;
        let waited = started.elapsed();
        fake.set(Trouble::None);
        if is_told {
            completed.unwrap();
            assert!(waited > IO_TIMEOUT * 2 - IO_TIMEOUT / 3, "{waited:?}");
            assert!(read(&*store, "large").await == parts.concat());
        } else {
            let kind = Error::from(completed.unwrap_err()).kind();
            assert!(kind.is_transient(), "{kind:?}");
            assert!(waited < IO_TIMEOUT * 3, "{waited:?}");
        }
    }
}

/// Parts cost money until somebody aborts them.
#[tokio::test]
async fn parts_of_a_dropped_upload_are_aborted() {
    let (fake, store) = fake().await;
    let mut upload = store.put_multipart(&key("a")).await.unwrap();
    for _ in 0..2 {
        upload.put_part(PutPayload::from(vec![1; 5 << 20])).await.unwrap();
    }
    assert_eq!(fake.unfinished_uploads(), 1);
    drop(upload);
    for _ in 0..100 {
        if fake.unfinished_uploads() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the upload is still there");
}
