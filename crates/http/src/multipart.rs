//! `Multipart`: several ranges of one version as multipart/byteranges (RFC 9110 §14.6).
//!
//! The first part is open before the first field goes out. Each other part is opened when its turn
//! comes, as exactly the same version: if that is gone by then the connection is cut, and no client
//! takes parts of two versions for one.

use std::ops::Range;

use bytes::Bytes;
use ezdfs_core::{FileMeta, Result, Token};
use ezdfs_engine::{Body, FileService};
use futures::stream::{self, BoxStream, StreamExt as _, TryStreamExt as _};
use http::HeaderValue;

/// What stands between the parts of one answer, and around them.
#[derive(Debug)]
pub struct Multipart {
    boundary: String,
    parts: Vec<(Bytes, Range<u64>)>,
    end: Bytes,
}

impl Multipart {
    /// `ranges` of a file of `size` bytes with the media type `content_type`. The boundary comes
    /// from `token`, which is random, so that no content holds it.
    #[must_use]
    pub fn new(token: Token, content_type: &HeaderValue, size: u64, ranges: &[Range<u64>]) -> Self {
        let boundary = token.to_string();
        let parts = ranges
            .iter()
            .enumerate()
            .map(|(at, range)| {
                let mut head = Vec::with_capacity(160);
                if at > 0 {
                    head.extend_from_slice(b"\r\n");
                }
                head.extend_from_slice(format!("--{boundary}\r\nContent-Type: ").as_bytes());
                head.extend_from_slice(content_type.as_bytes());
                let last = range.end.saturating_sub(1);
                let place =
                    format!("\r\nContent-Range: bytes {}-{last}/{size}\r\n\r\n", range.start);
                head.extend_from_slice(place.as_bytes());
                (Bytes::from(head), range.clone())
            })
            .collect();
        let end = Bytes::from(format!("\r\n--{boundary}--\r\n"));
        Self { boundary, parts, end }
    }

    /// The media type of the answer.
    #[must_use]
    pub fn content_type(&self) -> HeaderValue {
        HeaderValue::try_from(format!("multipart/byteranges; boundary={}", self.boundary))
            .unwrap_or(HeaderValue::from_static("multipart/byteranges"))
    }

    /// Bytes of the answer.
    #[must_use]
    pub fn length(&self) -> u64 {
        let bytes = |b: &Bytes| u64::try_from(b.len()).unwrap_or(u64::MAX);
        self.parts.iter().fold(bytes(&self.end), |n, (head, range)| {
            n.saturating_add(bytes(head)).saturating_add(range.end - range.start)
        })
    }

    /// The answer: `first` is the open body of the first range.
    #[must_use]
    pub fn stream(
        self,
        service: &FileService,
        meta: &FileMeta,
        first: Body,
    ) -> BoxStream<'static, Result<Bytes>> {
        let (service, meta) = (service.clone(), meta.clone());
        let mut first = Some(first);
        stream::iter(self.parts)
            .flat_map(move |(head, range)| {
                let (service, meta, open) = (service.clone(), meta.clone(), first.take());
                let body = async move {
                    match open {
                        Some(body) => Ok(body),
                        None => service.open_exact(&meta, range).await,
                    }
                };
                let head = stream::once(async move { Ok(head) });
                head.chain(stream::once(body).try_flatten())
            })
            .chain(stream::once(async move { Ok(self.end) }))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_framed_and_counted() {
        let jpeg = HeaderValue::from_static("image/jpeg");
        let token = Token::from_bytes([0xab; 16]);
        let b = "ab".repeat(16);
        let parts = Multipart::new(token, &jpeg, 1024, &[500..600, 0..1]);
        assert_eq!(parts.content_type(), format!("multipart/byteranges; boundary={b}"));
        let heads = [
            format!(
                "--{b}\r\nContent-Type: image/jpeg\r\nContent-Range: bytes 500-599/1024\r\n\r\n"
            ),
            format!(
                "\r\n--{b}\r\nContent-Type: image/jpeg\r\nContent-Range: bytes 0-0/1024\r\n\r\n"
            ),
        ];
        let end = format!("\r\n--{b}--\r\n");
        for ((head, _), expected) in parts.parts.iter().zip(&heads) {
            assert_eq!(*head, *expected.as_bytes());
        }
        assert_eq!(parts.end, *end.as_bytes());
        let length = heads[0].len() + 100 + heads[1].len() + 1 + end.len();
        assert_eq!(parts.length(), length as u64);
    }
}
