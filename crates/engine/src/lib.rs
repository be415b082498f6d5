//! The file service: what a file operation means.
//!
//! Doors (HTTP, mount, command line, migrate-files) translate; everything else happens here, over
//! two seams: [`ezdfs_core::MetadataStore`] and [`object_store::ObjectStore`]. The protocol is
//! described in docs/SEMANTICS.md; in short: bytes before row on write, row before bytes on
//! delete, a pending row around every change, and one function, [`reconcile`], that brings rows
//! and object of a path into agreement whatever went wrong.
//!
//! | file | subject |
//! |---|---|
//! | [`service`] | [`FileService`], its parts and options |
//! | [`binary`] | [`BinaryStore`]: an object store, its key prefix and capabilities |
//! | [`upload`], [`publish`] | staging, and making a new version visible |
//! | [`read`] | load, open, verified streams |
//! | [`hold`] | taking a path, waiting for it, taking it over |
//! | [`reconcile`], [`decide`] | the repair function, and its rule as a pure function |
//! | [`delete`], [`delete_dir`], [`limbo`], [`reap`] | deletes, and when bytes go |
//! | [`rename`], [`rename_dir`], [`copy`] | moves and copies |
//! | [`rename_broken`] | renames that broke in the middle or came late |
//! | [`directory`], [`touch`], [`trash`], [`expiry`] | directories, attributes, soft delete, expiry |
//! | [`feed`] | the change feed, followed; until when it is fresh |
//! | `cache`, `voiding`, [`known`] | rows in memory while the feed is fresh |
//! | [`fsck`] | rows and objects compared, findings repaired |
//! | [`unreadable`] | which directory made a listing fail |
//! | [`throttle`] | a rate that transfers share |
//! | `breaker` | calls that fail at once while the database is away |
//! | `cached` | bytes on disk, of a remote back end |
//! | [`maintenance`] | recovery, reaper, expiry sweep and clean-up, once |
//! | [`member`] | heartbeats of long-lived processes |
//! | [`uploads`] | uploads to clouds that nobody completed |
//! | [`mtime`], [`precondition`], [`media`], [`owner`] | small rules |

pub mod binary;
mod breaker;
mod cache;
mod cached;
pub mod copy;
pub mod decide;
pub mod delete;
pub mod delete_dir;
pub mod directory;
pub mod expiry;
pub mod feed;
pub mod fsck;
pub mod hold;
pub mod known;
pub mod limbo;
pub mod maintenance;
pub mod media;
pub mod member;
pub mod mtime;
pub mod owner;
pub mod precondition;
pub mod publish;
pub mod read;
pub mod reap;
pub mod reconcile;
pub mod rename;
pub mod rename_broken;
pub mod rename_dir;
pub mod service;
pub mod throttle;
pub mod touch;
pub mod trash;
pub mod unreadable;
pub mod upload;
pub mod uploads;
mod voiding;

pub use binary::{BinaryStore, ObjectInfo};
pub use cache::{CacheOptions, CacheState};
pub use cached::Warmed;
pub use delete_dir::DeletedTree;
pub use feed::{FeedState, Follower, FollowerOptions, Subscription, Told};
pub use fsck::{Finding, FsckOptions};
pub use known::Known;
pub use maintenance::Maintained;
pub use precondition::Precondition;
pub use publish::{PublishOptions, Published};
pub use read::{Body, Opened};
pub use rename::Renamed;
pub use service::{FileService, Options, Parts};
pub use touch::Touch;
pub use upload::Upload;
pub use uploads::AbortedUploads;
