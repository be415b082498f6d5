//! Publishing on clouds with conditional requests and without.

use ezdfs_core::Conditions;
use ezdfs_testkit::faults::{Plan, When};
use object_store::ObjectStoreExt as _;
use object_store::path::Path as ObjectKey;

use crate::world::{SQLITE_CARELESS_S3, SQLITE_S3, World, options, path, put, read};

/// Another program's object arrives between check and PUT. Where the store honours conditions it is
/// noticed before it is replaced; elsewhere the publish looks once more afterwards.
#[tokio::test]
async fn an_object_that_comes_between_check_and_put_is_noticed() {
    for (backend, completes, after) in [(SQLITE_S3, 2, false), (SQLITE_CARELESS_S3, 1, true)] {
        let world = World::new(backend, options()).await;
        put(&world.calm(), "images/a", "old").await.unwrap();
        let objects = world.objects.clone();
        let foreign = async move {
            let key = ObjectKey::parse("images/a").unwrap();
            objects.put(&key, "foreign".into()).await.unwrap();
        };
        // put_multipart, put_part, hold, record, complete.
        let plan = Plan::interrupt_at(5, When::Before, foreign);
        put(&world.node(&plan), "images/a", "new").await.unwrap();
        assert!(plan.fired());
        let calls = plan.calls();
        assert_eq!(calls[4], "complete", "{calls:?}");
        let seen = calls.iter().filter(|call| **call == "complete").count();
        assert_eq!(seen, completes, "{backend:?}: {calls:?}");
        assert_eq!(calls.last() == Some(&"head"), after, "{backend:?}: {calls:?}");
        assert_eq!(read(&world.calm(), &path("images/a")).await.unwrap(), "new");
    }
}

/// A store that was away at the start is used carefully, and as well as any other once it has been
/// probed.
#[tokio::test]
async fn what_a_late_probe_finds_counts_from_then_on() {
    let world = World::new(SQLITE_S3, options()).await;
    let plan = Plan::calm();
    let service = world.unprobed(&plan);
    let heads_of_a_put = async |bytes: &'static str| {
        let before = plan.calls().len();
        put(&service, "images/a", bytes).await.unwrap();
        plan.calls()[before..].iter().filter(|call| **call == "head").count()
    };
    assert_eq!(heads_of_a_put("first").await, 1, "it looks again");
    let found = Conditions { versions: false, ..Conditions::ALL };
    service.binary().side.probed.tell(found);
    assert_eq!(service.binary().capabilities().conditions, found);
    assert_eq!(heads_of_a_put("second").await, 0, "the store has compared");
}
