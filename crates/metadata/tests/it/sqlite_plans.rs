//! The statements of the hot paths use an index, on a table of any size.

use ezdfs_testkit::metadata_suite::{PREFIX, clock};

use crate::sqlite::open;

#[tokio::test]
async fn hot_statements_never_scan_a_table() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("ezdfs.db"), PREFIX, clock()).await;
    let plans = store.query_plans().await.unwrap();
    assert_eq!(plans.len(), 14);
    for (name, steps) in plans {
        assert!(!steps.is_empty(), "{name}");
        // The unique index on `hold` would serve, too, by a walk over all that holds nothing.
        let by_path = steps.iter().any(|s| s.contains("ezdfs_pending_path (path_hash=?)"));
        assert!(name != "intents_on" || by_path, "{name}: {steps:#?}");
        for step in &steps {
            // Derived tables and bound lists are as small as the question.
            let small = ["json_each", "CONSTANT ROW", "SCAN k", "SCAN (subquery", "SCAN value"];
            let scans = step.starts_with("SCAN") && !small.iter().any(|s| step.contains(s));
            assert!(!scans, "{name} scans: {steps:#?}");
            // A sort by name is one over the whole directory. What comes out of two or three
            // walks that end by themselves may be sorted.
            let bounded = ["tombstones", "intents_on", "intents_of", "expired"].contains(&name);
            assert!(bounded || !step.contains("TEMP B-TREE"), "{name} sorts: {steps:#?}");
        }
    }
}
