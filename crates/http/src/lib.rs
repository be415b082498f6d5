//! The HTTP asset server of ezdfs.
//!
//! Doors only translate: a request becomes a path, preconditions and a range, and what the file
//! service says becomes an answer.
//!
//! | file | subject |
//! |---|---|
//! | [`server`], [`listener`], [`stall`] | both listeners; the accept loop; slow readers |
//! | [`settings`] | plain values that the configuration fills in |
//! | [`assets`] | the handler of the asset listener |
//! | [`target`], [`url_prefix`] | from the request target to the paths it may mean |
//! | [`decision`], [`conditional`], [`range`] | 200, 206, 304, 412 or 416, as pure functions |
//! | [`fields`], [`cache_policy`], [`failure`], [`body`] | what goes out |
//! | [`access_log`] | one line per answer |
//! | [`admin`], [`readiness`] | the admin listener |

pub mod access_log;
pub mod admin;
pub mod assets;
pub mod body;
pub mod cache_policy;
pub mod conditional;
pub mod decision;
pub mod failure;
pub mod fields;
pub mod listener;
pub mod range;
pub mod readiness;
pub mod server;
pub mod settings;
pub mod stall;
pub mod target;
pub mod url_prefix;

pub use access_log::Format;
pub use admin::Status;
pub use cache_policy::CachePolicies;
pub use readiness::Readiness;
pub use server::Server;
pub use settings::{AdminSettings, Limits, ServeSettings};
pub use url_prefix::UrlPrefix;
