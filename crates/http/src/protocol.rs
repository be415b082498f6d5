//! Which protocol a client speaks: HTTP/2 begins with a preface that no HTTP/1.1 request has.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

/// What HTTP/2 clients send first (RFC 9113 §3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a connection speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// Reads as many bytes as it takes to know the protocol; those that were read are read again from
/// what comes back.
///
/// # Errors
/// When the connection fails. One that ends early speaks HTTP/1, which will say so.
pub(crate) async fn detect<T>(mut io: T) -> io::Result<(Protocol, Rewound<T>)>
where
    T: AsyncRead + Unpin,
{
    let mut start = [0; PREFACE.len()];
    let mut read = 0;
    loop {
        let n = io.read(&mut start[read..]).await?;
        read += n;
        let protocol = if start[..read] != PREFACE[..read] || n == 0 {
            Protocol::Http1
        } else if read == PREFACE.len() {
            Protocol::Http2
        } else {
            continue;
        };
        return Ok((protocol, Rewound { start, next: 0, end: read, io }));
    }
}

/// A connection whose first bytes were read already.
#[derive(Debug)]
pub(crate) struct Rewound<T> {
    start: [u8; PREFACE.len()],
    next: usize,
    end: usize,
    io: T,
}

impl<T: AsyncRead + Unpin> AsyncRead for Rewound<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.next == self.end {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let end = self.end.min(self.next + buf.remaining());
        buf.put_slice(&self.start[self.next..end]);
        self.next = end;
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Rewound<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn the_preface_tells_and_nothing_is_lost() {
        for (sent, expected) in [
            (&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nframes"[..], Protocol::Http2),
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", Protocol::Http1),
            (b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n", Protocol::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rx", Protocol::Http1),
            (b"PRI", Protocol::Http1),
            (b"", Protocol::Http1),
        ] {
            let (mut client, server) = tokio::io::duplex(64);
            let sending = async move {
                for byte in sent {
                    client.write_all(&[*byte]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let receiving = async {
                let (protocol, mut io) = detect(server).await.unwrap();
                let mut bytes = Vec::new();
                io.read_to_end(&mut bytes).await.unwrap();
                (protocol, bytes)
            };
            let ((), (protocol, bytes)) = tokio::join!(sending, receiving);
            assert_eq!((protocol, &bytes[..]), (expected, sent));
        }
    }
}
