//! How a command ends, and the one place that turns it into an exit code.

use std::process::ExitCode;

use ezdfs_core::{Error, ErrorKind};

/// How a command that ran to its end ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything was done.
    Done,
    /// Some files failed, each named on stderr.
    Partial,
    /// A check found problems, each named.
    Problems,
    /// Everything failed, and was named on stderr already.
    Failed(ErrorKind),
}

/// Why a command did not run to its end.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error that is still to be told.
    Error(Error),
    /// Whoever reads stdout has gone: nothing is wrong, and nothing is said.
    ReaderGone,
    /// SIGINT or SIGTERM.
    Interrupted,
}

/// Result of a command, or of a part of one.
pub(crate) type Result<T = Outcome, E = Failure> = std::result::Result<T, E>;

impl From<Error> for Failure {
    fn from(e: Error) -> Self {
        Self::Error(e)
    }
}

impl From<ezdfs_core::PathError> for Failure {
    fn from(e: ezdfs_core::PathError) -> Self {
        Self::Error(e.into())
    }
}

/// A failure with a message.
pub(crate) fn failure(kind: ErrorKind, message: impl Into<String>) -> Failure {
    Failure::Error(Error::new(kind, message))
}

/// Puts the path before an error that does not name it.
pub(crate) fn naming(failure: Failure, path: &ezdfs_core::FilePath) -> Failure {
    match failure {
        Failure::Error(e) if !e.message().contains(path.as_str()) => {
            Failure::Error(e.context(format_args!("`{path}`")))
        }
        other => other,
    }
}

/// The exit code, and what is still to be said on stderr.
///
/// 0 done; 1 failed; 2 usage or configuration; 3 done in part; 4 a check found problems. A reader
/// that closed stdout early has all it wanted: 0.
pub(crate) fn ending(result: &Result) -> (u8, Option<String>) {
    match result {
        Ok(Outcome::Done) | Err(Failure::ReaderGone) => (0, None),
        Ok(Outcome::Partial) => (3, None),
        Ok(Outcome::Problems) => (4, None),
        Ok(Outcome::Failed(kind)) => (kind.answers().exit, None),
        Err(Failure::Error(e)) => (e.kind().answers().exit, Some(e.to_string())),
        Err(Failure::Interrupted) => (1, Some("interrupted".to_owned())),
    }
}

/// Prints what is still to be said and gives the exit code.
pub(crate) fn exit_code(result: &Result) -> ExitCode {
    let (code, message) = ending(result);
    if let Some(message) = message {
        crate::say::error(&message);
    }
    ExitCode::from(code)
}

/// Counts over the files of one command: each failure is named at once, the rest goes on.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    done: u64,
    failed: u64,
    last: Option<ErrorKind>,
}

impl Tally {
    /// Counts one file. Errors are told; a reader that has gone, or a signal, ends the command.
    pub(crate) fn count<T>(&mut self, result: Result<T>) -> Result<Option<T>> {
        match result {
            Ok(value) => {
                self.succeed();
                Ok(Some(value))
            }
            Err(Failure::Error(e)) => {
                self.fail(&e);
                Ok(None)
            }
            Err(other) => Err(other),
        }
    }

    /// Counts one file that was done.
    pub(crate) fn succeed(&mut self) {
        self.done += 1;
    }

    /// Counts one file that failed.
    pub(crate) fn fail(&mut self, e: &Error) {
        crate::say::error(&e.to_string());
        self.failed += 1;
        self.last = Some(e.kind());
    }

    /// Done, done in part, or failed altogether.
    pub(crate) fn outcome(&self) -> Outcome {
        match (self.last, self.done) {
            (None, _) => Outcome::Done,
            (Some(kind), 0) => Outcome::Failed(kind),
            (Some(_), _) => Outcome::Partial,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_those_of_the_manual() {
        assert_eq!(ending(&Ok(Outcome::Done)).0, 0);
        assert_eq!(ending(&Err(Failure::ReaderGone)), (0, None));
        assert_eq!(ending(&Err(failure(ErrorKind::NotFound, "x"))).0, 1);
        assert_eq!(ending(&Err(failure(ErrorKind::Config, "x"))).0, 2);
        assert_eq!(ending(&Err(failure(ErrorKind::InvalidPath, "x"))).0, 2);
        assert_eq!(ending(&Ok(Outcome::Partial)).0, 3);
        assert_eq!(ending(&Ok(Outcome::Problems)).0, 4);
        assert_eq!(ending(&Ok(Outcome::Failed(ErrorKind::NotFound))), (1, None));
    }

    #[test]
    fn one_success_among_failures_is_done_in_part() {
        let mut tally = Tally::default();
        assert_eq!(tally.outcome(), Outcome::Done);
        tally.fail(&Error::not_found("a"));
        assert_eq!(tally.outcome(), Outcome::Failed(ErrorKind::NotFound));
        assert!(matches!(tally.count(Ok(1)), Ok(Some(1))));
        assert_eq!(tally.outcome(), Outcome::Partial);
        assert!(matches!(tally.count::<()>(Err(Failure::ReaderGone)), Err(Failure::ReaderGone)));
    }
}
