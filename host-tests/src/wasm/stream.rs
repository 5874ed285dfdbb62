//! One HTTP stream: what a test sends, what Envoy holds of it, and what became of it.

use std::collections::BTreeMap;
use std::fmt;

use super::abi::{Headers, lower_names};

/// Names one stream of one VM.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub(super) u32);

/// A request as Envoy's HTTP connection manager hands it to the filter.
#[derive(Clone, Debug)]
pub struct Request {
    /// Pseudo headers first, names in lower case.
    pub headers: Headers,
    /// Neither body nor trailers follow.
    pub end_of_stream: bool,
    /// Properties of this stream beyond the usual ones: dotted path and value as `get_property` gives it.
    pub properties: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// A request without credentials to `path` at `api.example.com`.
    pub fn new(method: &str, path: &str) -> Self {
        let pseudo = [
            (":method", method),
            (":scheme", "https"),
            (":authority", "api.example.com"),
            (":path", path),
        ];
        Self {
            headers: pseudo.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect(),
            end_of_stream: true,
            properties: Vec::new(),
        }
    }

    /// The same request with one more header behind the others.
    #[must_use]
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// The same request with `Authorization: Bearer`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// The same request with another value of a header that it has, a pseudo header for example.
    #[must_use]
    pub fn replacing(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        self.headers.retain(|(known, _)| known != name.as_bytes());
        self.headers.insert(0, (name.into(), value.as_ref().to_vec()));
        self
    }

    /// The same request without this header.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(known, _)| known != name.as_bytes());
        self
    }

    /// The same request from this address (`192.0.2.1:4711`).
    #[must_use]
    pub fn from_address(self, address: &str) -> Self {
        self.property("source.address", address)
    }

    /// The same request with this property.
    #[must_use]
    pub fn property(mut self, path: &str, value: impl AsRef<[u8]>) -> Self {
        self.properties.push((path.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// The same request with a body or trailers to follow.
    #[must_use]
    pub fn with_more_to_come(mut self) -> Self {
        self.end_of_stream = false;
        self
    }
}

/// A response that the filter made itself.
#[derive(Clone, Eq, PartialEq)]
pub struct LocalResponse {
    /// HTTP status.
    pub status: u32,
    /// Headers that the filter gave; Envoy's own are not added here.
    pub headers: Headers,
    /// The body.
    pub body: Vec<u8>,
    /// gRPC status, where one was given.
    pub grpc_status: Option<i32>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub details: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, Eq, PartialEq)]
pub enum Outcome {
    /// It goes on to the upstream with these headers.
    Forwarded {
        /// As the upstream gets them.
        headers: Headers,
    },
    /// The filter answered it.
    Answered(LocalResponse),
    /// It waits for something, a call to the sidecar for example.
    Paused,
    /// The filter reset the stream, or the VM is dead and Envoy answers 503 `wasm_fail_stream`.
    Failed {
        /// The trap, if this request caused it.
        trap: Option<String>,
    },
}

impl fmt::Debug for LocalResponse {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("LocalResponse")
            .field("status", &self.status)
            .field("headers", &Shown(&self.headers))
            .field("body", &String::from_utf8_lossy(&self.body))
            .field("grpc_status", &self.grpc_status)
            .field("details", &String::from_utf8_lossy(&self.details))
            .finish()
    }
}

impl fmt::Debug for Outcome {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forwarded { headers } => write!(formatter, "Forwarded {:?}", Shown(headers)),
            Self::Answered(response) => write!(formatter, "Answered {response:?}"),
            Self::Paused => formatter.write_str("Paused"),
            Self::Failed { trap } => write!(formatter, "Failed {trap:?}"),
        }
    }
}

/// Headers as text, for the message of a failed test.
struct Shown<'a>(&'a Headers);

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        formatter
            .debug_map()
            .entries(self.0.iter().map(|(name, value)| (text(name), text(value))))
            .finish()
    }
}

impl Outcome {
    /// The value of a header of the forwarded request or the answer, if it stands there once.
    pub fn header(&self, name: &str) -> Option<String> {
        let headers = match self {
            Self::Forwarded { headers } => headers,
            Self::Answered(response) => &response.headers,
            Self::Paused | Self::Failed { .. } => return None,
        };
        let mut values = headers.iter().filter(|(known, _)| known == name.as_bytes());
        let (_, value) = values.next()?;
        values.next().is_none().then(|| String::from_utf8_lossy(value).into_owned())
    }

    /// The status of the answer; `None` unless the filter answered.
    pub fn status(&self) -> Option<u32> {
        match self {
            Self::Answered(response) => Some(response.status),
            Self::Forwarded { .. } | Self::Paused | Self::Failed { .. } => None,
        }
    }

    /// The `reason` member of a problem document that the filter answered.
    pub fn reason(&self) -> Option<String> {
        let Self::Answered(response) = self else { return None };
        let problem: serde_json::Value = serde_json::from_slice(&response.body).ok()?;
        problem.get("reason")?.as_str().map(str::to_owned)
    }

    /// Whether the request goes on to the upstream.
    pub fn is_forwarded(&self) -> bool {
        matches!(self, Self::Forwarded { .. })
    }
}

/// How far a stream has come.
#[derive(Clone, Debug)]
pub(super) enum Progress {
    /// The headers callback is running.
    Deciding,
    Paused,
    Forwarded,
    Answered(LocalResponse),
    Closed,
}

/// Which header lists Envoy still holds for the filter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenMaps {
    pub(super) request_headers: bool,
    pub(super) trailers: bool,
    pub(super) response_headers: bool,
}

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) root: u32,
    pub(super) request_headers: Option<Headers>,
    pub(super) request_trailers: Option<Headers>,
    pub(super) response_headers: Option<Headers>,
    pub(super) open: OpenMaps,
    pub(super) properties: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(super) filter_state: BTreeMap<String, Vec<u8>>,
    pub(super) progress: Progress,
}

impl Stream {
    /// The names go to lower case, as Envoy's header map holds them.
    pub(super) fn new(root: u32, number: u32, mut request: Request) -> Self {
        request.headers = lower_names(request.headers);
        let mut properties = usual_properties(number, &request.headers);
        for (path, value) in request.properties {
            properties.insert(path.replace('.', "\0").into_bytes(), value);
        }
        Self {
            root,
            request_headers: Some(request.headers),
            request_trailers: None,
            response_headers: None,
            open: OpenMaps::default(),
            properties,
            filter_state: BTreeMap::new(),
            progress: Progress::Deciding,
        }
    }

    pub(super) fn outcome(&self) -> Outcome {
        match &self.progress {
            Progress::Deciding | Progress::Paused => Outcome::Paused,
            Progress::Forwarded => {
                Outcome::Forwarded { headers: self.request_headers.clone().unwrap_or_default() }
            }
            Progress::Answered(response) => Outcome::Answered(response.clone()),
            Progress::Closed => Outcome::Failed { trap: None },
        }
    }
}

/// The properties that every plain request over TLS without a client certificate has in Envoy.
fn usual_properties(number: u32, headers: &Headers) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let header = |wanted: &[u8]| {
        headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone())
    };
    let path = header(b":path").unwrap_or_default();
    let url_path = path.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
    let table: [(&str, Vec<u8>); 12] = [
        ("source.address", b"192.0.2.7:40000".to_vec()),
        ("source.port", 40_000_i64.to_le_bytes().to_vec()),
        ("destination.address", b"192.0.2.1:10000".to_vec()),
        ("destination.port", 10_000_i64.to_le_bytes().to_vec()),
        ("connection.id", u64::from(number).to_le_bytes().to_vec()),
        ("connection.mtls", vec![0]),
        ("request.method", header(b":method").unwrap_or_default()),
        ("request.scheme", header(b":scheme").unwrap_or_default()),
        ("request.host", header(b":authority").unwrap_or_default()),
        ("request.path", path),
        ("request.url_path", url_path),
        ("request.protocol", b"HTTP/2".to_vec()),
    ];
    table.into_iter().map(|(path, value)| (path.replace('.', "\0").into_bytes(), value)).collect()
}
