//! A connection that may not stay silent for ever.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

/// What a connection of HTTP/2 begins with (RFC 9113 §3.4); until all of it has come the version is
/// not known, and the deadlines of the protocol do not run yet.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Ends with an error when nothing comes in time. The head of a request of HTTP/1.1 has one deadline
/// from its first byte on: a client that sends a byte now and then must not hold a place. Between
/// requests the connection may be idle: a filter that finds a kept connection closed under it has
/// lost a message.
pub(super) struct TimedStream<S> {
    stream: S,
    deadline: Pin<Box<Sleep>>,
    first: Duration,
    idle: Duration,
    /// How much of the preface of HTTP/2 has come; `None` when it was something else.
    preface: Option<usize>,
    /// Whether some of a head has come and has its deadline.
    in_head: bool,
    requests: Requests,
    heads_seen: usize,
}

/// How far the requests of a connection are, told by whoever serves them.
#[derive(Clone, Debug, Default)]
pub(super) struct Requests {
    heads: Arc<AtomicUsize>,
    under_way: Arc<AtomicUsize>,
}

/// One request, until it is answered or given up.
#[derive(Debug)]
pub(super) struct UnderWay(Arc<AtomicUsize>);

impl Requests {
    /// The head of a request is here.
    pub(super) fn begin(&self) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        self.heads.fetch_add(1, Ordering::SeqCst);
        UnderWay(Arc::clone(&self.under_way))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl<S> TimedStream<S> {
    /// A stream whose heads arrive within `first` and that is silent for `idle` at most.
    pub(super) fn new(stream: S, first: Duration, idle: Duration, requests: Requests) -> Self {
        Self {
            stream,
            deadline: Box::pin(sleep(first)),
            first,
            idle,
            preface: Some(0),
            in_head: true,
            requests,
            heads_seen: 0,
        }
    }

    fn allow(&mut self, time: Duration) {
        if let Some(next) = Instant::now().checked_add(time) {
            self.deadline.as_mut().reset(next);
        }
    }

    /// Moves the deadline for what the service has seen since the last read.
    fn hear(&mut self) {
        let heads = self.requests.heads.load(Ordering::SeqCst);
        if heads != self.heads_seen {
            self.heads_seen = heads;
            self.in_head = false;
            self.allow(self.idle);
        }
    }

    /// Moves the deadline for bytes that have come.
    fn take(&mut self, bytes: &[u8]) {
        if let Some(so_far) = self.preface.filter(|so_far| *so_far < PREFACE.len()) {
            let rest = PREFACE.get(so_far..).unwrap_or_default();
            let right = rest.iter().zip(bytes).all(|(expected, byte)| expected == byte);
            self.preface = right.then(|| so_far.saturating_add(bytes.len()).min(PREFACE.len()));
        }
        let http_2 = self.preface == Some(PREFACE.len());
        if http_2 || self.requests.under_way.load(Ordering::SeqCst) > 0 {
            self.allow(self.idle);
        } else if !self.in_head {
            self.in_head = true;
            self.allow(self.first);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.hear();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        if polled.is_pending() {
            return match self.deadline.as_mut().poll(context) {
                Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
                Poll::Pending => Poll::Pending,
            };
        }
        self.take(buffer.filled().get(before..).unwrap_or_default());
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
