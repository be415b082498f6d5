//! Twins: names of one directory that a file system which folds case or Unicode forms takes for
//! one. Here they are two files; a copy of the tree to such a file system would lose one.

use std::collections::BTreeSet;

use ezdfs_core::{FilePath, Result};
use sha2::Digest as _;
use unicode_normalization::UnicodeNormalization as _;

use super::finding::{Finding, Kind};
use super::sorter::{Sorted, Sorter};

/// Bytes of a digest that tell twins from others.
const KEY: usize = 16;
/// Twins of one name that are told.
const TOLD: usize = 16;

/// Collects names that come in the order of their paths.
#[derive(Debug)]
pub(super) struct Names {
    sorter: Sorter,
    last: Option<FilePath>,
}

impl Names {
    pub(super) fn new() -> Self {
        Self { sorter: Sorter::new(), last: None }
    }

    /// Takes a file, and the directories above it that were not there before, which it gives.
    pub(super) async fn add(&mut self, path: &FilePath) -> Result<Vec<FilePath>> {
        let mut new = Vec::new();
        let last = self.last.replace(path.clone());
        self.push(path).await?;
        for dir in path.ancestors() {
            // All paths below a directory come one behind the other.
            let is_known = last.as_ref().is_some_and(|last| {
                last.as_str().strip_prefix(dir.as_str()).is_some_and(|rest| rest.starts_with('/'))
            });
            if is_known {
                break;
            }
            self.push(&dir).await?;
            new.push(dir);
        }
        Ok(new)
    }

    async fn push(&mut self, path: &FilePath) -> Result<()> {
        let mut digest = sha2::Sha256::new();
        digest.update(path.parent().as_str().as_bytes());
        digest.update([0]);
        digest.update(fold(path.basename()).as_bytes());
        let mut record = digest.finalize()[..KEY].to_vec();
        record.extend_from_slice(path.as_str().as_bytes());
        self.sorter.push(&record).await
    }

    /// The twins.
    pub(super) async fn twins(self) -> Result<Twins> {
        Ok(Twins { sorted: self.sorter.sorted().await?, next: None })
    }
}

/// Groups of names that fold to one.
#[derive(Debug)]
pub(super) struct Twins {
    sorted: Sorted,
    next: Option<Vec<u8>>,
}

impl Twins {
    /// The next group of at least two paths.
    pub(super) async fn next(&mut self) -> Result<Option<BTreeSet<FilePath>>> {
        loop {
            let first = match self.next.take() {
                Some(first) => first,
                None => match self.sorted.next().await? {
                    Some(first) => first,
                    None => return Ok(None),
                },
            };
            let mut group: BTreeSet<FilePath> = path_of(&first).into_iter().collect();
            while let Some(record) = self.sorted.next().await? {
                if record.get(..KEY) != first.get(..KEY) {
                    self.next = Some(record);
                    break;
                }
                if group.len() < TOLD {
                    group.extend(path_of(&record));
                }
            }
            if group.len() > 1 {
                return Ok(Some(group));
            }
        }
    }
}

fn path_of(record: &[u8]) -> Option<FilePath> {
    FilePath::from_bytes(record.get(KEY..)?).ok()
}

/// What a file system that folds makes of a name.
fn fold(name: &str) -> String {
    if name.is_ascii() {
        return name.to_ascii_lowercase();
    }
    // Composed again afterwards: lower case letters may be made of two characters.
    name.nfc().flat_map(char::to_lowercase).nfc().collect()
}

/// What there is to say of twins.
pub(super) fn finding(group: &BTreeSet<FilePath>) -> Option<Finding> {
    let first = group.first()?;
    let forms: BTreeSet<String> = group.iter().map(|p| p.basename().nfc().collect()).collect();
    let (kind, how) = if forms.len() < group.len() {
        (Kind::UnicodeTwin, "Unicode form")
    } else {
        (Kind::CaseTwin, "case")
    };
    let others: Vec<String> =
        group.iter().skip(1).map(|p| format!("`{}`", p.basename().escape_debug())).collect();
    let detail = format!("differs from {} by {how} only", others.join(", "));
    Some(Finding { kind, path: first.to_string(), size: None, detail })
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn twins(paths: &[&str]) -> Vec<(Kind, Vec<String>)> {
        let mut paths: Vec<FilePath> = paths.iter().map(|p| p.parse().unwrap()).collect();
        paths.sort();
        let mut names = Names::new();
        for path in &paths {
            names.add(path).await.unwrap();
        }
        let mut twins = names.twins().await.unwrap();
        let mut all = Vec::new();
        while let Some(group) = twins.next().await.unwrap() {
            let kind = finding(&group).unwrap().kind;
            all.push((kind, group.iter().map(ToString::to_string).collect()));
        }
        all.sort();
        all
    }

    #[tokio::test]
    async fn twins_of_one_directory_are_found() {
        let (nfc, nfd) = ("d/\u{e9}.jpg", "d/e\u{301}.jpg");
        let found = twins(&["a/A.jpg", "a/a.jpg", "a/b.jpg", "b/A.jpg", nfc, nfd, "d/x"]).await;
        let case = (Kind::CaseTwin, vec!["a/A.jpg".to_owned(), "a/a.jpg".to_owned()]);
        let form = (Kind::UnicodeTwin, vec![nfd.to_owned(), nfc.to_owned()]);
        assert_eq!(found, [case, form]);
    }

    #[tokio::test]
    async fn twin_directories_are_told_once() {
        let found = twins(&["Images/1", "Images/2", "images/1", "images-x/1", "images/2"]).await;
        assert_eq!(found, [(Kind::CaseTwin, vec!["Images".to_owned(), "images".to_owned()])]);
    }

    #[test]
    fn case_is_folded_beyond_ascii() {
        assert_eq!(fold("ÉT\u{c9}"), fold("e\u{301}t\u{e9}"));
        assert_ne!(fold("a"), fold("b"));
        assert_eq!(fold("ΑΣ"), fold("ας").replace('ς', "σ"));
    }
}
