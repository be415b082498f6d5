//! Directory delete: keyset batches over the exact prefix, counted; running it again resumes it.

use ezdfs_core::{Change, DirPath, ErrorKind, FilePath, Guard, Intent, Op, Record, Result, Work};

use crate::delete::Doomed;
use crate::hold::Held;
use crate::precondition::Precondition;
use crate::service::FileService;

/// Rows of one transaction.
const BATCH: u32 = 200;
/// Objects that are moved or deleted at once.
const AT_ONCE: usize = 8;

/// What a directory delete did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeletedTree {
    /// Files that are gone.
    pub files: u64,
    /// Names of rows below the directory whose path breaks rules K (foreign writers can make
    /// them): they stay. At most [`DeletedTree::NAMED`] are named.
    pub skipped: Vec<String>,
    /// How many such rows there are.
    pub skipped_count: u64,
}

impl DeletedTree {
    /// Most skipped names that are kept.
    pub const NAMED: usize = 100;
}

impl FileService {
    /// Deletes everything below a directory and the directory itself. Exact: `a_b` leaves `aXb`,
    /// `1` leaves `10` (ibexa-dfs.md §1.9).
    ///
    /// `progress` is called with the files deleted so far.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] when there is nothing at all, [`ErrorKind::NotDirectory`] for a
    /// file, or a fault: then part of it is gone, and running it again resumes.
    pub async fn delete_dir(
        &self,
        dir: &FilePath,
        mut progress: impl FnMut(u64) + Send,
    ) -> Result<DeletedTree> {
        let entry = self.entry(&DirPath::from(dir.clone())).await?;
        if matches!(entry, ezdfs_core::Entry::File(_)) {
            return Err(not_directory(dir));
        }
        if !self.inner.metadata.is_separate() {
            return self.delete_objects(dir, &mut progress).await;
        }
        let token = self.inner.entropy.token();
        let intent = Intent { subtree: true, ..self.intent(dir, token, Work::Delete) };
        let mut held = self.hold(&[intent]).await?;
        let deleted = self.delete_rows(dir, &mut held, &mut progress).await;
        self.release(held, false).await;
        deleted
    }

    async fn delete_rows(
        &self,
        dir: &FilePath,
        held: &mut Held,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<DeletedTree> {
        let dir_path = DirPath::from(dir.clone());
        let mut done = DeletedTree::default();
        let mut after: Option<String> = None;
        loop {
            let page = self.inner.metadata.scan(&dir_path, after.as_deref(), BATCH).await?;
            let mut files = Vec::new();
            for row in page.rows {
                match row {
                    Ok(file) => files.push(file),
                    Err(base) => {
                        done.skipped_count += 1;
                        if done.skipped.len() < DeletedTree::NAMED {
                            done.skipped.push(base.name);
                        }
                    }
                }
            }
            done.files += self.delete_batch(held, files).await?;
            progress(done.files);
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let change = Change::new().guard(Guard::Holds(held.token)).op(Op::RemoveDirTree(dir_path));
        self.inner.metadata.apply(change).await?;
        Ok(done)
    }

    /// One transaction for the rows, then the objects. Hidden rows go too, but are not counted.
    async fn delete_batch(&self, held: &mut Held, files: Vec<(FilePath, Record)>) -> Result<u64> {
        if files.is_empty() {
            return Ok(0);
        }
        self.refresh(held).await?;
        let mut change = Change::new().guard(Guard::Holds(held.token));
        let mut doomed = Vec::with_capacity(files.len());
        let mut visible = 0;
        let now = self.inner.metadata.now().await?;
        for (path, record) in files {
            let hidden = record.base.as_ref().is_none_or(|b| !b.visible());
            visible += u64::from(!hidden);
            if hidden && !self.inner.options.trash.is_zero() {
                // In the trash already: its own reap row ends it.
                continue;
            }
            let one = self.doom(&path, &record, self.inner.entropy.token(), now).await?;
            change = one.ops(change, &path);
            doomed.push((path, one));
        }
        self.inner.metadata.apply(change).await?;
        self.move_doomed(&doomed, held).await;
        Ok(visible)
    }

    /// The objects of a batch, some at once, as long as the hold lasts: the reaper does the rest.
    async fn move_doomed(&self, doomed: &[(FilePath, Doomed)], held: &mut Held) {
        for some in doomed.chunks(AT_ONCE) {
            if let Err(e) = self.refresh(held).await {
                tracing::warn!(error = %e, "deleted bytes are still in place; the reaper takes them away");
                return;
            }
            futures::future::join_all(some.iter().map(|(path, one)| self.move_one(path, one)))
                .await;
        }
    }

    /// Directory delete where the objects are the only truth.
    async fn delete_objects(
        &self,
        dir: &FilePath,
        progress: &mut (impl FnMut(u64) + Send),
    ) -> Result<DeletedTree> {
        let dir_path = DirPath::from(dir.clone());
        let mut done = DeletedTree::default();
        loop {
            let page = self.inner.metadata.scan(&dir_path, None, BATCH).await?;
            let files: Vec<FilePath> =
                page.rows.into_iter().filter_map(|row| row.ok().map(|(path, _)| path)).collect();
            if files.is_empty() {
                break;
            }
            done.files += u64::try_from(files.len()).unwrap_or(u64::MAX);
            for path in &files {
                self.delete(path, &Precondition::None).await?;
            }
            progress(done.files);
        }
        let change = Change::new().op(Op::RemoveDirTree(dir_path));
        match self.inner.metadata.apply(change).await {
            // Stores without directories have none to remove.
            Err(e) if e.kind() == ErrorKind::Unsupported => Ok(done),
            other => other.map(|()| done),
        }
    }
}

pub(crate) fn not_directory(path: &FilePath) -> ezdfs_core::Error {
    ezdfs_core::Error::new(ErrorKind::NotDirectory, format!("`{path}` is not a directory"))
}
