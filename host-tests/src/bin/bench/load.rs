//! The load: keep-alive connections, one request under way on each, the same generator for all.
//!
//! One thread goes round the connections: it reads an answer, then sends the next request. With as
//! many requests waiting as there are connections, Envoy is never idle, and the generator costs the
//! same whatever is measured.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::work;

/// Enough to keep one worker busy; more only adds queueing.
pub(crate) const CONNECTIONS: usize = 16;
/// Longest answer that is expected; a longer one is a mistake.
const ANSWER_BYTES: usize = 16 * 1024;

/// Requests prepared once, sent in turn.
pub(crate) struct Requests {
    prepared: Vec<Vec<u8>>,
    next: usize,
}

impl Requests {
    /// A `GET` of `path` for each header line, such as `authorization: Bearer …`.
    pub(crate) fn new(path: &str, header_lines: &[String]) -> Self {
        let prepared = header_lines.iter().map(|line| work::request(path, line)).collect();
        Self { prepared, next: 0 }
    }

    /// Every request in turn.
    pub(crate) fn take(&mut self) -> Result<&[u8]> {
        let at = self.next.checked_rem(self.prepared.len()).context("no requests")?;
        self.next = at.saturating_add(1);
        Ok(self.prepared.get(at).context("no requests")?)
    }
}

/// Open connections to one listener.
pub(crate) struct Load {
    connections: Vec<Connection>,
}

impl Load {
    /// Opens the connections.
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let connections = (0..CONNECTIONS).map(|_| Connection::open(address));
        Ok(Self { connections: connections.collect::<Result<_>>()? })
    }

    /// Expects this status from now on, instead of 200.
    pub(crate) fn expect(mut self, status: &str) -> Self {
        for connection in &mut self.connections {
            connection.expected = format!("HTTP/1.1 {status}");
        }
        self
    }

    /// Sends this many requests a second until told to end, some at a time.
    pub(crate) fn pace(
        &mut self,
        requests: &mut Requests,
        per_second: f64,
        goes_on: impl Fn() -> bool,
    ) -> Result<()> {
        let at_once = u32::try_from(self.connections.len())?;
        let start = Instant::now();
        let mut turns = 0_u32;
        while goes_on() {
            self.run(requests, self.connections.len())?;
            turns = turns.saturating_add(1);
            let due = f64::from(turns) * f64::from(at_once) / per_second;
            let due = Duration::from_secs_f64(due);
            std::thread::sleep(due.saturating_sub(start.elapsed()));
        }
        Ok(())
    }

    /// Sends `count` requests; each answer must be 200.
    pub(crate) fn run(&mut self, requests: &mut Requests, count: usize) -> Result<Duration> {
        let start = Instant::now();
        for connection in &mut self.connections {
            connection.send(requests.take()?)?;
        }
        let further = count.saturating_sub(self.connections.len());
        let mut sent = 0_usize;
        while sent < further {
            for connection in &mut self.connections {
                connection.expect()?;
                connection.send(requests.take()?)?;
                sent = sent.saturating_add(1);
            }
        }
        for connection in &mut self.connections {
            connection.expect()?;
        }
        Ok(start.elapsed())
    }
}

/// A connection of the load.
pub(crate) struct Connection {
    stream: TcpStream,
    expected: String,
    buffer: Vec<u8>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let expected = "HTTP/1.1 200".to_owned();
        Ok(Self { stream, expected, buffer: vec![0; ANSWER_BYTES] })
    }

    fn send(&mut self, request: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(request)?)
    }

    fn expect(&mut self) -> Result<()> {
        let answer = self.read()?;
        if !answer.starts_with(self.expected.as_bytes()) {
            bail!("expected {}, got: {}", self.expected, String::from_utf8_lossy(&answer));
        }
        Ok(())
    }

    /// Whether the request is answered with 200.
    pub(crate) fn admits(&mut self, request: &[u8]) -> Result<bool> {
        self.send(request)?;
        Ok(self.read()?.starts_with(b"HTTP/1.1 200"))
    }

    fn read(&mut self) -> Result<Vec<u8>> {
        let mut filled = 0_usize;
        loop {
            let free = self.buffer.get_mut(filled..).filter(|free| !free.is_empty());
            let read = self.stream.read(free.context("the answer is too long")?)?;
            ensure!(read > 0, "the connection was closed");
            filled = filled.saturating_add(read);
            let answer = self.buffer.get(..filled).unwrap_or_default();
            if is_whole(answer)? {
                return Ok(answer.to_vec());
            }
        }
    }
}

/// Whether head and body are there; every answer here states its length.
fn is_whole(answer: &[u8]) -> Result<bool> {
    let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Ok(false);
    };
    let name = b"content-length: ";
    let head = answer.get(..end).unwrap_or_default();
    let at = head.windows(name.len()).position(|window| window == name);
    let at = at.context("an answer without content-length")?.saturating_add(name.len());
    let digits = head.get(at..).unwrap_or_default().iter().take_while(|byte| byte.is_ascii_digit());
    let length = digits.fold(0_usize, |length, digit| {
        length.saturating_mul(10).saturating_add(usize::from(digit.saturating_sub(b'0')))
    });
    Ok(answer.len() >= end.saturating_add(4).saturating_add(length))
}
