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
//! | [`fields`], [`cache_policy`], [`failure`], [`body`], [`multipart`] | what goes out |
//! | [`policies`], [`inline_types`], [`surrogate_keys`], [`cors`], [`placeholder`] | what operators choose |
//! | [`signature`] | signed URLs |
//! | [`access_log`] | one line per answer |
//! | [`admin`], [`readiness`] | the admin listener |

pub mod access_log;
pub mod admin;
pub mod assets;
pub mod body;
pub mod cache_policy;
pub mod conditional;
pub mod cors;
pub mod decision;
pub mod failure;
pub mod fields;
pub mod inline_types;
pub mod listener;
pub mod multipart;
pub mod placeholder;
pub mod policies;
pub mod range;
pub mod readiness;
pub mod server;
pub mod settings;
pub mod signature;
pub mod stall;
pub mod surrogate_keys;
pub mod target;
pub mod url_prefix;

pub use access_log::Format;
pub use admin::Status;
pub use admin::tokens::{Token, Tokens, Verb};
pub use cache_policy::{CachePolicies, CachePolicy};
pub use cors::Cors;
pub use inline_types::InlineTypes;
pub use placeholder::{Placeholder, Placeholders};
pub use policies::Policies;
pub use readiness::Readiness;
pub use server::Server;
pub use settings::{AdminSettings, Limits, ServeSettings};
pub use signature::SigningKeys;
pub use url_prefix::UrlPrefix;
