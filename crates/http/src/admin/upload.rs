//! The body of a PUT on its way to the file service: bounded in size and in time, and compared with
//! the digest that was promised before anything becomes visible.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind, Result, Sha256};
use futures::stream::{self, Stream, StreamExt as _};
use sha2::Digest as _;

/// What the body must keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Most bytes.
    pub(super) most: u64,
    /// Longest wait for the next bytes.
    pub(super) stall: Duration,
    /// Digest of all bytes.
    pub(super) promised: Option<Sha256>,
}

struct Receiving {
    body: BodyDataStream,
    terms: Terms,
    hasher: Option<sha2::Sha256>,
    received: u64,
}

/// The bytes of `body` as long as they keep to `terms`.
pub(super) fn receive(body: Body, terms: Terms) -> impl Stream<Item = Result<Bytes>> + Send {
    let hasher = terms.promised.map(|_| sha2::Sha256::new());
    let state = Receiving { body: body.into_data_stream(), terms, hasher, received: 0 };
    stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|bytes| (bytes, state)))
    })
}

impl Receiving {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Terms { most, stall, promised } = self.terms;
        let bytes = match tokio::time::timeout(stall, self.body.next()).await {
            Err(_) => return Err(refuse("the client sent no bytes for too long")),
            Ok(Some(Err(e))) => {
                return Err(refuse("the body ended before all of it was sent").with_source(e));
            }
            Ok(Some(Ok(bytes))) => bytes,
            Ok(None) => {
                let digest = self.hasher.take().map(|h| Sha256::from_bytes(h.finalize().into()));
                return if digest == promised {
                    Ok(None)
                } else {
                    Err(refuse("the body has another digest than the request says"))
                };
            }
        };
        self.received =
            self.received.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        if self.received > most {
            let text = format!("the body has more than {most} bytes");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        Ok(Some(bytes))
    }
}

fn refuse(text: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, text)
}
