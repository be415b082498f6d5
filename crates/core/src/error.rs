//! `Error`, and the one table from `ErrorKind` to HTTP status, errno and exit code.

use std::fmt;

use rustix::io::Errno;

/// Result with [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, coarse enough that every door can answer from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// No visible file or directory of that path.
    NotFound,
    /// Something of that path exists already.
    AlreadyExists,
    /// The path is a directory and a file was asked for.
    IsDirectory,
    /// An ancestor of the path, or the path itself, is not a directory.
    NotDirectory,
    /// The directory has entries.
    NotEmpty,
    /// `If-Match` or `If-None-Match` does not hold.
    PreconditionFailed,
    /// The path breaks rules K.
    InvalidPath,
    /// The path is not UTF-8.
    NotUtf8,
    /// The path or a segment of it is too long for the back end.
    NameTooLong,
    /// The path lies below `.ezdfs`, which belongs to ezdfs.
    Reserved,
    /// A value that the operation cannot take; the message says which.
    InvalidArgument,
    /// The command line is wrong.
    Usage,
    /// The configuration is wrong; the message names key, line and fix.
    Config,
    /// The caller may not do this.
    PermissionDenied,
    /// The store or the handler is read-only.
    ReadOnly,
    /// Another node holds the path; try again later.
    Busy,
    /// The version that was asked for was replaced; load the entry again.
    Stale,
    /// This node lost its hold on the path before it could finish.
    LostHold,
    /// A database or a store does not answer or answers with an error.
    Unavailable,
    /// A step took longer than its time-out.
    TimedOut,
    /// The bytes that a visible row names are gone.
    MissingBytes,
    /// Bytes or rows contradict their metadata (size, digest, hash).
    Corrupt,
    /// Another name with the same MD5 is stored: refused, because the table has one row for both.
    HashCollision,
    /// More entries than one step may move; copy instead.
    TooManyEntries,
    /// Larger than a limit allows.
    TooLarge,
    /// No space left.
    NoSpace,
    /// The handler cannot do this at all.
    Unsupported,
    /// A defect of ezdfs.
    Internal,
}

/// The answers of one [`ErrorKind`] on every door.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Answers {
    /// HTTP status code (RFC 9110 §15).
    pub http: u16,
    /// errno of the mount.
    pub errno: Errno,
    /// Exit code of the command line: 1 failed, 2 usage or configuration.
    pub exit: u8,
}

impl ErrorKind {
    /// Every kind, for tests and documentation.
    pub const ALL: [Self; 28] = [
        Self::NotFound,
        Self::AlreadyExists,
        Self::IsDirectory,
        Self::NotDirectory,
        Self::NotEmpty,
        Self::PreconditionFailed,
        Self::InvalidPath,
        Self::NotUtf8,
        Self::NameTooLong,
        Self::Reserved,
        Self::InvalidArgument,
        Self::Usage,
        Self::Config,
        Self::PermissionDenied,
        Self::ReadOnly,
        Self::Busy,
        Self::Stale,
        Self::LostHold,
        Self::Unavailable,
        Self::TimedOut,
        Self::MissingBytes,
        Self::Corrupt,
        Self::HashCollision,
        Self::TooManyEntries,
        Self::TooLarge,
        Self::NoSpace,
        Self::Unsupported,
        Self::Internal,
    ];

    /// The one table: what each door answers.
    #[must_use]
    pub const fn answers(self) -> Answers {
        let (http, errno, exit) = match self {
            Self::NotFound => (404, Errno::NOENT, 1),
            Self::AlreadyExists => (409, Errno::EXIST, 1),
            Self::IsDirectory => (409, Errno::ISDIR, 1),
            Self::NotDirectory => (409, Errno::NOTDIR, 1),
            Self::NotEmpty => (409, Errno::NOTEMPTY, 1),
            Self::PreconditionFailed => (412, Errno::STALE, 1),
            Self::InvalidPath => (400, Errno::INVAL, 2),
            Self::NotUtf8 => (400, Errno::ILSEQ, 2),
            Self::NameTooLong => (400, Errno::NAMETOOLONG, 2),
            Self::Reserved => (400, Errno::ACCESS, 2),
            Self::InvalidArgument => (400, Errno::INVAL, 2),
            Self::Usage => (400, Errno::INVAL, 2),
            Self::Config => (500, Errno::IO, 2),
            Self::PermissionDenied => (403, Errno::ACCESS, 1),
            Self::ReadOnly => (403, Errno::ROFS, 1),
            Self::Busy => (503, Errno::BUSY, 1),
            Self::Stale => (503, Errno::STALE, 1),
            Self::LostHold => (503, Errno::STALE, 1),
            Self::Unavailable => (503, Errno::IO, 1),
            Self::TimedOut => (503, Errno::IO, 1),
            Self::MissingBytes => (404, Errno::IO, 1),
            Self::Corrupt => (503, Errno::IO, 1),
            Self::HashCollision => (409, Errno::IO, 1),
            Self::TooManyEntries => (409, Errno::XDEV, 1),
            Self::TooLarge => (413, Errno::FBIG, 1),
            Self::NoSpace => (507, Errno::NOSPC, 1),
            Self::Unsupported => (501, Errno::OPNOTSUPP, 1),
            Self::Internal => (500, Errno::IO, 1),
        };
        Answers { http, errno, exit }
    }

    /// Whether the same call may succeed a little later without any change by the caller.
    #[must_use]
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Busy | Self::Stale | Self::LostHold | Self::Unavailable | Self::TimedOut
        )
    }
}

/// What went wrong, where, and what to do: a kind, a message for people, and its cause.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error without a cause. The message names what and where; it never holds a secret.
    #[must_use]
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), source: None }
    }

    /// Adds the cause.
    #[must_use]
    pub fn with_source(
        mut self,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Puts what was being done before the message.
    #[must_use]
    pub fn context(mut self, what: impl fmt::Display) -> Self {
        self.message = format!("{what}: {}", self.message);
        self
    }

    /// The kind.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without its causes. It may name local paths: asset answers never show it.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// `NotFound` for a path.
    #[must_use]
    pub fn not_found(path: impl fmt::Display) -> Self {
        Self::new(ErrorKind::NotFound, format!("`{path}` does not exist"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut cause = self.source.as_deref().map(|e| e as &dyn std::error::Error);
        let mut told = self.message.clone();
        while let Some(e) = cause {
            let text = e.to_string();
            // Some libraries repeat the cause at the end of their own text.
            if !told.ends_with(&text) {
                write!(f, ": {text}")?;
            }
            told = text;
            cause = e.source();
        }
        Ok(())
    }
}

impl std::error::Error for Error {
    // The causes are part of Display; returning them here as well would print them twice.
}

impl From<object_store::Error> for Error {
    fn from(e: object_store::Error) -> Self {
        use object_store::Error as E;
        let kind = match &e {
            E::NotFound { .. } => ErrorKind::NotFound,
            E::InvalidPath { .. } => ErrorKind::InvalidPath,
            E::NotSupported { .. } | E::NotImplemented { .. } => ErrorKind::Unsupported,
            E::AlreadyExists { .. } => ErrorKind::AlreadyExists,
            E::Precondition { .. } => ErrorKind::PreconditionFailed,
            E::PermissionDenied { .. } | E::Unauthenticated { .. } => ErrorKind::PermissionDenied,
            // Our own store wraps an `Error` of ezdfs where the trait has no kind for it.
            E::Generic { source, .. } => {
                source.downcast_ref::<Self>().map_or(ErrorKind::Unavailable, Self::kind)
            }
            _ => ErrorKind::Unavailable,
        };
        Self::new(kind, e.to_string())
    }
}
