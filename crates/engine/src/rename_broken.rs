//! Renames that broke in the middle, or whose object moved after they had lost their hold: they
//! are finished, or undone, as a whole.

use ezdfs_core::{
    BaseRow, DirPath, FileMeta, FilePath, Intent, IntentState, Result, Timestamp, Work,
};
use futures::future::BoxFuture;

use crate::binary::ObjectInfo;
use crate::decide::Found;
use crate::hold::Held;
use crate::rename::{Moved, is_refusal, is_version, moved};
use crate::service::FileService;

/// Pending rows that are looked at for the ends of a rename; they are few.
const MOST: u32 = 10_000;

impl FileService {
    /// Abandoned rename: finished if the object has moved, dropped if not.
    pub(crate) async fn roll_rename(&self, abandoned: &Intent) -> Result<()> {
        let Some((from, to)) = self.ends_of(abandoned).await? else {
            return self.end_abandoned(abandoned).await;
        };
        let token = self.inner.entropy.token();
        let rows = self.rename_intents(&from, &to, token, abandoned.subtree).to_vec();
        let held = self.take_over(abandoned, rows).await?;
        if abandoned.subtree {
            return self.finish_rename_dir(&from, &to, held).await;
        }
        match self.finish_rename(&from, &to, held).await {
            Err(e) if is_refusal(e.kind()) => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Commits a rename if its object is at the target, and gives the hold back; whether it did.
    async fn finish_rename(&self, from: &FilePath, to: &FilePath, held: Held) -> Result<bool> {
        match self.half_done(from, to).await? {
            Some(moved) => self.commit_rename(&moved, to, held).await.map(|()| true),
            None => {
                self.release(held, false).await;
                Ok(false)
            }
        }
    }

    /// The move of a rename whose rows were not written: the target carries the version of the
    /// source's row.
    async fn half_done(&self, from: &FilePath, to: &FilePath) -> Result<Option<Moved>> {
        let binary = &self.inner.binary;
        let record = self.inner.metadata.record(from).await?;
        if !record.base.as_ref().is_some_and(BaseRow::visible) {
            return Ok(None);
        }
        let (Some(source), Some(object)) =
            (record.file(from), binary.head(&binary.key(to)?).await?)
        else {
            return Ok(None);
        };
        let there = self.inner.metadata.record(to).await?;
        let is_visible = there.base.as_ref().is_some_and(BaseRow::visible);
        if is_visible && there.file(to).and_then(|f| f.pin) == object.pin {
            // The target's own version.
            return Ok(None);
        }
        let left = binary.head(&binary.key(from)?).await?;
        // A rename leaves nothing at the source, a copy leaves all of it.
        let is_possible = left.is_none() == binary.capabilities.atomic_rename;
        if !is_possible || object.size != source.size {
            return Ok(None);
        }
        let is_moved = is_version(&object, &source)
            || match &left {
                // The copy of a version without a token: the bytes decide.
                Some(left) if source.token.is_none() => {
                    self.same_bytes(from, left, to, &object).await?
                }
                // A foreign row whose pin nobody knew.
                None => source.pin.is_none() && source.token.is_none(),
                Some(_) => false,
            };
        if !is_moved {
            return Ok(None);
        }
        let source = match left {
            Some(left) => FileMeta { pin: left.pin, ..source },
            None => source,
        };
        let file = moved(&source, object.pin);
        Ok(Some(Moved { source, file }))
    }

    async fn same_bytes(
        &self,
        from: &FilePath,
        source: &ObjectInfo,
        to: &FilePath,
        target: &ObjectInfo,
    ) -> Result<bool> {
        let (Some(a), Some(b)) = (&source.pin, &target.pin) else { return Ok(false) };
        Ok(self.digest(from, a).await? == self.digest(to, b).await?)
    }

    /// After the move of a rename that has lost its hold: finishes it, or takes the object away
    /// again if its version was deleted meanwhile and nobody stores anything at the target.
    pub(crate) fn end_late_move<'a>(
        &'a self,
        moved: &'a Moved,
        to: &'a FilePath,
    ) -> BoxFuture<'a, Result<bool>> {
        // Boxed, because taking a path may roll others forward and so come here again.
        Box::pin(async move {
            if self.late_move(&moved.source.path, to).await? {
                return Ok(true);
            }
            let repair = self.intent(to, self.inner.entropy.token(), Work::Repair);
            let held = self.hold(&[repair]).await?;
            if self.inner.metadata.record(to).await?.base.is_none() {
                self.remove_unnamed(to, moved.file.pin.as_ref(), &held).await;
            }
            self.release(held, false).await;
            Ok(false)
        })
    }

    /// Finishes a rename whose object moved after it had lost its hold: takes both paths again.
    pub(crate) fn finish_late_rename<'a>(
        &'a self,
        from: &'a FilePath,
        to: &'a FilePath,
    ) -> BoxFuture<'a, Result<()>> {
        // Boxed for the same reason.
        Box::pin(async move { self.late_move(from, to).await.map(|_| ()) })
    }

    async fn late_move(&self, from: &FilePath, to: &FilePath) -> Result<bool> {
        let token = self.inner.entropy.token();
        let held = self.hold(&self.rename_intents(from, to, token, false)).await?;
        self.finish_rename(from, to, held).await
    }

    /// A rename that had lost its hold and may have moved this path's object afterwards, if the
    /// object is where it would be then.
    pub(crate) async fn late_rename(&self, found: &Found) -> Result<Option<(FilePath, FilePath)>> {
        let all = Timestamp::from_nanos(i64::MAX);
        let ended = self.inner.metadata.due(IntentState::Ended, all, MOST).await?;
        for (from, to) in ended.iter().filter_map(|row| ends_at(row, &found.path)) {
            if self.half_done(&from, &to).await?.is_some() {
                return Ok(Some((from, to)));
            }
        }
        Ok(None)
    }

    /// Both ends of a rename, from either row.
    async fn ends_of(&self, row: &Intent) -> Result<Option<(FilePath, FilePath)>> {
        if let Work::Rename { to: Some(to) } = &row.work {
            return Ok(Some((row.path.clone(), to.clone())));
        }
        let due = self
            .inner
            .metadata
            .due(IntentState::Held, Timestamp::from_nanos(i64::MAX), MOST)
            .await?;
        Ok(due.into_iter().find_map(|i| match i.work {
            Work::Rename { to: Some(to) } if i.token == row.token => Some((i.path, to)),
            _ => None,
        }))
    }
}

/// Both ends, as files, of an ended rename that moved `path` away or something to it.
fn ends_at(row: &Intent, path: &FilePath) -> Option<(FilePath, FilePath)> {
    let Work::Rename { to: Some(to) } = &row.work else { return None };
    let (source, target) = (DirPath::from(row.path.clone()), DirPath::from(to.clone()));
    if *path == row.path || path == to {
        Some((row.path.clone(), to.clone()))
    } else if row.subtree && source.contains(path) {
        let there = format!("{to}/{}", source.relative(path)?).parse().ok()?;
        Some((path.clone(), there))
    } else if row.subtree && target.contains(path) {
        let here = format!("{}/{}", row.path, target.relative(path)?).parse().ok()?;
        Some((here, path.clone()))
    } else {
        None
    }
}
