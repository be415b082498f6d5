//! Members: long-lived processes.

use std::time::Duration;

use ezdfs_core::{Member, MemberState};

use super::{LEASE, Setup, publish, version};

const REMEMBER: Duration = Duration::from_secs(3600);

fn member(name: &str, feed_seq: Option<u64>) -> Member {
    let (owner, version) = (format!("owner of {name}"), "1.2.3".to_owned());
    Member { name: name.to_owned(), owner, version, feed_seq }
}

async fn members(s: &Setup) -> Vec<MemberState> {
    s.store.members().await.unwrap()
}

/// Each is there once, as it said last; one that ended is not, and one that died is for a while.
pub async fn members_come_and_go(s: &Setup) {
    assert_eq!(members(s).await, []);
    let announce = |member: Member| async move {
        s.store.announce(&member, LEASE, REMEMBER).await.unwrap();
    };
    announce(member("web2:7", None)).await;
    announce(member("WEB1:7", Some(1))).await;
    announce(member("web1:7", Some(1))).await;
    let names: Vec<_> = members(s).await.into_iter().map(|m| m.member.name).collect();
    assert_eq!(names, ["WEB1:7", "web1:7", "web2:7"]);

    let started = s.store.now().await.unwrap();
    s.clock.advance(LEASE / 3);
    announce(member("web1:7", Some(2))).await;
    let found = members(s).await;
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[1].member, member("web1:7", Some(2)));
    assert_eq!(found[1].heartbeat, started.plus(LEASE / 3));
    assert_eq!(found[1].lease_end, started.plus(LEASE / 3 + LEASE));
    assert_eq!(found[2].lease_end, started.plus(LEASE));
    assert_eq!((found[2].member.feed_seq, found[2].feed_lag), (None, None));

    s.store.leave("WEB1:7").await.unwrap();
    s.store.leave("nobody").await.unwrap();
    s.clock.advance(REMEMBER);
    announce(member("web1:7", Some(2))).await;
    assert_eq!(members(s).await.len(), 2, "the lease of the dead one ended less than that ago");
    s.clock.advance(LEASE);
    announce(member("web1:7", Some(2))).await;
    let names: Vec<_> = members(s).await.into_iter().map(|m| m.member.name).collect();
    assert_eq!(names, ["web1:7"]);
}

/// A member lags behind the changes that were logged after what it has told.
pub async fn a_member_lags_behind_the_log(s: &Setup) {
    for at in ["l/a", "l/b", "l/c"] {
        publish(&*s.store, at, version(1, 1)).await;
    }
    let far = member("far", Some(u64::try_from(i64::MAX).unwrap()));
    for member in [member("none", None), member("one", Some(1)), far] {
        s.store.announce(&member, LEASE, REMEMBER).await.unwrap();
    }
    let lags: Vec<_> = members(s).await.into_iter().map(|m| m.feed_lag).collect();
    let [far, none, one] = lags[..] else { panic!("{lags:?}") };
    assert_eq!((far, none), (Some(0), None));
    assert!(one >= Some(2), "{one:?}");
    publish(&*s.store, "l/d", version(1, 1)).await;
    let later = members(s).await.into_iter().find(|m| m.member.name == "one").unwrap();
    assert!(later.feed_lag > one, "{later:?}");
}
