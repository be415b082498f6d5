use std::sync::Arc;
use std::time::Instant;
use ezdfs_core::*;
use ezdfs_testkit::metadata_suite::*;
use crate::sqlite::open;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore]
#[allow(clippy::disallowed_methods)]
async fn bench() {
    let tmp = tempfile::tempdir_in("/work/main/target").unwrap();
    let f = tmp.path().join("b.db");
    let store = Arc::new(open(&f, PREFIX, SystemClock).await);
    let t = Instant::now();
    for c in 0..200u32 {
        let mut ch = Change::new();
        for n in 0..1000 { ch = ch.op(Op::PutFile { path: path(&format!("big/f{:06}.jpg", c * 1000 + n)), file: version(1, 1) }); }
        store.apply(ch).await.unwrap();
    }
    eprintln!("200k puts in 200 changes: {:?}", t.elapsed());
    for round in 0..3 {
        let t = Instant::now();
        let p = store.list(&dir("big"), Some("f100000.jpg"), 1000).await.unwrap();
        eprintln!("page {} {:?} {round}", p.entries.len(), t.elapsed());
    }
    let t = Instant::now();
    for n in 0..2000u32 { store.record(&path(&format!("big/f{:06}.jpg", n * 97))).await.unwrap(); }
    eprintln!("record: {:?}", t.elapsed() / 2000);
    let t = Instant::now();
    for n in 0..100u8 {
        let at = format!("pub/f{n}");
        store.hold(&[intent(&at, token(n), Work::Delete)], LEASE).await.unwrap();
        store.apply(put(&at, version(1, n)).guard(Guard::Holds(token(n))).op(Op::EndHold { token: token(n), keep: false })).await.unwrap();
    }
    eprintln!("publish (hold+commit), sequential: {:?}", t.elapsed() / 100);
    let t = Instant::now();
    let mut set = tokio::task::JoinSet::new();
    for n in 0..64u8 { let store = Arc::clone(&store); set.spawn(async move { for r in 0..10 {
        let at = format!("pub/g{n}-{r}");
        let tk = Token::from_bytes([n, r, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]);
        store.hold(&[intent(&at, tk, Work::Delete)], LEASE).await.unwrap();
        store.apply(put(&at, version(1, n)).guard(Guard::Holds(tk)).op(Op::EndHold { token: tk, keep: false })).await.unwrap();
    } }); }
    set.join_all().await;
    eprintln!("publish (hold+commit), 64 tasks: {:?}", t.elapsed() / 640);
    let t = Instant::now();
    let fg = store.figures().await.unwrap();
    eprintln!("figures {fg:?} {:?}", t.elapsed());
}
