//! What is in a store, and what must be true of it at the end.

use ezdfs_core::{Clock as _, DirPath, FilePath, IntentState, Timestamp};
use ezdfs_engine::FileService;
use futures::TryStreamExt as _;
use object_store::path::Path as ObjectKey;
use object_store::{ObjectMeta, ObjectStore as _};

use super::files::read_with_expiry;
use super::{Files, SECOND, World};

impl World {
    /// The visible files, each opened whole.
    pub(crate) async fn files(&self, service: &FileService) -> Files {
        let mut files = Files::new();
        for path in self.visible().await {
            files.insert(path.to_string(), read_with_expiry(service, &path).await.unwrap());
        }
        files
    }

    /// Paths of the visible base rows whose time is not over.
    pub(crate) async fn visible(&self) -> Vec<FilePath> {
        let now = self.clock.now();
        let mut visible = Vec::new();
        let mut after = None;
        loop {
            let page = self.metadata.scan(&DirPath::root(), after.as_deref(), 1000).await.unwrap();
            for (path, record) in page.rows.into_iter().flatten() {
                if matches!(record.entry(&path, now), Some(ezdfs_core::Entry::File(_))) {
                    visible.push(path);
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return visible,
            }
        }
    }

    /// Every object, those in limbo included.
    pub(crate) async fn all_objects(&self) -> Vec<ObjectMeta> {
        let mut all: Vec<_> = self.objects.list(None).try_collect().await.unwrap();
        if self.backend.local {
            let limbo = ObjectKey::parse(".ezdfs/limbo").unwrap();
            let below: Vec<_> = self.objects.list(Some(&limbo)).try_collect().await.unwrap();
            all.extend(below);
        }
        all
    }

    /// Maintenance until everything whose time comes has been done.
    pub(crate) async fn clean_up(&self, service: &FileService) {
        for _ in 0..3 {
            let done = service.maintain().await.unwrap();
            assert_eq!(done.failed, 0, "{done:?}");
            self.clock.advance(self.options.delete_grace.max(self.options.trash) + SECOND);
        }
        let done = service.maintain().await.unwrap();
        assert_eq!(done.failed, 0, "{done:?}");
    }

    /// After [`Self::clean_up`]: nothing but visible and hidden files is left.
    pub(crate) async fn assert_no_leftovers(&self, context: &str) {
        let far = Timestamp::from_nanos(i64::MAX);
        for state in [IntentState::Held, IntentState::Queued] {
            let left = self.metadata.due(state, far, 100).await.unwrap();
            assert!(left.is_empty(), "{context}: {left:#?}");
        }
        for object in self.all_objects().await {
            let key = object.location.to_string();
            assert!(!key.starts_with(".ezdfs"), "{context}: `{key}` is left in limbo");
            let path: FilePath = key.parse().unwrap();
            let record = self.metadata.record(&path).await.unwrap();
            assert!(record.base.is_some(), "{context}: `{key}` is an orphan");
        }
    }

    /// Keys in quarantine.
    pub(crate) async fn quarantined(&self) -> Vec<String> {
        let below = ObjectKey::parse(".ezdfs/quarantine").unwrap();
        let found: Vec<_> = self.objects.list(Some(&below)).try_collect().await.unwrap();
        found.into_iter().map(|object| object.location.to_string()).collect()
    }

    /// Rows, objects and pending work, to see whether anything was touched.
    pub(crate) async fn everything(&self) -> String {
        let mut objects: Vec<String> =
            self.all_objects().await.iter().map(|o| format!("{o:?}")).collect();
        objects.sort();
        let page = self.metadata.scan(&DirPath::root(), None, 1_000).await.unwrap();
        let mut rows: Vec<String> = page.rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        let far = Timestamp::from_nanos(i64::MAX);
        let mut pending = Vec::new();
        for state in [IntentState::Held, IntentState::Queued, IntentState::Ended] {
            pending.extend(self.metadata.due(state, far, 1_000).await.unwrap());
        }
        format!("{objects:#?}{rows:#?}{pending:#?}{:?}", self.quarantined().await)
    }
}
