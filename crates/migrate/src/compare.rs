//! Whether a target holds a source file already: a pure rule over what is known of both.

use ezdfs_core::{Sha256, Timestamp};

use crate::options::Verify;

/// What is known of one end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Bytes.
    pub(crate) size: u64,
    /// Last change.
    pub(crate) mtime: Timestamp,
    /// Digest of the bytes that are stored now; `None` while it is not known for certain.
    pub(crate) sha256: Option<Sha256>,
}

/// What the mtime of a target tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mtimes {
    /// It is the source's, in the precision of a row.
    Kept,
    /// It is the time of the copy: the target keeps no mtimes of its own.
    OfCopy,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Same,
    Differs,
    /// The digest of the source decides.
    NeedsSource,
    /// The digest of the target decides.
    NeedsTarget,
}

/// The rule; see the documentation of the crate.
pub(crate) fn compare(source: Known, target: Known, mtimes: Mtimes, verify: Verify) -> Verdict {
    if source.size != target.size {
        return Verdict::Differs;
    }
    match (source.sha256, target.sha256) {
        (Some(a), Some(b)) if a == b => return Verdict::Same,
        (Some(_), Some(_)) => return Verdict::Differs,
        (None, _) if verify == Verify::Sha256 => return Verdict::NeedsSource,
        (_, None) if verify == Verify::Sha256 => return Verdict::NeedsTarget,
        _ => {}
    }
    let same = match mtimes {
        // Nanoseconds where both have them, else the seconds of the base row.
        Mtimes::Kept if whole(source.mtime) || whole(target.mtime) => {
            source.mtime.base_mtime() == target.mtime.base_mtime()
        }
        Mtimes::Kept => source.mtime == target.mtime,
        Mtimes::OfCopy => target.mtime >= source.mtime,
    };
    if same { Verdict::Same } else { Verdict::Differs }
}

fn whole(t: Timestamp) -> bool {
    t == Timestamp::from_secs(t.secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(size: u64, millis: i64, digest: Option<u8>) -> Known {
        let sha256 = digest.map(|d| Sha256::from_bytes([d; 32]));
        Known { size, mtime: Timestamp::from_millis(millis), sha256 }
    }

    #[test]
    fn digests_decide_over_mtimes() {
        for verify in [Verify::None, Verify::Size, Verify::Sha256] {
            let rule = |a, b| compare(a, b, Mtimes::Kept, verify);
            assert_eq!(rule(known(3, 1, Some(1)), known(3, 9000, Some(1))), Verdict::Same);
            assert_eq!(rule(known(3, 1, Some(1)), known(3, 1, Some(2))), Verdict::Differs);
            assert_eq!(rule(known(3, 1, Some(1)), known(4, 1, Some(1))), Verdict::Differs);
        }
    }

    #[test]
    fn sha256_asks_for_digests_until_both_are_known() {
        let rule = |a, b| compare(known(3, 1, a), known(3, 1, b), Mtimes::Kept, Verify::Sha256);
        assert_eq!(rule(None, None), Verdict::NeedsSource);
        assert_eq!(rule(None, Some(1)), Verdict::NeedsSource);
        assert_eq!(rule(Some(1), None), Verdict::NeedsTarget);
    }

    #[test]
    fn without_digests_the_mtime_decides() {
        for verify in [Verify::None, Verify::Size] {
            let kept = |a, b| compare(known(3, a, None), known(3, b, None), Mtimes::Kept, verify);
            assert_eq!(kept(5000, 5000), Verdict::Same);
            assert_eq!(kept(5400, 5000), Verdict::Same, "a row has whole seconds");
            assert_eq!(kept(5400, 5300), Verdict::Differs);
            assert_eq!(kept(6000, 5000), Verdict::Differs);
            let copy = |a, b| compare(known(3, a, None), known(3, b, None), Mtimes::OfCopy, verify);
            assert_eq!(copy(5000, 9000), Verdict::Same);
            assert_eq!(copy(9000, 5000), Verdict::Differs);
        }
    }
}
