use std::collections::HashSet;

use ezdfs_core::{Error, ErrorKind};
use rustix::io::Errno;

/// The whole table once more: a change of an answer must be made twice, on purpose.
#[rustfmt::skip]
const TABLE: [(ErrorKind, u16, Errno, u8, bool); 28] = [
    (ErrorKind::NotFound,           404, Errno::NOENT,       1, false),
    (ErrorKind::AlreadyExists,      409, Errno::EXIST,       1, false),
    (ErrorKind::IsDirectory,        409, Errno::ISDIR,       1, false),
    (ErrorKind::NotDirectory,       409, Errno::NOTDIR,      1, false),
    (ErrorKind::NotEmpty,           409, Errno::NOTEMPTY,    1, false),
    (ErrorKind::PreconditionFailed, 412, Errno::STALE,       1, false),
    (ErrorKind::InvalidPath,        400, Errno::INVAL,       2, false),
    (ErrorKind::NotUtf8,            400, Errno::ILSEQ,       2, false),
    (ErrorKind::NameTooLong,        400, Errno::NAMETOOLONG, 2, false),
    (ErrorKind::Reserved,           400, Errno::ACCESS,      2, false),
    (ErrorKind::InvalidArgument,    400, Errno::INVAL,       2, false),
    (ErrorKind::Usage,              400, Errno::INVAL,       2, false),
    (ErrorKind::Config,             500, Errno::IO,          2, false),
    (ErrorKind::PermissionDenied,   403, Errno::ACCESS,      1, false),
    (ErrorKind::ReadOnly,           403, Errno::ROFS,        1, false),
    (ErrorKind::Busy,               503, Errno::BUSY,        1, true),
    (ErrorKind::Stale,              503, Errno::STALE,       1, true),
    (ErrorKind::LostHold,           503, Errno::STALE,       1, true),
    (ErrorKind::Unavailable,        503, Errno::IO,          1, true),
    (ErrorKind::TimedOut,           503, Errno::IO,          1, true),
    (ErrorKind::MissingBytes,       404, Errno::IO,          1, false),
    (ErrorKind::Corrupt,            503, Errno::IO,          1, false),
    (ErrorKind::HashCollision,      409, Errno::IO,          1, false),
    (ErrorKind::TooManyEntries,     409, Errno::XDEV,        1, false),
    (ErrorKind::TooLarge,           413, Errno::FBIG,        1, false),
    (ErrorKind::NoSpace,            507, Errno::NOSPC,       1, false),
    (ErrorKind::Unsupported,        501, Errno::OPNOTSUPP,   1, false),
    (ErrorKind::Internal,           500, Errno::IO,          1, false),
];

#[test]
fn every_kind_has_its_answers() {
    for (kind, http, errno, exit, transient) in TABLE {
        let got = kind.answers();
        assert_eq!((got.http, got.errno, got.exit), (http, errno, exit), "{kind:?}");
        assert_eq!(kind.is_transient(), transient, "{kind:?}");
        assert!((400..600).contains(&got.http), "{kind:?}");
        assert!(matches!(got.exit, 1 | 2), "{kind:?}");
        // A retry hint on HTTP must go with a retryable status.
        assert!(!transient || got.http == 503, "{kind:?}");
    }
}

#[test]
fn all_lists_every_kind_once() {
    let all: HashSet<ErrorKind> = ErrorKind::ALL.into_iter().collect();
    assert_eq!(all.len(), ErrorKind::ALL.len());
    assert_eq!(all, TABLE.iter().map(|row| row.0).collect());
    for kind in ErrorKind::ALL {
        // Fails to compile when a kind is added: then extend ALL and TABLE.
        match kind {
            ErrorKind::NotFound
            | ErrorKind::AlreadyExists
            | ErrorKind::IsDirectory
            | ErrorKind::NotDirectory
            | ErrorKind::NotEmpty
            | ErrorKind::PreconditionFailed
            | ErrorKind::InvalidPath
            | ErrorKind::NotUtf8
            | ErrorKind::NameTooLong
            | ErrorKind::Reserved
            | ErrorKind::InvalidArgument
            | ErrorKind::Usage
            | ErrorKind::Config
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnly
            | ErrorKind::Busy
            | ErrorKind::Stale
            | ErrorKind::LostHold
            | ErrorKind::Unavailable
            | ErrorKind::TimedOut
            | ErrorKind::MissingBytes
            | ErrorKind::Corrupt
            | ErrorKind::HashCollision
            | ErrorKind::TooManyEntries
            | ErrorKind::TooLarge
            | ErrorKind::NoSpace
            | ErrorKind::Unsupported
            | ErrorKind::Internal => {}
        }
    }
}

#[test]
fn a_message_names_its_context_and_its_causes_once() {
    let inner = Error::new(ErrorKind::TimedOut, "no answer in 10 s");
    let error = Error::new(ErrorKind::Unavailable, "the database does not answer")
        .with_source(inner)
        .context("load `images/a.jpg`");
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(error.message(), "load `images/a.jpg`: the database does not answer");
    assert_eq!(
        error.to_string(),
        "load `images/a.jpg`: the database does not answer: no answer in 10 s"
    );
    assert!(std::error::Error::source(&error).is_none());
    // sqlx ends its text with that of its cause.
    #[derive(Debug, thiserror::Error)]
    #[error("error returned from database: {0}")]
    struct Driver(#[source] std::fmt::Error);
    let cause = std::fmt::Error.to_string();
    let error =
        Error::new(ErrorKind::Unavailable, "cannot drop").with_source(Driver(std::fmt::Error));
    assert_eq!(error.to_string(), format!("cannot drop: error returned from database: {cause}"));
    assert_eq!(Error::not_found("a").to_string(), "`a` does not exist");
}

#[test]
fn errors_of_object_stores_get_a_kind() {
    use object_store::Error as E;
    let boxed = || Box::<dyn std::error::Error + Send + Sync>::from("cause");
    let path = || "k".to_owned();
    for (error, kind) in [
        (E::NotFound { path: path(), source: boxed() }, ErrorKind::NotFound),
        (E::AlreadyExists { path: path(), source: boxed() }, ErrorKind::AlreadyExists),
        (E::Precondition { path: path(), source: boxed() }, ErrorKind::PreconditionFailed),
        (E::PermissionDenied { path: path(), source: boxed() }, ErrorKind::PermissionDenied),
        (E::Unauthenticated { path: path(), source: boxed() }, ErrorKind::PermissionDenied),
        (E::NotSupported { source: boxed() }, ErrorKind::Unsupported),
        (E::Generic { store: "s", source: boxed() }, ErrorKind::Unavailable),
        (
            E::Generic { store: "s", source: Box::new(Error::new(ErrorKind::NoSpace, "full")) },
            ErrorKind::NoSpace,
        ),
    ] {
        let text = error.to_string();
        let got = Error::from(error);
        assert_eq!(got.kind(), kind, "{text}");
        assert_eq!(got.message(), text);
    }
}
