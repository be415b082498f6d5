//! The HTTP asset server of ezdfs.
//!
//! Doors only translate: a request becomes a path, preconditions and a range, and what the file
//! service says becomes an answer.
//!
//! | file | subject |
//! |---|---|
//! | [`server`], [`listener`], [`stall`] | both listeners; the accept loop; slow readers |
//! | [`tls`], `protocol`, [`connection`] | certificates; HTTP/1 or HTTP/2; what its requests share |
//! | `requests`, `metrics`, `request_id` | how many and how long; what identifies each |
//! | [`settings`] | plain values that the configuration fills in |
//! | [`assets`], [`sites`] | the handler of the asset listener; which site a request is for |
//! | [`target`], [`url_prefix`] | from the request target to the paths it may mean |
//! | [`decision`], [`conditional`], [`range`] | 200, 206, 304, 412 or 416, as pure functions |
//! | [`offload`] | large files that somebody else sends |
//! | `hot` | small files in memory, and the fields of their answers |
//! | [`fields`], [`cache_policy`], [`failure`], [`body`], [`multipart`] | what goes out |
//! | [`policies`], [`inline_types`], [`surrogate_keys`], [`cors`], [`placeholder`] | what operators choose |
//! | [`signature`] | signed URLs |
//! | [`access_log`] | one line per answer |
//! | [`admin`], [`readiness`] | the admin listener |
//! | [`purge_hooks`], `outgoing` | requests that tell caches in front of a purge |

pub mod access_log;
pub mod admin;
pub mod assets;
pub mod body;
pub mod cache_policy;
pub mod conditional;
pub mod connection;
pub mod cors;
pub mod decision;
pub mod failure;
pub mod fields;
mod hot;
pub mod inline_types;
pub mod listener;
mod metrics;
pub mod multipart;
pub mod offload;
mod outgoing;
pub mod placeholder;
pub mod policies;
mod protocol;
pub mod purge_hooks;
pub mod range;
pub mod readiness;
mod request_id;
mod requests;
pub mod server;
pub mod settings;
pub mod signature;
pub mod sites;
pub mod stall;
pub mod surrogate_keys;
pub mod target;
pub mod tls;
pub mod url_prefix;

pub use access_log::Format;
pub use admin::Status;
pub use admin::tokens::{Token, Tokens, Verb};
pub use cache_policy::{CachePolicies, CachePolicy};
pub use cors::Cors;
pub use inline_types::InlineTypes;
pub use offload::{Offload, Sign};
pub use placeholder::{Placeholder, Placeholders};
pub use policies::Policies;
pub use purge_hooks::{PurgeHook, PurgeHooks};
pub use readiness::Readiness;
pub use server::Server;
pub use settings::{AdminSettings, Limits, Listen, ServeSettings, SiteSettings};
pub use signature::SigningKeys;
pub use tls::{Tls, TlsFiles};
pub use url_prefix::UrlPrefix;
