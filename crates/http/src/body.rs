//! `AssetBody`: the content of an answer as an HTTP body.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use ezdfs_core::Error;
use futures::Stream as _;
use futures::stream::BoxStream;
use http_body::{Body, Frame, SizeHint};

use crate::access_log::Pending;

/// The bytes of one answer. A file that cannot be read to its end fails, and then the connection
/// is cut: with `Content-Length` sent, no client takes a part for the whole.
///
/// Nothing is read ahead: the next chunk is asked for when the last one was handed to the socket.
pub struct AssetBody {
    content: Content,
    sent: u64,
    failed: bool,
    log: Option<Box<Pending>>,
}

enum Content {
    Empty,
    Text(&'static str),
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
        Self::of(Content::Text(text))
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
        Self { content, sent: 0, failed: false, log: None }
    }

    /// Lets the access log know when this body ends.
    pub(crate) fn logged(&mut self, pending: Pending) {
        self.log = Some(Box::new(pending));
    }

    fn left(&self) -> u64 {
        match &self.content {
            Content::Empty => 0,
            Content::Text(text) => u64::try_from(text.len()).unwrap_or(u64::MAX),
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
            Content::Empty => None,
            Content::Text(text) => Some(Ok(Bytes::from_static(text.as_bytes()))),
            Content::File(body) => std::task::ready!(Pin::new(body).poll_next(cx)),
            Content::Parts(parts, left) => {
                let next = std::task::ready!(parts.as_mut().poll_next(cx));
                if let Some(Ok(bytes)) = &next {
                    *left = left.saturating_sub(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
                }
                next
            }
        };
        match &next {
            Some(Ok(bytes)) => {
                self.sent = self.sent.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
            }
            Some(Err(e)) => {
                tracing::warn!(error = %e, "an answer was cut short");
                self.failed = true;
            }
            None => {}
        }
        if matches!(self.content, Content::Text(_)) {
            self.content = Content::Empty;
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
            Content::Text(text) => text,
            Content::File(_) => "file",
            Content::Parts(..) => "parts of a file",
        };
        f.debug_struct("AssetBody").field("content", &content).field("left", &self.left()).finish()
    }
}
