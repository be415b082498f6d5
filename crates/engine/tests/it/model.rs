//! The file service against the reference model, with a PHP node at work on the same tables and
//! objects: after each step reads, ranges, listings, stat and trash agree.

use std::collections::BTreeSet;

use bytes::Bytes;
use ezdfs_core::{Clock as _, DirPath, ETag, Entry, Error, ErrorKind, FilePath, Timestamp};
use ezdfs_engine::{FileService, Options, Precondition, PublishOptions, Touch};
use ezdfs_testkit::model::{Limits, Listed, Model, Operation, Outcome, PhpOperation, Seen};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestCaseResult};

use crate::world::{
    Backend, MEMORY, MEMORY_CACHED, MEMORY_LOCAL, PREFIX, SQLITE_LOCAL, START, World, collect,
    options, path, put_with, read,
};

/// Names that are easily taken for one another.
const FILES: [&str; 12] =
    ["a", "a/b", "a_b", "aXb", "1", "10", "1/x", "é", "e\u{301}", "A", "d/1", "d/e/f"];
const DIRS: [&str; 6] = ["a", "1", "d", "d/e", "é", "10"];

#[derive(Debug, Clone)]
enum Step {
    Ours(Operation),
    Php(PhpOperation),
    /// PHP, and at once one of ours, before anybody has listed or read anything.
    PhpThenOurs(PhpOperation, Operation),
    Range(String, u64, u64),
    Advance(i64),
}

fn file() -> impl Strategy<Value = String> {
    proptest::sample::select(&FILES[..]).prop_map(str::to_owned)
}

fn dir() -> impl Strategy<Value = String> {
    proptest::sample::select(&DIRS[..]).prop_map(str::to_owned)
}

fn any_path() -> impl Strategy<Value = String> {
    prop_oneof![3 => file(), 1 => dir()]
}

/// Few sizes, so that versions of the same size follow each other.
fn content() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        1 => Just(Bytes::new()),
        6 => (0..6_u8, 1..4_usize).prop_map(|(n, len)| Bytes::from(vec![b'a' + n; len])),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let expires = || proptest::option::weighted(0.2, 1..90_i64);
    prop_oneof![
        6 => (file(), content(), expires()).prop_map(|(path, bytes, expires)| Operation::Publish { path, bytes, expires }),
        2 => (file(), content()).prop_map(|(p, b)| Operation::Create(p, b)),
        2 => (file(), content()).prop_map(|(p, b)| Operation::Replace(p, b)),
        3 => any_path().prop_map(Operation::Delete),
        2 => any_path().prop_map(Operation::DeleteDirectory),
        4 => (any_path(), any_path(), any::<bool>()).prop_map(|(a, b, o)| Operation::Rename(a, b, o)),
        2 => (file(), file(), any::<bool>()).prop_map(|(a, b, o)| Operation::Copy(a, b, o)),
        1 => (any_path(), any::<bool>()).prop_map(|(d, x)| Operation::MakeDirectory(d, x)),
        2 => any_path().prop_map(Operation::RemoveDirectory),
        2 => (file(), expires()).prop_map(|(p, e)| Operation::Touch(p, e)),
        2 => file().prop_map(Operation::Restore),
        1 => file().prop_map(Operation::Purge),
        3 => Just(Operation::Maintain),
    ]
}

fn php() -> impl Strategy<Value = PhpOperation> {
    prop_oneof![
        6 => (file(), content()).prop_map(|(p, b)| PhpOperation::Create(p, b)),
        1 => (file(), content()).prop_map(|(p, b)| PhpOperation::CreateWithWrongSize(p, b)),
        3 => (file(), content()).prop_map(|(p, b)| PhpOperation::ReplaceBytes(p, b)),
        2 => file().prop_map(PhpOperation::UpdateRow),
        3 => file().prop_map(PhpOperation::Delete),
        1 => dir().prop_map(PhpOperation::DeleteDirectory),
        2 => file().prop_map(PhpOperation::SoftDelete),
        2 => file().prop_map(PhpOperation::Revive),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => operation().prop_map(Step::Ours),
        4 => php().prop_map(Step::Php),
        2 => (php(), operation()).prop_map(|(p, o)| Step::PhpThenOurs(p, o)),
        1 => (file(), 0..5_u64, 0..5_u64).prop_map(|(p, a, b)| Step::Range(p, a, b)),
        2 => proptest::sample::select(&[1, 4, 6, 61, 601][..]).prop_map(Step::Advance),
    ]
}

impl Step {
    fn replaces_bytes_only(&self) -> bool {
        matches!(self, Self::Php(PhpOperation::ReplaceBytes(..)))
            || matches!(self, Self::PhpThenOurs(PhpOperation::ReplaceBytes(..), _))
    }
}

/// The service, its world and the model of both.
struct Run {
    world: World,
    service: FileService,
    model: Model,
}

impl Run {
    async fn new(backend: Backend, trash: bool) -> Self {
        let options = Options {
            trash: std::time::Duration::from_secs(if trash { 600 } else { 0 }),
            ..options()
        };
        let world = World::new(backend, options).await;
        let service = world.calm();
        let seconds = |d: std::time::Duration| i64::try_from(d.as_secs()).unwrap();
        let limits = Limits {
            trash: seconds(options.trash),
            grace: seconds(options.delete_grace),
            settle: seconds(options.settle),
        };
        Self { world, service, model: Model::new(limits) }
    }

    async fn step(&mut self, step: &Step) -> TestCaseResult {
        match step {
            Step::Ours(operation) => self.ours(operation).await,
            Step::Php(operation) => {
                self.php(operation).await;
                Ok(())
            }
            Step::PhpThenOurs(php, ours) => {
                self.php(php).await;
                self.ours(ours).await
            }
            Step::Range(at, start, end) => self.range(at, *start..*end).await,
            Step::Advance(seconds) => {
                self.model.advance(*seconds);
                self.world.clock.advance(std::time::Duration::from_secs(seconds.unsigned_abs()));
                Ok(())
            }
        }
    }

    async fn ours(&mut self, operation: &Operation) -> TestCaseResult {
        if let Operation::Touch(at, Some(_)) = operation
            && self.model.exists(at)
            && !self.model.is_ours(at)
        {
            // When the bytes of such a file are replaced it depends on times whether the expiry
            // survives.
            return Ok(());
        }
        let blocked = self.is_blocked(operation).await;
        let outcome: Outcome = self.perform(operation).await.map_err(|e| e.kind());
        let is_physical = matches!(outcome, Err(ErrorKind::NotDirectory | ErrorKind::IsDirectory));
        if blocked && is_physical {
            return Ok(());
        }
        self.model.ours(operation, outcome).map_err(TestCaseError::fail)
    }

    /// On a file system, bytes that no visible row names (in the trash, or left by PHP) keep a
    /// directory or file of their name, or of a part of it, from being made.
    async fn is_blocked(&self, operation: &Operation) -> bool {
        let target = match operation {
            Operation::Publish { path, .. }
            | Operation::Create(path, _)
            | Operation::Replace(path, _)
            | Operation::Touch(path, _)
            | Operation::Rename(_, path, _)
            | Operation::Copy(_, path, _) => path,
            _ => return false,
        };
        let is_dir =
            matches!(operation, Operation::Rename(from, ..) if self.model.is_directory(from));
        self.world.backend.local && self.in_the_way(target, is_dir).await
    }

    async fn in_the_way(&self, target: &str, is_dir: bool) -> bool {
        let is_below = |a: &str, b: &str| a.strip_prefix(b).is_some_and(|r| r.starts_with('/'));
        let objects = self.world.all_objects().await;
        objects.iter().any(|o| {
            let key = o.location.as_ref();
            is_below(key, target) || is_below(target, key) || (is_dir && key == target)
        })
    }

    fn at(&self, seconds: i64) -> Timestamp {
        Timestamp::from_secs(START + seconds)
    }

    async fn perform(&self, operation: &Operation) -> Result<(), Error> {
        let service = &self.service;
        let publish = |at: &str, bytes: &Bytes, precondition| {
            let options = PublishOptions { precondition, ..PublishOptions::default() };
            let (at, bytes) = (at.to_owned(), bytes.clone());
            async move { put_with(service, &at, bytes, options).await.map(|_| ()) }
        };
        match operation {
            Operation::Publish { path, bytes, expires } => {
                let expires = expires.map(|e| self.at(e));
                let options = PublishOptions { expires, ..PublishOptions::default() };
                put_with(service, path, bytes.clone(), options).await.map(|_| ())
            }
            Operation::Create(at, bytes) => publish(at, bytes, Precondition::Absent).await,
            Operation::Replace(at, bytes) => {
                let etag = match service.load(&path(at)).await {
                    // Only a strong tag can be compared; `If-Match: *` is what is left for others.
                    Ok(file) => match file.etag() {
                        strong @ ETag::Strong(_) => Precondition::Matches(vec![strong]),
                        ETag::Weak(_) => Precondition::Present,
                    },
                    Err(_) => Precondition::Present,
                };
                publish(at, bytes, etag).await
            }
            Operation::Delete(at) => service.delete(&path(at), &Precondition::None).await,
            Operation::DeleteDirectory(at) => {
                service.delete_dir(&path(at), |_| ()).await.map(|_| ())
            }
            Operation::Rename(from, to, overwrite) => {
                service.rename(&path(from), &path(to), *overwrite).await.map(|_| ())
            }
            Operation::Copy(from, to, overwrite) => {
                service.copy(&path(from), &path(to), *overwrite).await.map(|_| ())
            }
            Operation::MakeDirectory(at, exclusive) => {
                service.mkdir(&path(at), *exclusive, None).await
            }
            Operation::RemoveDirectory(at) => service.rmdir(&path(at)).await,
            Operation::Touch(at, expires) => {
                let expires = expires.map(|e| Some(self.at(e)));
                service.touch(&path(at), &Touch { expires, ..Touch::default() }).await
            }
            Operation::Restore(at) => service.restore(&path(at)).await,
            Operation::Purge(at) => service.purge(&path(at)).await,
            Operation::Maintain => {
                let done = service.maintain().await?;
                assert_eq!(done.failed, 0, "{done:?}");
                Ok(())
            }
        }
    }

    async fn php(&mut self, operation: &PhpOperation) {
        if !self.model.php_can(operation) {
            return;
        }
        if let PhpOperation::Create(at, _) | PhpOperation::CreateWithWrongSize(at, _) = operation
            && self.world.backend.local
            && self.in_the_way(at, false).await
        {
            return;
        }
        let name = |at: &str| format!("{PREFIX}/{at}");
        let world = &self.world;
        match operation {
            PhpOperation::Create(at, bytes) => world.php_create(at, bytes.clone()).await,
            PhpOperation::CreateWithWrongSize(at, bytes) => {
                world.php_object(at, bytes.clone()).await;
                world.php_row(at, bytes.len() + 1).await;
            }
            PhpOperation::ReplaceBytes(at, bytes) => world.php_object(at, bytes.clone()).await,
            PhpOperation::UpdateRow(at) => {
                let objects = world.all_objects().await;
                let object = objects.iter().find(|o| o.location.as_ref() == at).unwrap();
                world.php_row(at, usize::try_from(object.size).unwrap()).await;
            }
            PhpOperation::Delete(at) => world.php_delete(at).await,
            PhpOperation::DeleteDirectory(at) => {
                world.foreign.delete_directory(&name(at)).await;
                let below = format!("{at}/");
                for object in world.all_objects().await {
                    if object.location.as_ref().starts_with(&below) {
                        object_store::ObjectStoreExt::delete(&world.objects, &object.location)
                            .await
                            .unwrap();
                    }
                }
            }
            PhpOperation::SoftDelete(at) => world.foreign.soft_delete(&name(at)).await,
            PhpOperation::Revive(at) => {
                let hash = ezdfs_core::Name::from_row(&name(at)).hash();
                let mut row = world.foreign.get(hash).await.unwrap();
                row.base.mtime = row.base.mtime.abs();
                row.base.expired = false;
                world.foreign.set(hash, &row).await;
            }
        }
        self.model.php(operation);
    }

    async fn range(&mut self, at: &str, range: std::ops::Range<u64>) -> TestCaseResult {
        let opened = self.service.open(&path(at), |_| Some(range.clone())).await;
        let (bytes, busy) = match self.model.see(at) {
            Seen::Bytes(bytes) => (bytes, false),
            Seen::BytesOrBusy(bytes) => (bytes, true),
            _ => {
                prop_assert!(opened.is_err());
                return Ok(());
            }
        };
        let opened = match opened {
            Err(e) if busy && e.kind() == ErrorKind::Busy => return Ok(()),
            other => other.map_err(|e| TestCaseError::fail(format!("{at}: {e}")))?,
        };
        let end = usize::try_from(range.end).unwrap().min(bytes.len());
        let start = usize::try_from(range.start).unwrap().min(end);
        let got = collect(opened.body.unwrap()).await.unwrap();
        prop_assert_eq!(&got, &bytes.slice(start..end), "{} {:?}", at, range);
        self.model.was_read(at);
        Ok(())
    }

    async fn check(&mut self) -> TestCaseResult {
        self.check_listings().await?;
        for at in FILES {
            self.check_file(at).await?;
        }
        self.check_trash().await?;
        self.let_pins_be_remembered().await;
        Ok(())
    }

    /// Readers remember pins in the background: their writes come before this one.
    async fn let_pins_be_remembered(&self) {
        for _ in 0..20 {
            tokio::task::yield_now().await;
        }
        self.world.metadata.apply(ezdfs_core::Change::new()).await.unwrap();
    }

    /// The directories that listings show.
    async fn directories(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut todo = vec![DirPath::root()];
        while let Some(dir) = todo.pop() {
            let page = self.service.list(&dir, None, 1000).await.unwrap();
            for entry in page.entries {
                if let Entry::Directory(d) = entry {
                    found.insert(d.path.to_string());
                    todo.push(d.path);
                }
            }
        }
        found
    }

    async fn check_listings(&mut self) -> TestCaseResult {
        self.model.materialised(&self.directories().await);
        let mut dirs: BTreeSet<String> =
            FILES.iter().chain(&DIRS).map(|d| (*d).to_owned()).collect();
        dirs.extend(self.model.directories());
        dirs.insert(String::new());
        for dir in dirs {
            let at: DirPath = dir.parse().unwrap();
            let mut listed = Listed::new();
            let mut after: Option<String> = None;
            loop {
                // Small, so that pages end in the middle.
                let page = self.service.list(&at, after.as_deref(), 3).await.unwrap();
                for entry in page.entries {
                    let is_dir = matches!(entry, Entry::Directory(_));
                    listed.insert(entry.basename().to_owned(), is_dir);
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
            prop_assert_eq!(listed, self.model.list(&dir), "listing of `{}`", dir);
        }
        Ok(())
    }

    async fn check_file(&mut self, at: &str) -> TestCaseResult {
        let file: FilePath = path(at);
        let exists = self.model.exists(at);
        prop_assert_eq!(self.service.exists(&file).await.unwrap(), exists, "`{}` exists", at);
        let is_dir = matches!(
            self.service.entry(&DirPath::from(file.clone())).await,
            Ok(Entry::Directory(_))
        );
        prop_assert_eq!(is_dir, self.model.is_directory(at), "`{}` is a directory", at);
        if exists {
            let meta = self.service.load(&file).await.unwrap();
            prop_assert_eq!(Some(meta.size), self.model.size(at), "size of `{}`", at);
            let expires = self.model.expires(at).map(|e| self.at(e));
            prop_assert_eq!(meta.expires, expires, "expiry of `{}`", at);
        }
        let got = read(&self.service, &file).await.map_err(|e| e.kind());
        let seen = self.model.see(at);
        let agrees = match (&seen, &got) {
            (Seen::Bytes(expected) | Seen::BytesOrBusy(expected), Ok(bytes)) => expected == bytes,
            (Seen::Busy | Seen::BytesOrBusy(_), Err(ErrorKind::Busy))
            | (Seen::Doomed, Err(ErrorKind::Corrupt))
            | (Seen::Missing, Err(ErrorKind::MissingBytes))
            | (Seen::Directory, Err(ErrorKind::IsDirectory))
            | (Seen::Nothing, Err(ErrorKind::NotFound)) => true,
            _ => false,
        };
        prop_assert!(agrees, "`{}`: expected {:?}, got {:?}", at, seen, got);
        if got.is_ok() {
            self.model.was_read(at);
        }
        Ok(())
    }

    async fn check_trash(&mut self) -> TestCaseResult {
        let root = DirPath::root();
        let trash = self.service.trash(&root, None, 100).await.unwrap();
        let found: BTreeSet<String> = trash
            .into_iter()
            .map(|t| t.path.to_string())
            .filter(|p| !self.model.is_directory(p))
            .collect();
        // Whether a reap ends a row that PHP wrote depends on what was remembered of its object.
        for gone in self.model.hidden().difference(&found) {
            prop_assert!(self.model.forget_uncertain(gone), "`{}` is not in the trash", gone);
        }
        // What is over may be hidden at any time.
        for early in found.difference(&self.model.hidden()) {
            prop_assert!(self.model.sweep(early), "`{}` is in the trash", early);
        }
        prop_assert_eq!(found, self.model.hidden(), "trash");
        Ok(())
    }

    /// In the end nothing is left over, whatever happened.
    async fn end(&self) {
        assert_eq!(self.world.clock.now(), self.at(self.model.now()));
        self.world.clean_up(&self.service).await;
        let far = Timestamp::from_nanos(i64::MAX);
        for state in [ezdfs_core::IntentState::Held, ezdfs_core::IntentState::Queued] {
            let left = self.world.metadata.due(state, far, 100).await.unwrap();
            assert!(left.is_empty(), "{left:#?}");
        }
        for object in self.world.all_objects().await {
            let key = object.location.as_ref();
            assert!(!key.starts_with(".ezdfs/limbo"), "`{key}` is left in limbo");
        }
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn cases(default: u32) -> Config {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok());
    Config {
        cases: cases.unwrap_or(default),
        max_shrink_iters: 20_000,
        failure_persistence: None,
        ..Config::default()
    }
}

fn agrees(backend: Backend, default: u32, longest: usize) {
    let runtime = runtime();
    let steps = proptest::collection::vec(step(), 1..longest);
    proptest!(cases(default), |(trash in any::<bool>(), steps in steps)| {
        runtime.block_on(async {
            let mut run = Run::new(backend, trash).await;
            // Of bytes that are replaced without a row, the file cache hears nothing: it goes on
            // with the version that the row names.
            for step in steps.iter().filter(|s| !backend.cached || !s.replaces_bytes_only()) {
                run.step(step).await?;
                run.check().await?;
            }
            run.end().await;
            Ok::<_, TestCaseError>(())
        })?;
    });
}

#[test]
fn every_step_agrees_with_the_model() {
    agrees(MEMORY, 400, 30);
}

#[test]
fn every_step_agrees_with_the_model_through_the_file_cache() {
    agrees(MEMORY_CACHED, 100, 30);
}

#[test]
fn every_step_agrees_with_the_model_on_local_files() {
    agrees(MEMORY_LOCAL, 120, 30);
}

#[test]
fn every_step_agrees_with_the_model_on_the_embedded_default() {
    agrees(SQLITE_LOCAL, 40, 25);
}
