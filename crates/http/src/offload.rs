//! `Offload`: large files that somebody else sends: a server in front that has the same directory
//! (`X-Accel-Redirect`), or the object store itself (a redirect to a URL that it signed).
//!
//! The object was compared with its row before; what is sent is the object of that moment.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use ezdfs_core::{FilePath, Result};
use futures::future::BoxFuture;
use http::header::{CACHE_CONTROL, HeaderName, HeaderValue, LOCATION};
use http::{HeaderMap, Response, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::body::AssetBody;

const X_ACCEL_REDIRECT: HeaderName = HeaderName::from_static("x-accel-redirect");
/// What stands in a URI as it is.
const LITERAL: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Makes a URL by which anyone may read the object of a path for a while.
pub type Sign = Arc<dyn Fn(FilePath, Duration) -> BoxFuture<'static, Result<String>> + Send + Sync>;

/// Who sends large files.
#[derive(Clone, Default)]
pub enum Offload {
    /// This server.
    #[default]
    Off,
    /// nginx, from the location of that URI prefix.
    Accel {
        /// With a slash at both ends.
        prefix: String,
        /// Smallest file, in bytes.
        from: u64,
    },
    /// The object store.
    Presigned {
        /// Signs.
        sign: Sign,
        /// Life of a URL.
        life: Duration,
        /// Smallest file, in bytes.
        from: u64,
    },
}

impl fmt::Debug for Offload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Accel { .. } => "Accel",
            Self::Presigned { .. } => "Presigned",
        })
    }
}

impl Offload {
    /// Whether a file of `size` bytes is sent by somebody else.
    pub(crate) fn takes(&self, size: u64) -> bool {
        match self {
            Self::Off => false,
            Self::Accel { from, .. } | Self::Presigned { from, .. } => size >= *from,
        }
    }

    /// The answer that says where the file is; `fields` are those of a whole one, and nobody may
    /// read it longer than `left`.
    ///
    /// # Errors
    /// When nothing can be signed.
    pub(crate) async fn answer(
        &self,
        path: &FilePath,
        key: &str,
        mut fields: HeaderMap,
        left: Option<Duration>,
    ) -> Result<Response<AssetBody>> {
        let mut response = Response::new(AssetBody::empty());
        match self {
            Self::Off => {}
            Self::Accel { prefix, .. } => {
                let at = format!("{prefix}{}", utf8_percent_encode(key, LITERAL));
                if let Ok(at) = HeaderValue::try_from(at) {
                    fields.insert(X_ACCEL_REDIRECT, at);
                }
                *response.headers_mut() = fields;
            }
            Self::Presigned { sign, life, .. } => {
                let life = left.map_or(*life, |left| left.min(*life)).max(Duration::from_secs(1));
                let url = sign(path.clone(), life).await?;
                *response.status_mut() = StatusCode::FOUND;
                let cache = format!("private, max-age={}", life.as_secs() / 2);
                let own = response.headers_mut();
                if let (Ok(url), Ok(cache)) =
                    (HeaderValue::try_from(url), HeaderValue::try_from(cache))
                {
                    own.insert(LOCATION, url);
                    own.insert(CACHE_CONTROL, cache);
                }
            }
        }
        Ok(response)
    }
}
