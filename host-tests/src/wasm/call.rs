//! HTTP calls of the filter and the answers that Envoy or a test gives them.

use std::time::Duration;

use super::abi::Headers;

/// A call that the filter made and that waits for its answer.
#[derive(Clone, Debug)]
pub struct HttpCall {
    /// Names the call in this VM.
    pub token: u32,
    /// The Envoy cluster that it goes to.
    pub cluster: String,
    /// Headers, pseudo headers included.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// When Envoy gives up, in monotonic time; `None` means never (timeout 0).
    pub deadline: Option<Duration>,
    /// When it was made, in monotonic time.
    pub made_at: Duration,
    pub(super) root: u32,
}

impl HttpCall {
    /// The first value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(known, _)| known == name.as_bytes())?;
        std::str::from_utf8(value).ok()
    }

    /// The `:path`.
    pub fn path(&self) -> &str {
        self.header(":path").unwrap_or_default()
    }

    /// The `:path` without its query.
    pub fn endpoint(&self) -> &str {
        crate::feed::endpoint(self.path())
    }

    /// The `:method`.
    pub fn method(&self) -> &str {
        self.header(":method").unwrap_or_default()
    }

    /// The body as JSON; null when it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// What comes back for a call.
#[derive(Clone, Debug)]
pub enum HttpAnswer {
    /// An answer, from the sidecar or made up by Envoy.
    Answer {
        /// Headers with `:status` among them.
        headers: Headers,
        /// The body.
        body: Vec<u8>,
        /// Trailers.
        trailers: Headers,
    },
    /// The stream was reset or the answer was too long: no headers, status (11, `reset`).
    Reset,
}

impl HttpAnswer {
    /// An answer with this status, headers and body.
    pub fn new(status: u16, headers: &[(&str, &str)], body: impl Into<Vec<u8>>) -> Self {
        let status = (b":status".to_vec(), status.to_string().into_bytes());
        let rest = headers.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        Self::Answer {
            headers: std::iter::once(status).chain(rest).collect(),
            body: body.into(),
            trailers: Headers::new(),
        }
    }

    /// What Envoy makes up when the deadline passes.
    pub fn timeout() -> Self {
        let headers = [("content-length", "24"), ("content-type", "text/plain")];
        Self::new(504, &headers, "upstream request timeout")
    }

    /// What Envoy makes up when it cannot connect.
    pub fn connect_failure() -> Self {
        let body = "upstream connect error or disconnect/reset before headers. \
                    reset reason: remote connection failure";
        Self::new(503, &[("content-type", "text/plain")], body)
    }

    pub(super) fn headers_mut(&mut self) -> Option<&mut Headers> {
        match self {
            Self::Answer { headers, .. } => Some(headers),
            Self::Reset => None,
        }
    }

    pub(super) fn trailers_mut(&mut self) -> Option<&mut Headers> {
        match self {
            Self::Answer { trailers, .. } => Some(trailers),
            Self::Reset => None,
        }
    }

    pub(super) fn body(&self) -> Option<&[u8]> {
        match self {
            Self::Answer { body, .. } => Some(body),
            Self::Reset => None,
        }
    }

    /// Sizes as the callback gets them: headers, bytes of body, trailers.
    pub(super) fn sizes(&self) -> [u32; 3] {
        let size = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        match self {
            Self::Answer { headers, body, trailers } => {
                [size(headers.len()), size(body.len()), size(trailers.len())]
            }
            Self::Reset => [0, 0, 0],
        }
    }
}
