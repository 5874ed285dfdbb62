//! A connection that may not stay silent for ever.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// The preface of HTTP/2 (RFC 9113 §3.4); until so much has come the version is not known, and the
/// deadlines of the protocol do not run yet.
const PREFACE_BYTES: usize = 24;

/// Ends with an error when nothing comes in time. Until the version of HTTP is known all of it
/// shares one deadline: a client that sends a byte now and then must not hold a place.
pub(super) struct TimedStream<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
    idle: Duration,
    read: usize,
}

impl<S> TimedStream<S> {
    pub(super) fn new(stream: S, first: Duration, idle: Duration) -> Self {
        Self { stream, deadline: Box::pin(sleep(first)), idle, read: 0 }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_pending() {
            return match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            };
        }
        self.read = self.read.saturating_add(buffer.filled().len().saturating_sub(before));
        if self.read >= PREFACE_BYTES {
            let next = Instant::now().checked_add(self.idle);
            if let Some(next) = next {
                self.deadline.as_mut().reset(next);
            }
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
