//! The body of a PUT on its way to the file service: bounded in size and in time, and compared with
//! the digest that was promised before anything becomes visible.

use std::time::Duration;

use axum::body::{Body, BodyDataStream};
use bytes::Bytes;
use ezdfs_core::{Error, ErrorKind, Result, Sha256};
use futures::stream::{self, Stream, StreamExt as _};
use sha2::Digest as _;
use tokio::time::Instant;

use crate::stall::Pace;

/// What the body must keep to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Terms {
    /// Most bytes.
    pub(super) most: u64,
    /// How fast the client sends.
    pub(super) pace: Pace,
    /// Digest of all bytes.
    pub(super) promised: Option<Sha256>,
}

struct Receiving {
    body: BodyDataStream,
    terms: Terms,
    hasher: Option<sha2::Sha256>,
    received: u64,
    /// Of the present window: bytes that came, and how long they were waited for.
    taken: u64,
    waited: Duration,
}

/// The bytes of `body` as long as they keep to `terms`.
pub(super) fn receive(body: Body, terms: Terms) -> impl Stream<Item = Result<Bytes>> + Send {
    let hasher = terms.promised.map(|_| sha2::Sha256::new());
    let state = Receiving {
        body: body.into_data_stream(),
        terms,
        hasher,
        received: 0,
        taken: 0,
        waited: Duration::ZERO,
    };
    stream::try_unfold(state, |mut state| async move {
        Ok(state.next().await?.map(|bytes| (bytes, state)))
    })
}

impl Receiving {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let Terms { most, promised, .. } = self.terms;
        let bytes = match self.wait().await? {
            Some(Err(e)) => {
                return Err(refuse("the body ended before all of it was sent").with_source(e));
            }
            Some(Ok(bytes)) => bytes,
            None => {
                let digest = self.hasher.take().map(|h| Sha256::from_bytes(h.finalize().into()));
                return if digest == promised {
                    Ok(None)
                } else {
                    Err(refuse("the body has another digest than the request says"))
                };
            }
        };
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.received = self.received.saturating_add(length);
        self.taken = self.taken.saturating_add(length);
        if self.received > most {
            let text = format!("the body has more than {most} bytes");
            return Err(Error::new(ErrorKind::TooLarge, text));
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        Ok(Some(bytes))
    }

    /// The next bytes; an error when too few came in the time for which they were waited for.
    async fn wait(&mut self) -> Result<Option<std::result::Result<Bytes, axum::Error>>> {
        let Pace { window, least } = self.terms.pace;
        loop {
            let since = Instant::now();
            let left = window.saturating_sub(self.waited);
            if let Ok(next) = tokio::time::timeout(left, self.body.next()).await {
                self.waited += since.elapsed();
                return Ok(next);
            }
            if self.taken < least {
                return Err(refuse("the client sent the body too slowly"));
            }
            self.taken = 0;
            self.waited = Duration::ZERO;
        }
    }
}

fn refuse(text: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, text)
}
