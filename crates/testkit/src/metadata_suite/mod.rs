//! What every metadata handler must do, as plain async functions over a [`Setup`].
//!
//! The macro [`metadata_suite!`](macro@crate::metadata_suite) makes one test of each case:
//!
//! ```text
//! mod memory {
//!     ezdfs_testkit::metadata_suite!(setup);
//!     async fn setup() -> Setup { … }
//! }
//! ```

// A failed expectation is what a suite is for.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

pub mod directories;
pub mod feed;
pub mod foreign;
pub mod guards;
pub mod holds;
pub mod members;
pub mod names;
pub mod pages;
pub mod queue;
pub mod races;
pub mod stores;
pub mod visibility;

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{
    Change, DirPath, Entry, Error, ErrorKind, FileMeta, FilePath, Hold, Intent, IntentId,
    IntentState, ManualClock, MetadataStore, NewFile, Op, Pin, Result, Sha256, Timestamp, Token,
    Work,
};

use crate::foreign_writer::ForeignWriter;

/// Name prefix of [`Setup::store`].
pub const PREFIX: &str = "var/site/storage";
/// Name prefix of [`Setup::neighbour`]: not below [`PREFIX`], though its text starts with it.
pub const NEIGHBOUR_PREFIX: &str = "var/site/storage2";
/// What a [`Setup`]'s clock shows at the start, in Unix seconds.
pub const START_SECS: i64 = 1_700_000_000;

/// An empty store, and what else a case may need.
#[derive(Debug)]
pub struct Setup {
    /// The store with [`PREFIX`].
    pub store: Arc<dyn MetadataStore>,
    /// A store with [`NEIGHBOUR_PREFIX`] in the same table.
    pub neighbour: Arc<dyn MetadataStore>,
    /// PHP on the same table.
    pub foreign: Arc<dyn ForeignWriter>,
    /// The clock of both stores, at [`START_SECS`].
    pub clock: ManualClock,
    /// Whatever must live as long as the stores.
    pub guard: Box<dyn Any + Send + Sync>,
}

/// The clock of a new [`Setup`].
#[must_use]
pub fn clock() -> ManualClock {
    ManualClock::at(Timestamp::from_secs(START_SECS))
}

/// One `#[tokio::test]` per case of the suite. Takes the name of an async function that returns a
/// [`Setup`], or an `Option` of one where a server may be missing.
#[macro_export]
macro_rules! metadata_suite {
    ($setup:ident) => {
        $crate::metadata_suite! { @cases $setup
            visibility::every_combination_of_marks
            visibility::a_directory_wins_over_a_file
            visibility::an_expiry_hides_by_the_clock
            visibility::a_soft_deleted_file_is_revived
            visibility::php_does_not_revive
            visibility::what_a_publish_stores_is_loaded
            visibility::an_overwrite_keeps_inode_and_owner
            visibility::a_base_row_has_ibexas_columns
            names::literal_names
            names::twins_are_distinct
            names::another_name_under_the_same_hash
            names::a_name_that_breaks_the_rules_is_reported_by_scans
            names::long_paths
            pages::listings_are_ordered_by_bytes
            pages::pages_have_no_gap_and_no_double
            pages::invisible_rows_are_passed_over
            pages::pages_over_concurrent_inserts
            pages::scans_are_exact
            pages::scans_page
            pages::tombstones_are_listed
            guards::compare_and_set
            guards::a_failed_guard_changes_nothing
            guards::a_failed_step_changes_nothing
            guards::free_paths
            guards::one_of_many_writers_wins
            holds::a_hold_is_exclusive
            holds::both_ends_or_none
            holds::subtrees
            holds::an_overdue_hold_stays_until_it_is_taken_over
            holds::leases_are_renewed
            holds::a_lost_hold_is_noticed
            holds::ended_work_is_remembered
            holds::every_kind_of_work_is_kept
            holds::reaps_do_not_count_as_holds
            holds::one_of_many_holders_wins
            members::members_come_and_go
            members::a_member_lags_behind_the_log
            directories::missing_ancestors_are_made
            directories::a_file_is_no_directory
            directories::a_directory_is_no_file
            directories::making_and_removing
            directories::a_soft_deleted_file_does_not_count
            directories::an_unseen_foreign_file_counts
            directories::removing_a_tree_is_exact
            directories::a_tree_with_foreign_files_keeps_their_directories
            directories::the_mtime_of_a_directory_moves
            foreign::an_insert_is_listed
            foreign::an_overwrite_voids_the_version
            foreign::an_overwrite_in_the_same_second_voids_the_version
            foreign::a_later_publish_is_not_voided
            foreign::a_delete_removes_the_entry
            foreign::a_soft_delete_hides
            foreign::a_directory_delete_is_followed
            foreign::materialising_is_idempotent
            foreign::materialising_goes_in_steps
            foreign::own_changes_are_not_foreign
            foreign::odd_names_do_not_stop_the_materialiser
            foreign::a_hash_that_is_not_the_names
            foreign::a_pin_is_remembered
            foreign::the_feed_is_trimmed_behind_the_materialiser
            feed::every_change_is_told
            feed::small_polls_tell_everything_once
            feed::now_is_from_now_on
            feed::a_number_is_a_place_to_start
            feed::a_trimmed_log_is_a_gap
            feed::a_number_of_another_life_is_a_gap
            feed::a_change_that_failed_is_not_told
            feed::a_neighbours_changes_are_told
            feed::names_are_told_without_a_change
            feed::the_heartbeat_comes_back
            feed::concurrent_changes_are_told_once
            queue::reaps_come_due
            queue::overdue_holds_come_due
            queue::ended_work_is_forgotten
            queue::expired_files_are_found
            queue::figures_count
            races::a_subtree_and_its_paths_exclude_each_other
            races::a_file_is_always_listed
            races::a_path_is_one_thing
            races::materialisers_and_publishers
            races::a_publish_beside_a_materialiser
            races::what_another_materialises_is_waited_for
            stores::a_neighbour_is_untouched
            stores::a_neighbours_holds_do_not_block
            stores::concurrent_publishers
            stores::a_dropped_call_breaks_nothing
        }
    };
    (@cases $setup:ident $($module:ident :: $case:ident)+) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                // Without a server there is no setup; whoever looked for it said so.
                let setup: Option<$crate::metadata_suite::Setup> = $setup().await.into();
                if let Some(setup) = setup {
                    $crate::metadata_suite::$module::$case(&setup).await;
                }
            }
        )+
    };
}

/// A path.
#[must_use]
pub fn path(text: &str) -> FilePath {
    text.parse().unwrap()
}

/// A directory; empty text is the root.
#[must_use]
pub fn dir(text: &str) -> DirPath {
    text.parse().unwrap()
}

/// The name of a path of [`Setup::store`].
#[must_use]
pub fn name(text: &str) -> String {
    format!("{PREFIX}/{text}")
}

/// A token that differs by `n`.
#[must_use]
pub fn token(n: u8) -> Token {
    Token::from_bytes([n; 16])
}

/// A version of `size` bytes with everything known.
#[must_use]
pub fn version(size: u64, n: u8) -> NewFile {
    NewFile {
        size,
        mtime: Timestamp::from_nanos(START_SECS * 1_000_000_000 + 123_456_789),
        datatype: "image/jpeg".to_owned(),
        sha256: Some(Sha256::from_bytes([n; 32])),
        token: Some(token(n)),
        pin: Some(pin(&format!("etag-{n}"))),
        expires: None,
        mode: None,
        uid: None,
        gid: None,
    }
}

/// A pin.
#[must_use]
pub fn pin(etag: &str) -> Pin {
    Pin::new(Some(etag), None).unwrap()
}

/// A change that stores a version.
#[must_use]
pub fn put(at: &str, file: NewFile) -> Change {
    Change::new().op(Op::PutFile { path: path(at), file })
}

/// Stores a version.
pub async fn publish(store: &dyn MetadataStore, at: &str, file: NewFile) {
    store.apply(put(at, file)).await.unwrap_or_else(|e| panic!("publish of `{at}`: {e}"));
}

/// Makes a directory.
pub async fn mkdir(store: &dyn MetadataStore, at: &str) -> Result<()> {
    let op =
        Op::MakeDir { path: path(at), exclusive: true, mode: Some(0o750), uid: None, gid: None };
    store.apply(Change::new().op(op)).await
}

/// A pending row, held unless said otherwise.
#[must_use]
pub fn intent(at: &str, token: Token, work: Work) -> Intent {
    Intent {
        id: IntentId(0),
        path: path(at),
        subtree: false,
        token,
        owner: "suite".to_owned(),
        state: IntentState::Held,
        lease_end: Timestamp::default(),
        work,
    }
}

/// The lease that cases hold paths with.
pub const LEASE: Duration = Duration::from_secs(15);

/// Takes a path.
pub async fn hold(store: &dyn MetadataStore, at: &str, n: u8) -> Hold {
    store.hold(&[intent(at, token(n), Work::Delete)], LEASE).await.unwrap()
}

/// What a reader sees.
pub async fn entry(store: &dyn MetadataStore, at: &str) -> Option<Entry> {
    let path = path(at);
    let now = store.now().await.unwrap();
    store.record(&path).await.unwrap().entry(&path, now)
}

/// The visible file of a path.
pub async fn file(store: &dyn MetadataStore, at: &str) -> FileMeta {
    match entry(store, at).await {
        Some(Entry::File(file)) => file,
        other => panic!("`{at}` is no visible file: {other:?}"),
    }
}

/// Whether a reader sees a file of that path.
pub async fn is_file(store: &dyn MetadataStore, at: &str) -> bool {
    matches!(entry(store, at).await, Some(Entry::File(_)))
}

/// Whether a reader sees a directory of that path.
pub async fn is_dir(store: &dyn MetadataStore, at: &str) -> bool {
    matches!(entry(store, at).await, Some(Entry::Directory(_)))
}

/// The basenames that a directory lists, page by page.
pub async fn list_by(store: &dyn MetadataStore, at: &str, limit: u32) -> Vec<String> {
    let dir = dir(at);
    let mut names = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.list(&dir, after.as_deref(), limit).await.unwrap();
        assert!(page.entries.len() <= usize::try_from(limit).unwrap(), "a page above its limit");
        names.extend(page.entries.iter().map(|e| e.basename().to_owned()));
        match page.next {
            Some(next) => {
                assert!(after.as_ref().is_none_or(|a| *a < next), "the cursor stands still");
                after = Some(next);
            }
            None => return names,
        }
    }
}

/// The basenames that a directory lists.
pub async fn list(store: &dyn MetadataStore, at: &str) -> Vec<String> {
    list_by(store, at, 100).await
}

/// The paths of the base rows below a directory, page by page; sorted, because each handler has an
/// order of its own.
pub async fn scan_by(store: &dyn MetadataStore, at: &str, limit: u32) -> Vec<String> {
    let mut paths = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let page = store.scan(&dir(at), after.as_deref(), limit).await.unwrap();
        paths.extend(page.rows.iter().filter_map(|r| r.as_ref().ok()).map(|(p, _)| p.to_string()));
        match page.next {
            Some(next) => after = Some(next),
            None => {
                paths.sort();
                return paths;
            }
        }
    }
}

/// The paths of the base rows below a directory.
pub async fn scan(store: &dyn MetadataStore, at: &str) -> Vec<String> {
    scan_by(store, at, 100).await
}

/// Expects an error of one kind.
#[track_caller]
pub fn expect_kind<T: std::fmt::Debug>(outcome: Result<T, Error>, kind: ErrorKind) {
    match outcome {
        Err(e) => assert_eq!(e.kind(), kind, "{e}"),
        Ok(answer) => panic!("{answer:?} instead of {kind:?}"),
    }
}

/// Materialises everything that waits.
pub async fn materialise(store: &dyn MetadataStore) {
    while store.materialise(100).await.unwrap().more {}
}
