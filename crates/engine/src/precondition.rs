//! Preconditions of a write, as a pure rule.

use ezdfs_core::{ETag, Error, ErrorKind, FileMeta, Result};

/// What must hold of the present version for a write to take place. Checked while the path is
/// held, so that it is atomic among ezdfs nodes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Precondition {
    /// Nothing.
    #[default]
    None,
    /// No visible file: `If-None-Match: *`, O_EXCL.
    Absent,
    /// A visible file whose entity tag is one of these: `If-Match`, compared strongly
    /// (RFC 9110 §13.1.1).
    Matches(Vec<ETag>),
    /// Any visible file: `If-Match: *`.
    Present,
}

impl Precondition {
    /// Checks the rule against the present version.
    ///
    /// # Errors
    /// [`ErrorKind::PreconditionFailed`].
    pub fn check(&self, present: Option<&FileMeta>) -> Result<()> {
        let fail = |why: String| Err(Error::new(ErrorKind::PreconditionFailed, why));
        match (self, present) {
            (Self::None, _) | (Self::Absent, None) | (Self::Present, Some(_)) => Ok(()),
            (Self::Absent, Some(f)) => fail(format!("`{}` exists already", f.path)),
            (Self::Present | Self::Matches(_), None) => fail("the file does not exist".to_owned()),
            (Self::Matches(tags), Some(f)) => {
                let etag = f.etag();
                if tags.iter().any(|t| t.strong_eq(&etag)) {
                    Ok(())
                } else {
                    fail(format!("`{}` is now {etag}", f.path))
                }
            }
        }
    }
}
