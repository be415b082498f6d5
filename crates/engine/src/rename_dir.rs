//! Rename of a directory: every object, then all rows in one transaction, up to `rename_dir_max`
//! files.

use ezdfs_core::{Change, DirPath, Entry, Error, ErrorKind, FileMeta, FilePath, Guard, Op, Result};

use crate::binary::ObjectInfo;
use crate::hold::Held;
use crate::rename::{Moved, Renamed, is_version, moved, was_not_moved};
use crate::service::FileService;

/// Objects that are moved at once.
const AT_ONCE: usize = 8;
/// Entries of one page.
const PAGE: u32 = 500;

/// How many times as many entries as allowed a broken rename may have when it is finished.
const GROWN: u32 = 10;

/// Where everything below a directory goes.
#[derive(Debug, Default)]
struct Plan {
    files: Vec<(FileMeta, FilePath)>,
    directories: Vec<FilePath>,
}

/// What lies below a directory.
#[derive(Debug, Default)]
struct Tree {
    files: Vec<FileMeta>,
    directories: Vec<FilePath>,
}

impl FileService {
    pub(crate) async fn rename_dir(&self, from: &FilePath, to: &FilePath) -> Result<Renamed> {
        if DirPath::from(from.clone()).contains(to) {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                format!("`{to}` lies inside `{from}`: a directory cannot move into itself"),
            ));
        }
        if !self.inner.metadata.is_separate() {
            return Err(Error::new(
                ErrorKind::TooManyEntries,
                "this metadata handler cannot move a directory in one step; copy and delete it",
            ));
        }
        if DirPath::from(to.clone()).contains(from) {
            return Err(not_empty(to));
        }
        self.expire_below(from).await?;
        let token = self.inner.entropy.token();
        let mut held = self.hold(&self.rename_intents(from, to, token, true)).await?;
        let plan = match self.check_rename_dir(from, to).await {
            Ok(()) => self.plan(from, to, self.inner.options.rename_dir_max).await,
            Err(e) => Err(e),
        };
        let plan = match plan {
            Ok(plan) => plan,
            // Refused before anything was moved.
            Err(e) => {
                self.release(held, false).await;
                return Err(e);
            }
        };
        let files = u64::try_from(plan.files.len()).unwrap_or(u64::MAX);
        if let Err(e) = self.refresh(&mut held).await {
            self.release(held, false).await;
            return Err(e);
        }
        self.move_tree(from, to, plan, held).await.map(|()| Renamed { files })
    }

    async fn check_rename_dir(&self, from: &FilePath, to: &FilePath) -> Result<()> {
        let now = self.inner.clock.now();
        match self.inner.metadata.record(to).await?.entry(to, now) {
            None => {}
            Some(Entry::File(_)) => return Err(crate::delete_dir::not_directory(to)),
            Some(Entry::Directory(_)) => {
                let page = self.inner.metadata.list(&DirPath::from(to.clone()), None, 1).await?;
                if !page.entries.is_empty() {
                    return Err(not_empty(to));
                }
            }
        }
        self.parents_are_directories(to).await?;
        match self.entry(&DirPath::from(from.clone())).await? {
            Entry::Directory(_) => Ok(()),
            Entry::File(_) => Err(crate::delete_dir::not_directory(from)),
        }
    }

    /// Where everything below a directory goes. Fails before anything is moved if a name becomes
    /// too long.
    async fn plan(&self, from: &FilePath, to: &FilePath, most: u32) -> Result<Plan> {
        let tree = self.tree(from, most).await?;
        let root = DirPath::from(from.clone());
        let target = |path: &FilePath| -> Result<FilePath> {
            let there: FilePath =
                format!("{to}/{}", root.relative(path).unwrap_or_default()).parse()?;
            self.inner.binary.key(&there)?;
            Ok(there)
        };
        let mut plan = Plan::default();
        for file in tree.files {
            let there = target(&file.path)?;
            plan.files.push((file, there));
        }
        for dir in &tree.directories {
            plan.directories.push(target(dir)?);
        }
        Ok(plan)
    }

    /// Everything below a directory, at most so many files and as many directories.
    async fn tree(&self, dir: &FilePath, most: u32) -> Result<Tree> {
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        let mut tree = Tree::default();
        let mut todo = vec![dir.clone()];
        while let Some(dir) = todo.pop() {
            let dir = DirPath::from(dir);
            let mut after: Option<String> = None;
            loop {
                let page = self.inner.metadata.list(&dir, after.as_deref(), PAGE).await?;
                for entry in page.entries {
                    match entry {
                        Entry::File(file) => tree.files.push(file),
                        Entry::Directory(d) => {
                            if let Some(path) = d.path.path() {
                                tree.directories.push(path.clone());
                                todo.push(path.clone());
                            }
                        }
                    }
                }
                if tree.files.len() > most || tree.directories.len() > most {
                    return Err(Error::new(
                        ErrorKind::TooManyEntries,
                        format!(
                            "more than {most} entries below `{dir}` (`rename_dir_max`): copy and \
                             delete them instead"
                        ),
                    ));
                }
                match page.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(tree)
    }

    /// Moves the objects, then all rows.
    async fn move_tree(
        &self,
        from: &FilePath,
        to: &FilePath,
        plan: Plan,
        mut held: Held,
    ) -> Result<()> {
        let mut done = Vec::with_capacity(plan.files.len());
        let moved = match self.move_objects(plan.files, &mut held, &mut done).await {
            Ok(()) => self.move_rows(from, to, &done, &plan.directories, &held).await,
            Err(e) => Err(e),
        };
        match moved {
            // Something is in the way, for good. While the hold lasts what has moved goes back.
            Err(e) if was_not_moved(e.kind()) && self.still_holds(&held).await? => {
                for (moved, there) in &done {
                    self.move_back(moved, there, &held).await?;
                }
                self.release(held, false).await;
                Err(e)
            }
            // Another node took the paths over after a pause, and finished the rename. What moved
            // after that moves again with its row.
            Err(e) if e.kind() == ErrorKind::LostHold || was_not_moved(e.kind()) => {
                for (moved, there) in &done {
                    self.end_late_move(moved, there).await?;
                }
                Err(e)
            }
            other => other,
        }
    }

    /// Some at once, and only while the hold lasts.
    async fn move_objects(
        &self,
        files: Vec<(FileMeta, FilePath)>,
        held: &mut Held,
        done: &mut Vec<(Moved, FilePath)>,
    ) -> Result<()> {
        let mut files = files.into_iter();
        loop {
            let some: Vec<_> = files.by_ref().take(AT_ONCE).collect();
            if some.is_empty() {
                return Ok(());
            }
            self.refresh(held).await?;
            let moves = some.into_iter().map(|(file, there)| async move {
                let moved = self.move_once(file, &there).await?;
                Ok::<_, Error>((moved, there))
            });
            // All of them, so that what has moved is known when one of them fails.
            let mut failed = None;
            for moved in self.keeping(held, futures::future::join_all(moves)).await {
                match moved {
                    Ok(moved) => done.push(moved),
                    Err(e) => failed = failed.or(Some(e)),
                }
            }
            if let Some(e) = failed {
                return Err(e);
            }
        }
    }

    /// One transaction for everything.
    async fn move_rows(
        &self,
        from: &FilePath,
        to: &FilePath,
        files: &[(Moved, FilePath)],
        directories: &[FilePath],
        held: &Held,
    ) -> Result<()> {
        let not_before = self.inner.metadata.now().await?.plus(self.inner.options.delete_grace);
        let mut change = Change::new().guard(Guard::Holds(held.token));
        for (moved, there) in files {
            change = self.rename_ops(change, moved, there, not_before)?;
        }
        change = change.op(make_dir(to));
        for dir in directories {
            change = change.op(make_dir(dir));
        }
        let change = change
            .op(Op::RemoveDirTree(DirPath::from(from.clone())))
            .op(Op::EndHold { token: held.token, keep: false });
        self.inner.metadata.apply(change).await
    }

    /// Moves one object unless an earlier, broken attempt has moved it already. What moves is the
    /// version that its row describes, or what a foreign writer has made of it since.
    async fn move_once(&self, mut file: FileMeta, to: &FilePath) -> Result<Moved> {
        let binary = &self.inner.binary;
        let there = binary.key(to)?;
        if let Some(object) = binary.head(&binary.key(&file.path)?).await? {
            if file.pin.is_none() && object.size == file.size {
                file.pin = object.pin;
            }
            match self.move_object(file.clone(), to).await {
                // Whoever held the paths before has moved it in this very moment.
                Err(e) if e.kind() == ErrorKind::NotFound => {}
                other => return other,
            }
        }
        let object = binary.head(&there).await?;
        // A row without bytes moves all the same, as `mv` would move its name.
        let is_same =
            |o: &ObjectInfo| is_version(o, &file) || (file.pin.is_none() && o.size == file.size);
        let pin = object.filter(is_same).and_then(|o| o.pin);
        let new = moved(&file, pin);
        Ok(Moved { source: file, file: new })
    }

    /// Finishes an abandoned directory rename; every step of it may have been done already.
    pub(crate) async fn finish_rename_dir(
        &self,
        from: &FilePath,
        to: &FilePath,
        mut held: Held,
    ) -> Result<()> {
        let record = self.inner.metadata.record(from).await?;
        if record.entry(from, self.inner.clock.now()).is_none() {
            self.release(held, false).await;
            return Ok(());
        }
        self.refresh(&mut held).await?;
        // Foreign writers may have added files since it was counted.
        let most = self.inner.options.rename_dir_max.saturating_mul(GROWN);
        let plan = self.plan(from, to, most).await?;
        match self.move_tree(from, to, plan, held).await {
            Err(e) if was_not_moved(e.kind()) => Ok(()),
            other => other,
        }
    }
}

fn not_empty(dir: &FilePath) -> Error {
    Error::new(ErrorKind::NotEmpty, format!("`{dir}` is a directory with entries"))
}

fn make_dir(path: &FilePath) -> Op {
    Op::MakeDir { path: path.clone(), exclusive: false, mode: None, uid: None, gid: None }
}
