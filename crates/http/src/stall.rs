//! `StallGuard`: a connection that fails when the client takes its answer too slowly.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::time::{Instant, Sleep, sleep};

/// How fast a client must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Over how much waiting for the client its pace is judged.
    pub window: Duration,
    /// Fewest bytes that it takes in that time; at least one.
    pub least: u64,
}

impl Pace {
    /// At least `rate` bytes per second, judged after each `window` of waiting; at least one byte.
    #[must_use]
    pub fn new(window: Duration, rate: u64) -> Self {
        Self { window, least: rate.saturating_mul(window.as_secs()).max(1) }
    }
}

/// Wraps a connection. Only time in which a write waits for the client counts, however it is spread,
/// so a client is not blamed for a slow store, and one that takes a byte now and then is not spared.
#[derive(Debug)]
pub struct StallGuard<T> {
    io: T,
    pace: Pace,
    /// Bytes that were taken in the present window.
    taken: u64,
    /// How long writes have waited in it, without the present one.
    waited: Duration,
    /// Since when a write waits.
    since: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<T> StallGuard<T> {
    /// Guards `io`.
    #[must_use]
    pub fn new(io: T, pace: Pace) -> Self {
        Self { io, pace, taken: 0, waited: Duration::ZERO, since: None, timer: None }
    }

    /// Passes on what a write said, and fails it when the window is over and too little was taken.
    fn judge<R>(
        &mut self,
        cx: &mut Context<'_>,
        outcome: Poll<io::Result<R>>,
        bytes: impl FnOnce(&R) -> usize,
    ) -> Poll<io::Result<R>> {
        match outcome {
            Poll::Ready(Ok(done)) => {
                // Nothing ever waited: nothing to judge.
                if self.timer.is_some() {
                    self.took(u64::try_from(bytes(&done)).unwrap_or(u64::MAX));
                }
                Poll::Ready(Ok(done))
            }
            Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
            Poll::Pending => self.wait(cx),
        }
    }

    fn took(&mut self, bytes: u64) {
        self.taken = self.taken.saturating_add(bytes);
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
    }

    fn wait<R>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<R>> {
        let Pace { window, least } = self.pace;
        let is_new = self.since.is_none();
        self.since.get_or_insert_with(Instant::now);
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(window)));
        if is_new {
            timer.as_mut().reset(Instant::now() + window.saturating_sub(self.waited));
        }
        while timer.as_mut().poll(cx).is_ready() {
            if self.taken < least {
                return Poll::Ready(Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("the client took {} bytes in {window:?}", self.taken),
                )));
            }
            self.taken = 0;
            self.waited = Duration::ZERO;
            self.since = Some(Instant::now());
            timer.as_mut().reset(Instant::now() + window);
        }
        Poll::Pending
    }
}

impl<T: Read + Unpin> Read for StallGuard<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<T: Write + Unpin> Write for StallGuard<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let outcome = Pin::new(&mut self.io).poll_write(cx, buf);
        self.judge(cx, outcome, |n| *n)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.io).poll_flush(cx);
        self.judge(cx, outcome, |()| 0)
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
        let outcome = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.judge(cx, outcome, |n| *n)
    }
}
