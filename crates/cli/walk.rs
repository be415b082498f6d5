//! A walk over a directory tree of the store: one page per level in memory, however much lies
//! below.

use ezdfs_core::{DirPath, Entry, Result};
use ezdfs_engine::FileService;

/// Entries of one page.
const PAGE: u32 = 500;

/// The entries below a directory; with `recursive` each directory is followed by what is in it.
#[derive(Debug)]
pub(crate) struct Walk<'a> {
    service: &'a FileService,
    recursive: bool,
    levels: Vec<Level>,
}

#[derive(Debug)]
struct Level {
    dir: DirPath,
    page: std::vec::IntoIter<Entry>,
    next: Next,
}

#[derive(Debug)]
enum Next {
    After(Option<String>),
    End,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(service: &'a FileService, dir: DirPath, recursive: bool) -> Self {
        Self { service, recursive, levels: vec![Level::new(dir)] }
    }

    /// The next entry; `None` at the end.
    ///
    /// # Errors
    /// A database error.
    pub(crate) async fn next(&mut self) -> Result<Option<Entry>> {
        while let Some(level) = self.levels.last_mut() {
            if let Some(entry) = level.page.next() {
                if let (Entry::Directory(dir), true) = (&entry, self.recursive) {
                    self.levels.push(Level::new(dir.path.clone()));
                }
                return Ok(Some(entry));
            }
            match &level.next {
                Next::End => {
                    self.levels.pop();
                }
                Next::After(after) => {
                    let page = self.service.list(&level.dir, after.as_deref(), PAGE).await?;
                    level.next = page.next.map_or(Next::End, |after| Next::After(Some(after)));
                    level.page = page.entries.into_iter();
                }
            }
        }
        Ok(None)
    }
}

impl Level {
    fn new(dir: DirPath) -> Self {
        Self { dir, page: Vec::new().into_iter(), next: Next::After(None) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    #[tokio::test]
    async fn directories_come_before_what_is_in_them() {
        let service = testing::memory();
        for path in ["b/c/2", "b/c/1", "a", "b/d", "z"] {
            testing::put(&service, path, "x").await;
        }
        let mut walk = Walk::new(&service, DirPath::root(), true);
        let mut seen = Vec::new();
        while let Some(entry) = walk.next().await.unwrap() {
            seen.push(entry.path().to_owned());
        }
        assert_eq!(seen, ["a", "b", "b/c", "b/c/1", "b/c/2", "b/d", "z"]);
        let mut flat = Walk::new(&service, "b".parse().unwrap(), false);
        assert_eq!(flat.next().await.unwrap().unwrap().path(), "b/c");
        assert_eq!(flat.next().await.unwrap().unwrap().path(), "b/d");
        assert!(flat.next().await.unwrap().is_none());
    }

    #[tokio::test]
    async fn more_than_a_page_is_listed_whole() {
        let service = testing::memory();
        for i in 0..PAGE + 3 {
            testing::put(&service, &format!("d/{i:05}"), "").await;
        }
        let mut walk = Walk::new(&service, "d".parse().unwrap(), false);
        let mut n = 0;
        while walk.next().await.unwrap().is_some() {
            n += 1;
        }
        assert_eq!(n, PAGE + 3);
    }
}
