//! An HTTP/1.1 client over a bare socket: it sends what no decent client would, such as values that
//! are not UTF-8, names in odd case, repeated headers, forged trailers and garbage.

use std::{
    io::{BufRead as _, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

/// No answer within this time means that none will come.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// An answer of a test is small; more than this is a mistake.
const MAX_BODY_BYTES: u64 = 16 * 1024 * 1024;
/// As much as Envoy sends in the worst case.
const MAX_LINE_BYTES: u64 = 256 * 1024;

/// A request, byte for byte as it will be sent.
#[derive(Clone, Debug)]
#[must_use]
pub struct Request {
    method: String,
    target: Vec<u8>,
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    body: Vec<u8>,
    trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Request {
    /// Starts a request; `target` is sent as it is.
    pub fn new(method: &str, target: impl AsRef<[u8]>) -> Self {
        Self {
            method: method.to_owned(),
            target: target.as_ref().to_vec(),
            headers: Vec::new(),
            body: Vec::new(),
            trailers: Vec::new(),
        }
    }

    /// A `GET` of `target`.
    pub fn get(target: impl AsRef<[u8]>) -> Self {
        Self::new("GET", target)
    }

    /// Adds a header, byte for byte; one of the same name stays.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Adds `authorization: Bearer …`.
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Sets the body.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Self {
        self.body = body.as_ref().to_vec();
        self
    }

    /// Adds a trailer; the body is then sent in chunks.
    pub fn trailer(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.trailers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The bytes on the wire. `host` is `localhost` unless a header names one.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.method.as_bytes().to_vec();
        bytes.push(b' ');
        bytes.extend_from_slice(&self.target);
        bytes.extend_from_slice(b" HTTP/1.1\r\n");
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(b"host")) {
            bytes.extend_from_slice(b"host: localhost\r\n");
        }
        write_fields(&mut bytes, &self.headers);
        if self.trailers.is_empty() {
            if !self.body.is_empty() {
                let length = format!("content-length: {}\r\n", self.body.len());
                bytes.extend_from_slice(length.as_bytes());
            }
            bytes.extend_from_slice(b"\r\n");
            bytes.extend_from_slice(&self.body);
        } else {
            bytes.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            if !self.body.is_empty() {
                bytes.extend_from_slice(format!("{:x}\r\n", self.body.len()).as_bytes());
                bytes.extend_from_slice(&self.body);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes.extend_from_slice(b"0\r\n");
            write_fields(&mut bytes, &self.trailers);
            bytes.extend_from_slice(b"\r\n");
        }
        bytes
    }

    /// Sends the request on a connection of its own and reads the answer.
    ///
    /// # Errors
    ///
    /// When the connection fails or the answer is not HTTP.
    pub fn send(&self, address: SocketAddr) -> Result<Answer> {
        Connection::open(address)?.exchange(self)
    }
}

fn write_fields(bytes: &mut Vec<u8>, fields: &[(Vec<u8>, Vec<u8>)]) {
    for (name, value) in fields {
        bytes.extend_from_slice(name);
        bytes.extend_from_slice(b": ");
        bytes.extend_from_slice(value);
        bytes.extend_from_slice(b"\r\n");
    }
}

/// An answer.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The headers in their order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The whole body.
    pub body: Vec<u8>,
    /// Trailers of a body in chunks.
    pub trailers: Vec<(String, Vec<u8>)>,
}

impl Answer {
    /// The first header of this name, as text.
    pub fn header(&self, name: &str) -> Option<String> {
        let found = self.headers.iter().find(|(known, _)| known == name)?;
        Some(String::from_utf8_lossy(&found.1).into_owned())
    }

    /// The body as JSON; `null` when it is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The reason code that an answer of the gate carries in its body.
    pub fn reason(&self) -> Option<String> {
        Some(self.json().get("reason")?.as_str()?.to_owned())
    }
}

/// A connection that stays open between requests.
pub struct Connection<S = TcpStream> {
    stream: BufReader<S>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    ///
    /// When nothing listens there.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_DEADLINE)
            .with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        Self::over(stream)
    }

    /// Connects to a Unix socket.
    ///
    /// # Errors
    ///
    /// When nothing listens there.
    pub fn open_socket(path: &Path) -> Result<Self> {
        let stream = UnixStream::connect(path)
            .with_context(|| format!("cannot connect to {}", path.display()))?;
        // To the operating system a stream is a stream; what is asked of it below is not of TCP.
        Self::over(TcpStream::from(OwnedFd::from(stream)))
    }

    fn over(stream: TcpStream) -> Result<Self> {
        stream.set_read_timeout(Some(ANSWER_DEADLINE))?;
        stream.set_write_timeout(Some(ANSWER_DEADLINE))?;
        Ok(Self::through(stream))
    }

    /// Waits no longer than this for an answer.
    ///
    /// # Errors
    ///
    /// When the operating system refuses.
    pub fn set_deadline(&self, deadline: Duration) -> Result<()> {
        Ok(self.stream.get_ref().set_read_timeout(Some(deadline))?)
    }
}

impl<S: Read + Write> Connection<S> {
    /// Speaks through a stream that is connected, such as one with TLS.
    pub fn through(stream: S) -> Self {
        Self { stream: BufReader::new(stream) }
    }

    /// Sends the request and reads its answer.
    ///
    /// # Errors
    ///
    /// When the connection fails or the answer is not HTTP.
    pub fn exchange(&mut self, request: &Request) -> Result<Answer> {
        self.send(&request.to_bytes())?;
        self.read_answer(request.method == "HEAD")
    }

    /// Sends bytes.
    ///
    /// # Errors
    ///
    /// When the connection is closed.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.get_mut().write_all(bytes).context("cannot send")
    }

    /// Reads one answer; `headless` when no body follows whatever its headers say.
    ///
    /// # Errors
    ///
    /// When the connection ends before the answer does, or the answer is not HTTP.
    pub fn read_answer(&mut self, headless: bool) -> Result<Answer> {
        loop {
            let line = self.line()?;
            let status = status(&line)
                .with_context(|| format!("not a status line: {}", line.escape_ascii()))?;
            let headers = self.fields()?;
            // 1xx answers precede the answer (RFC 9110 §15.2).
            if status >= 200 {
                let mut answer = Answer { status, headers, ..Answer::default() };
                if !headless && status != 204 && status != 304 {
                    self.read_body(&mut answer)?;
                }
                return Ok(answer);
            }
        }
    }

    fn read_body(&mut self, answer: &mut Answer) -> Result<()> {
        if answer.header("transfer-encoding").is_some_and(|coding| coding == "chunked") {
            loop {
                let line = self.line()?;
                let length = u64::from_str_radix(std::str::from_utf8(&line)?.trim(), 16)?;
                if length == 0 {
                    answer.trailers = self.fields()?;
                    return Ok(());
                }
                self.read_bytes(length, &mut answer.body)?;
                self.line()?;
            }
        }
        if let Some(length) = answer.header("content-length") {
            return self.read_bytes(length.parse()?, &mut answer.body);
        }
        self.stream.by_ref().take(MAX_BODY_BYTES).read_to_end(&mut answer.body)?;
        Ok(())
    }

    fn read_bytes(&mut self, length: u64, into: &mut Vec<u8>) -> Result<()> {
        if length > MAX_BODY_BYTES {
            bail!("a body of {length} bytes");
        }
        let read = self.stream.by_ref().take(length).read_to_end(into)?;
        if u64::try_from(read)? < length {
            bail!("the connection ended inside a body");
        }
        Ok(())
    }

    fn line(&mut self) -> Result<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            bail!("the connection ended inside a line");
        }
        line.pop_if(|byte| *byte == b'\r');
        Ok(line)
    }

    fn fields(&mut self) -> Result<Vec<(String, Vec<u8>)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                return Ok(fields);
            }
            let colon = line.iter().position(|byte| *byte == b':').context("no colon")?;
            let (name, value) = line.split_at(colon);
            let value = value.get(1..).unwrap_or_default().trim_ascii().to_vec();
            fields.push((String::from_utf8_lossy(name).to_ascii_lowercase(), value));
        }
    }
}

fn status(line: &[u8]) -> Option<u16> {
    let rest = line.strip_prefix(b"HTTP/1.1 ")?;
    std::str::from_utf8(rest.get(..3)?).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::Request;

    #[track_caller]
    fn check(request: &Request, expected: &[u8]) {
        assert_eq!(
            request.to_bytes().escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }

    #[test]
    fn a_request_is_sent_byte_for_byte() {
        check(
            &Request::get("/a b%zz").header("X-Odd", b"\xff\x80").header("x-odd", "2"),
            b"GET /a b%zz HTTP/1.1\r\nhost: localhost\r\nX-Odd: \xff\x80\r\nx-odd: 2\r\n\r\n",
        );
    }

    #[test]
    fn trailers_follow_a_body_in_chunks() {
        check(
            &Request::new("POST", "/").header("Host", "h").body("hello").trailer("x-t", "v"),
            b"POST / HTTP/1.1\r\nHost: h\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nx-t: v\r\n\r\n",
        );
    }
}
