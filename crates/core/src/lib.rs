//! Names, entries, errors and the metadata seam of ezdfs.
//!
//! What everything else stands on, free of any database, object store or async runtime:
//!
//! | file | subject |
//! |---|---|
//! | [`path`] | [`FilePath`] and [`DirPath`]: the only way to name a file (rules K) |
//! | [`name`] | names, name hashes, scopes and object keys derived from a path |
//! | [`error`] | [`Error`], and the one table from [`ErrorKind`] to HTTP status, errno and exit code |
//! | [`digest`] | [`Sha256`], [`Token`], [`Pin`], [`ETag`] |
//! | [`time`] | [`Timestamp`], [`Clock`] |
//! | [`entropy`] | seedable randomness |
//! | [`entry`] | [`Entry`], [`FileMeta`] |
//! | [`record`] | rows as stored, and the one rule that turns them into an entry |
//! | [`intent`] | pending work: publish, rename, delete, reap |
//! | [`feed`] | the change feed: [`FeedReader`], [`FeedEvent`] |
//! | [`member`] | [`Member`]: a long-lived process on a store |
//! | [`metadata`] | [`MetadataStore`], the seam to the metadata handlers |
//! | [`bad_entry`] | [`BadEntry`]: what a listing meets that cannot be an object |
//! | [`capabilities`] | what a binarydata handler can do, and [`SealSlot`] |
//! | [`uploads`] | [`CloudSide`]: what only a cloud has, unfinished [`Uploads`] above all |

pub mod bad_entry;
pub mod capabilities;
pub mod digest;
pub mod entropy;
pub mod entry;
pub mod error;
pub mod feed;
pub mod intent;
pub mod member;
pub mod metadata;
pub mod name;
pub mod path;
pub mod record;
pub mod time;
pub mod uploads;

pub use bad_entry::{BadEntries, BadEntry, BadReason};
pub use capabilities::{Capabilities, Conditions, ReplaceSlot, Replaces, Seal, SealSlot};
pub use digest::{ETag, Pin, Sha256, Token};
pub use entropy::{Entropy, OsEntropy, SeededEntropy};
pub use entry::{Attrs, DirMeta, Entry, FileMeta};
pub use error::{Error, ErrorKind, Result};
pub use feed::{FeedEvent, FeedOp, FeedPoll, FeedReader, FeedStart};
pub use intent::{Hold, Intent, IntentId, IntentKind, IntentState, Work};
pub use member::{Member, MemberState};
pub use metadata::{
    Change, Figures, Guard, MetadataStore, NewFile, Op, Page, Progress, ScanPage, Stray, Tombstone,
};
pub use name::{KeyPrefix, Name, NameHash, NamePrefix, Scope};
pub use path::{DirPath, FilePath, PathError};
pub use record::{BaseRow, NodeKind, NodeRow, Record, Witness};
pub use time::{Clock, ManualClock, SystemClock, Timestamp};
pub use uploads::{CloudSide, Probed, Upload, UploadMarker, UploadPage, Uploads};
