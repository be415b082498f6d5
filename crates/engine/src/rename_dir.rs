//! Rename of a directory: every object, then all rows in one transaction, up to `rename_dir_max`
//! files.

use ezdfs_core::{
    Change, DirPath, Entry, Error, ErrorKind, FileMeta, FilePath, Guard, Op, Pin, Result,
};
use futures::{StreamExt as _, TryStreamExt as _};

use crate::hold::Held;
use crate::rename::{Renamed, is_version};
use crate::service::FileService;

/// Objects that are moved at once.
const AT_ONCE: usize = 8;
/// Entries of one page.
const PAGE: u32 = 500;

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
        let token = self.inner.entropy.token();
        let mut held = self.hold(&self.rename_intents(from, to, token, true)).await?;
        let tree = match self.check_rename_dir(from, to).await {
            Ok(tree) => tree,
            Err(e) => {
                self.release(held, false).await;
                return Err(e);
            }
        };
        let files = u64::try_from(tree.files.len()).unwrap_or(u64::MAX);
        self.move_tree(from, to, tree, &mut held).await?;
        Ok(Renamed { files })
    }

    async fn check_rename_dir(&self, from: &FilePath, to: &FilePath) -> Result<Tree> {
        let now = self.inner.clock.now();
        match self.inner.metadata.record(to).await?.entry(to, now) {
            None => {}
            Some(Entry::File(_)) => return Err(crate::delete_dir::not_directory(to)),
            Some(Entry::Directory(_)) => {
                let page = self.inner.metadata.list(&DirPath::from(to.clone()), None, 1).await?;
                if !page.entries.is_empty() {
                    let what = format!("`{to}` is a directory with entries");
                    return Err(Error::new(ErrorKind::NotEmpty, what));
                }
            }
        }
        self.parents_are_directories(to).await?;
        self.tree(from).await
    }

    /// Everything below a directory, at most `rename_dir_max` files and as many directories.
    async fn tree(&self, dir: &FilePath) -> Result<Tree> {
        let most = usize::try_from(self.inner.options.rename_dir_max).unwrap_or(usize::MAX);
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

    async fn move_tree(
        &self,
        from: &FilePath,
        to: &FilePath,
        tree: Tree,
        held: &mut Held,
    ) -> Result<()> {
        self.refresh(held).await?;
        let root = DirPath::from(from.clone());
        let target = |path: &FilePath| -> Result<FilePath> {
            let rest = root.relative(path).unwrap_or_default();
            Ok(format!("{to}/{rest}").parse()?)
        };
        let mut moves = Vec::with_capacity(tree.files.len());
        for file in tree.files {
            let path = target(&file.path)?;
            moves.push((file, path));
        }
        let moved: Vec<(FileMeta, FilePath, Option<Pin>)> = futures::stream::iter(moves)
            .map(|(file, path)| async move {
                let (file, pin) = self.move_once(file, &path).await?;
                Ok::<_, Error>((file, path, pin))
            })
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        let mut change = Change::new().guard(Guard::Holds(held.token));
        for (file, path, pin) in &moved {
            change = self.rename_ops(change, file, path, pin.clone()).await?;
        }
        change = change.op(make_dir(to));
        for dir in &tree.directories {
            change = change.op(make_dir(&target(dir)?));
        }
        let change =
            change.op(Op::RemoveDirTree(root)).op(Op::EndHold { token: held.token, keep: false });
        self.inner.metadata.apply(change).await
    }

    /// Moves one object unless an earlier, broken attempt has moved it already.
    async fn move_once(
        &self,
        mut file: FileMeta,
        to: &FilePath,
    ) -> Result<(FileMeta, Option<Pin>)> {
        let binary = &self.inner.binary;
        if file.pin.is_none() {
            file.pin = binary.head(&binary.key(&file.path)?).await?.and_then(|o| o.pin);
        }
        match self.move_object(&file, to).await {
            Err(e) if e.kind() == ErrorKind::NotFound => {
                let object = binary.head(&binary.key(to)?).await?;
                // A row without bytes moves all the same, as `mv` would move its name.
                let pin = object.filter(|o| is_version(o, &file)).and_then(|o| o.pin);
                Ok((file, pin))
            }
            other => other.map(|pin| (file, pin)),
        }
    }

    /// Finishes an abandoned directory rename; every step of it may have been done already.
    pub(crate) async fn finish_rename_dir(
        &self,
        from: &FilePath,
        to: &FilePath,
        mut held: Held,
    ) -> Result<()> {
        let tree = self.tree(from).await?;
        let is_there =
            self.inner.metadata.record(from).await?.entry(from, self.inner.clock.now()).is_some();
        if !is_there {
            self.release(held, false).await;
            return Ok(());
        }
        self.move_tree(from, to, tree, &mut held).await
    }
}

fn make_dir(path: &FilePath) -> Op {
    Op::MakeDir { path: path.clone(), exclusive: false, mode: None, uid: None, gid: None }
}
