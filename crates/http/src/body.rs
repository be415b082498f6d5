//! `AssetBody`: the content of an answer as an HTTP body.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use ezdfs_core::Error;
use futures::Stream as _;
use futures::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};

use crate::access_log::Pending;
use crate::connection::Flight;
use crate::requests::Request;

/// The bytes of one answer. A file that cannot be read to its end fails, and then the connection
/// is cut: with `Content-Length` sent, no client takes a part for the whole.
///
/// Nothing is read ahead: the next chunk is asked for when the last one was handed to the socket.
pub struct AssetBody {
    content: Content,
    sent: u64,
    failed: bool,
    log: Option<Box<Pending>>,
    /// Counts as under way until this body is gone.
    request: Option<Request>,
    /// Tells the connection how far it is.
    flight: Option<Arc<Flight>>,
}

enum Content {
    Empty,
    Bytes(Bytes),
    File(ezdfs_engine::Body),
    /// Several parts of a file, and how many bytes of them are left.
    Parts(BoxStream<'static, ezdfs_core::Result<Bytes>>, u64),
}

impl AssetBody {
    /// No bytes.
    #[must_use]
    pub fn empty() -> Self {
        Self::of(Content::Empty)
    }

    /// A fixed text.
    #[must_use]
    pub fn text(text: &'static str) -> Self {
        Self::bytes(Bytes::from_static(text.as_bytes()))
    }

    /// Bytes that are in memory.
    #[must_use]
    pub fn bytes(bytes: Bytes) -> Self {
        Self::of(Content::Bytes(bytes))
    }

    /// The bytes of an opened file.
    #[must_use]
    pub fn file(body: ezdfs_engine::Body) -> Self {
        Self::of(Content::File(body))
    }

    /// `length` bytes of several parts of an opened file.
    #[must_use]
    pub fn parts(parts: BoxStream<'static, ezdfs_core::Result<Bytes>>, length: u64) -> Self {
        Self::of(Content::Parts(parts, length))
    }

    fn of(content: Content) -> Self {
        Self { content, sent: 0, failed: false, log: None, request: None, flight: None }
    }

    /// Lets the access log know when this body ends.
    pub(crate) fn logged(&mut self, pending: Pending) {
        self.log = Some(Box::new(pending));
    }

    /// Holds the request until this body ends.
    pub(crate) fn holds(&mut self, request: Request) {
        self.request = Some(request);
    }

    /// Lets the connection watch how this body is taken.
    pub(crate) fn watched(&mut self, flight: Arc<Flight>) {
        self.flight = Some(flight);
    }

    fn left(&self) -> u64 {
        match &self.content {
            Content::Empty => 0,
            Content::Bytes(bytes) => u64::try_from(bytes.len()).unwrap_or(u64::MAX),
            Content::File(body) => body.remaining(),
            Content::Parts(_, left) => *left,
        }
    }
}

impl Body for AssetBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let next = match &mut self.content {
            Content::Empty => Poll::Ready(None),
            Content::Bytes(bytes) => {
                let all = std::mem::take(bytes);
                Poll::Ready((!all.is_empty()).then_some(Ok(all)))
            }
            Content::File(body) => Pin::new(body).poll_next(cx),
            Content::Parts(parts, left) => {
                let next = parts.as_mut().poll_next(cx);
                if let Poll::Ready(Some(Ok(bytes))) = &next {
                    *left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                }
                next
            }
        };
        let Poll::Ready(next) = next else {
            if let Some(flight) = &self.flight {
                flight.waits();
            }
            return Poll::Pending;
        };
        match &next {
            Some(Ok(bytes)) => {
                let length = u64::try_from(bytes.len()).unwrap_or(0);
                self.sent = self.sent.saturating_add(length);
                if let Some(flight) = &self.flight {
                    flight.sent(length);
                }
            }
            Some(Err(e)) => {
                tracing::warn!(error = %e, "an answer was cut short");
                self.failed = true;
            }
            None => {}
        }
        Poll::Ready(next.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left())
    }
}

impl Drop for AssetBody {
    fn drop(&mut self) {
        let complete = !self.failed && self.left() == 0;
        if let Some(pending) = self.log.take() {
            pending.end(self.sent, complete);
        }
    }
}

impl fmt::Debug for AssetBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let content = match &self.content {
            Content::Empty => "",
            Content::Bytes(_) => "bytes in memory",
            Content::File(_) => "file",
            Content::Parts(..) => "parts of a file",
        };
        f.debug_struct("AssetBody").field("content", &content).field("left", &self.left()).finish()
    }
}
