//! Which conditional requests a cloud honours: asked once a day, and again of a store that was away.

use std::time::Duration;

use ezdfs_binarydata::Opened;
use ezdfs_config::open_binary;
use ezdfs_core::Clock as _;
use ezdfs_core::{Conditions, SystemClock};
use ezdfs_testkit::{FakeCloud, Trouble};

use crate::site::Site;

/// What the fake honours as S3: everything but versions.
const FOUND: Conditions = Conditions { versions: false, ..Conditions::ALL };

fn site(fake: &FakeCloud) -> Site {
    Site::new(&format!(
        "[store]\nbinarydata = \"s3\"\n[binarydata_handlers.s3]\nurl = \"s3://bucket/a\"\n\
         endpoint = \"{}\"\naccess_key_id = \"id\"\nsecret_access_key = \"secret\"\n",
        fake.endpoint()
    ))
}

/// The handler, and how many requests that took.
async fn opened(site: &Site, fake: &FakeCloud) -> (Opened, usize) {
    fake.take_requests();
    let opened = open_binary(&site.load().unwrap(), "s3").await.unwrap();
    (opened, fake.take_requests().len())
}

#[tokio::test]
async fn a_probe_counts_for_a_day() {
    let fake = FakeCloud::start().await;
    let site = site(&fake);
    let (first, requests) = opened(&site, &fake).await;
    assert_eq!(first.capabilities.conditions, FOUND);
    assert!((5..=30).contains(&requests), "{requests}");
    let (again, requests) = opened(&site, &fake).await;
    assert_eq!((again.capabilities.conditions, requests), (FOUND, 0));

    // It tells what the store did then, and not what it does.
    let file = site.dir.path().join("data/probes/s3.toml");
    let fresh = std::fs::read_to_string(&file).unwrap();
    let at = |secs: i64| {
        let line = fresh.lines().find(|line| line.starts_with("at = ")).unwrap();
        fresh.replace(line, &format!("at = {}", SystemClock.now().secs() + secs))
    };
    fake.ignore_conditions();
    let careless = Conditions { known: true, ..Conditions::NONE };
    for (what, text, counts) in [
        ("of 23 hours ago", at(-23 * 3_600), true),
        ("of yesterday", at(-25 * 3_600), false),
        ("of tomorrow", at(3_600), false),
        ("of another bucket", fresh.replace("s3://bucket/a", "s3://bucket/b"), false),
        ("of another endpoint", fresh.replace(&fake.endpoint(), "http://other"), false),
        ("half of it", fresh[..fresh.len() / 2].to_owned(), false),
        ("nothing", String::new(), false),
        ("nonsense", "\0\u{1}".to_owned(), false),
    ] {
        std::fs::write(&file, text).unwrap();
        let (opened, requests) = opened(&site, &fake).await;
        let found = opened.capabilities.conditions;
        if counts {
            assert_eq!((found, requests), (FOUND, 0), "{what}");
            continue;
        }
        assert_eq!(found, careless, "{what}");
        assert!(requests > 0, "{what}");
        let kept = std::fs::read_to_string(&file).unwrap();
        assert!(kept.contains("put_match = false"), "{what}: {kept}");
    }
    // Where it cannot be kept it is asked each time.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    for _ in 0..2 {
        let (opened, requests) = opened(&site, &fake).await;
        assert!(opened.capabilities.conditions == careless && requests > 0);
    }
}

#[tokio::test]
async fn a_store_that_is_away_at_the_start_is_probed_when_it_answers() {
    let fake = FakeCloud::start().await;
    let site = site(&fake);
    fake.set(Trouble::Status(503));
    let (opened, _) = opened(&site, &fake).await;
    assert_eq!(opened.capabilities.conditions, Conditions::NONE);
    assert_eq!(opened.side.probed.get(), None);
    let file = site.dir.path().join("data/probes/s3.toml");
    assert!(!file.exists());

    fake.set(Trouble::None);
    let answered = async {
        while opened.side.probed.get().is_none() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), answered).await.expect("it is asked again");
    assert_eq!(opened.side.probed.get(), Some(FOUND));
    assert!(file.exists());
}
