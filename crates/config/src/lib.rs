//! Settings of ezdfs: TOML, environment, validation, and the parts built from them.
//!
//! [`load()`] finds the file, lays the environment over it, reads every key and checks how they fit
//! together. It returns either a [`Loaded`] or [`Problems`]: all that were found, each with the key,
//! the file and line (or the environment variable), and the fix. No value of a secret, and no URL
//! that may hold one, is ever part of a problem.
//!
//! | file | subject |
//! |---|---|
//! | [`load`](mod@load) | finding the file and the data directory |
//! | [`env`](mod@env) | the environment: `EZDFS__SECTION__KEY` |
//! | [`settings`] | [`Settings`] and the defaults |
//! | [`problem`] | [`Problem`], [`Problems`], [`Place`] |
//! | [`show`] | the effective settings as TOML, with origins, secrets masked |
//! | [`check`] | what only shows outside the file: secrets, and what this build cannot open |
//! | [`parts`] | opening the handlers |
//! | `server` | how a database server is opened |
//! | `cloud` | how a cloud is opened |
//! | `probes` | which conditional requests it honours, kept in the data directory |
//! | `authorities` | which certificates are trusted then |
//! | [`secret`] | [`Secret`]: a literal, `{ env = … }` or `{ file = … }` |
//! | [`duration`], [`bytes`], [`mode`], [`url_prefix`], [`location`], [`server_url`] | values with a grammar of their own |
//!
//! `tree` is the file with the line of every value, `reader` takes keys out of it and reports what
//! is left over, `read` does so for every section (`binary` for binarydata handlers, `read_serve` for
//! `[serve]` and `[admin]`), `validate` compares sections.

#[cfg(any(feature = "mysql", feature = "postgres", feature = "cloud"))]
mod authorities;
mod binary;
pub mod bytes;
pub mod check;
#[cfg(feature = "cloud")]
mod cloud;
pub mod duration;
pub mod env;
pub mod load;
pub mod location;
pub mod mode;
pub mod parts;
#[cfg(feature = "cloud")]
mod probes;
pub mod problem;
mod process;
mod read;
mod read_serve;
mod reader;
pub mod secret;
#[cfg(any(feature = "mysql", feature = "postgres"))]
mod server;
pub mod server_url;
pub mod settings;
pub mod show;
mod tree;
mod url;
pub mod url_prefix;
mod validate;

pub use bytes::ByteSize;
pub use env::Environment;
pub use load::{Loaded, Sources, load};
pub use location::{BinaryUrl, Database, DatabaseUrl, Storage};
pub use mode::Mode;
pub use parts::{Side, open_binary, open_metadata, open_side};
pub use problem::{Place, Problem, Problems};
pub use process::this_process;
pub use secret::Secret;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub use server::server_options;
pub use server_url::{HostPort, ServerUrl};
pub use settings::{
    AccessLog, AdminSettings, AdminToken, AdminVerb, BinaryHandler, CacheMode, CachePolicy,
    CacheSettings, DEFAULT_HANDLER, Freshness, Handlers, MetadataHandler, Offload, Placeholder,
    PurgeHook, ServeSettings, ServeSite, Settings, SigningKey, SqlHandler, StoreSettings, TlsMode,
};
pub use tree::Origin;
pub use url_prefix::UrlPrefix;
