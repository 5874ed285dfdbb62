//! Hostile requests, made from good ones by a generator that a seed determines.

use crate::envoy::client::Request;

/// What attacks are made from.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// Good tokens.
    pub tokens: Vec<String>,
    /// Good API keys.
    pub api_keys: Vec<String>,
    /// Paths that routes have.
    pub paths: Vec<String>,
}

/// One request as it is sent.
pub struct Attack {
    /// The bytes.
    pub bytes: Vec<u8>,
    /// Whether the answer has no body.
    pub headless: bool,
}

/// Makes requests.
pub struct Attacker<'a> {
    material: &'a Material,
    state: u64,
    /// What was made, for a report.
    last: Vec<u8>,
}

/// Names that mean something to the gate or to Envoy.
const NAMES: &[&str] = &[
    "authorization",
    "Authorization",
    "x-api-key",
    "X-API-KEY",
    "x-wardgate-subject",
    "X-Wardgate-Roles",
    "x_wardgate_subject",
    "x-wardgate-",
    "x-wardgate-auth",
    "txn-token",
    "cookie",
    "origin",
    "access-control-request-method",
    "content-type",
    "te",
    "x-request-id",
    "x-forwarded-for",
    "x-forwarded-proto",
    "x-envoy-original-path",
    "x-envoy-internal",
    "x-envoy-external-address",
    "accept",
    "user-agent",
    "traceparent",
    "x-http-method-override",
    "forwarded",
    "via",
];
/// Values that have broken a parser somewhere.
const VALUES: &[&[u8]] = &[
    b"",
    b" ",
    b"Bearer",
    b"Bearer ",
    b"bearer x",
    b"Bearer  a.b.c",
    b"Bearer a.b.c, Bearer d.e.f",
    b"Basic YTpi",
    b"\xff\xfe\xfd",
    b"\xc3\x28",
    b"Bearer \xff.\xff.\xff",
    b"application/grpc",
    b"application/grpc+proto",
    b"GET",
    b"null",
    b"{}",
    b"..",
    b"%00",
    b"a=b; c=d",
    b"trailers",
    b"wg_live_",
    b"wg_live_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA_000000",
    b"eyJhbGciOiJub25lIn0.e30.",
    b"\"; DROP TABLE",
    b"\xf0\x9f\x94\x91",
];
/// Without CONNECT, which Envoy answers itself, 501 among other things.
const METHODS: &[&str] =
    &["GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "PROPFIND"];
const PATH_PARTS: &[&[u8]] = &[
    b"/",
    b"//",
    b"/..",
    b"/.",
    b"/%2e%2e",
    b"/%2E%2e/",
    b"/%2f",
    b"/%5c",
    b"\\",
    b"/;a=b",
    b";",
    b"?a=b",
    b"#x",
    b"/%00",
    b"/%zz",
    b"/%",
    b"/%c3%28",
    b"/\xff",
    b"/a b",
    b"/%20",
    b"/AAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    b"/{id}",
    b"/*",
    b"/things",
    b"/things/1",
    b"/.wardgate/healthz",
    b"@evil",
    b":80",
];

impl<'a> Attacker<'a> {
    /// The attacks of this seed.
    pub fn new(material: &'a Material, seed: u64) -> Self {
        Self { material, state: seed.wrapping_add(0x9e37_79b9_7f4a_7c15), last: Vec::new() }
    }

    /// Begins a new report.
    pub fn forget(&mut self) {
        self.last.clear();
    }

    /// What was made since [`Self::forget`].
    pub fn last(&self) -> String {
        self.last.escape_ascii().to_string()
    }

    /// The next request.
    pub fn next_request(&mut self) -> Attack {
        let method = if self.one_in(3) { self.pick(METHODS).unwrap_or("GET") } else { "GET" };
        let target = self.target();
        let mut request = Request::new(method, target);
        for _ in 0..self.below(4) {
            let name = self.name();
            let value = self.value();
            request = request.header(name, value);
        }
        for _ in 0..self.below(3) {
            let (name, value) = self.credential();
            request = request.header(name, value);
        }
        if self.one_in(200) {
            // Beyond what Envoy takes, or many small ones.
            let (count, bytes) = if self.one_in(2) { (1, 70_000) } else { (90, 20) };
            for number in 0..count {
                request = request.header(format!("x-many-{number}"), vec![b'a'; bytes]);
            }
        }
        match self.below(20) {
            0 => {
                let (name, value) = (self.name(), self.value());
                request = request.body("body").trailer(name, value);
            }
            1 => request = request.body("{\"a\": 1}"),
            _ => {}
        }
        self.made(request.to_bytes(), method == "HEAD")
    }

    /// A request without body, with one byte changed anywhere: request line, names, line ends.
    pub fn spoiled_request(&mut self) -> Attack {
        let mut request = Request::get(self.target());
        for _ in 0..self.below(4) {
            let (name, value) = (self.name(), self.value());
            request = request.header(name, value);
        }
        let (name, value) = self.credential();
        let mut bytes = request.header(name, value).to_bytes();
        let at = usize::try_from(self.below(bytes.len() as u64)).unwrap_or(0);
        let with = self.byte();
        if let Some(byte) = bytes.get_mut(at) {
            *byte = with;
        }
        self.made(bytes, false)
    }

    fn made(&mut self, bytes: Vec<u8>, headless: bool) -> Attack {
        self.last.extend_from_slice(&bytes);
        Attack { bytes, headless }
    }

    fn target(&mut self) -> Vec<u8> {
        let paths = &self.material.paths;
        let mut target = match self.pick_owned(paths) {
            Some(path) if !self.one_in(4) => path.into_bytes(),
            _ => Vec::new(),
        };
        if target.is_empty() || self.one_in(4) {
            for _ in 0..=self.below(4) {
                target.extend_from_slice(self.pick(PATH_PARTS).unwrap_or(b"/"));
            }
        }
        if !target.starts_with(b"/") && !self.one_in(50) {
            target.insert(0, b'/');
        }
        // Envoy's codec refuses these, and then closes the connection: not too often.
        if !self.one_in(20) {
            target.retain(|byte| byte.is_ascii_graphic() && *byte != b'#');
        }
        // A blank would end the target, which spoiled requests do.
        target.retain(|byte| *byte != b' ');
        target
    }

    fn name(&mut self) -> String {
        let name = self.pick(NAMES).unwrap_or("x-a").to_owned();
        if self.one_in(20) { name.replace('-', "_") } else { name }
    }

    fn value(&mut self) -> Vec<u8> {
        let mut value = self.pick(VALUES).unwrap_or_default().to_vec();
        if self.one_in(3) {
            let length = self.below(64);
            let random = (0..length).map(|_| self.byte()).collect::<Vec<_>>();
            value.extend(random);
        }
        // Envoy's codec answers to control bytes, and the gate never sees them; spoiled requests have
        // them. Bytes that are not UTF-8 do reach it.
        value.retain(|byte| *byte >= 0x20 && *byte != 0x7f);
        value
    }

    fn credential(&mut self) -> (String, Vec<u8>) {
        if self.one_in(3) {
            let keys = &self.material.api_keys;
            let key = self.pick_owned(keys).unwrap_or_default().into_bytes();
            return ("x-api-key".to_owned(), self.mutated(key));
        }
        let tokens = &self.material.tokens;
        let token = self.pick_owned(tokens).unwrap_or_default().into_bytes();
        let token = self.mutated(token);
        ("authorization".to_owned(), [b"Bearer ", token.as_slice()].concat())
    }

    /// Good, or good with something changed.
    fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..self.below(4) {
            // Half of the time near the end, where the signature is, so that the rest stays sound.
            let reach = if self.one_in(2) { 40 } else { bytes.len() };
            let from = bytes.len().saturating_sub(reach);
            let at = usize::try_from(self.below(reach as u64)).unwrap_or(0).saturating_add(from);
            let at = at.min(bytes.len());
            match self.below(7) {
                0 => bytes.truncate(at),
                1 => {
                    bytes.remove_checked(at);
                }
                2 => bytes.insert(at, self.printable()),
                3 => {
                    let letter = self.printable();
                    if let Some(byte) = bytes.get_mut(at) {
                        *byte = letter;
                    }
                }
                4 => bytes.insert(at, b'.'),
                5 => bytes.extend_from_within(at..),
                _ => bytes.insert(at, self.byte().max(0x80)),
            }
        }
        bytes.truncate(20_000);
        bytes
    }

    fn printable(&mut self) -> u8 {
        const LETTERS: &[u8] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_=.+/~,";
        self.pick(LETTERS).unwrap_or(b'A')
    }

    fn byte(&mut self) -> u8 {
        self.random().to_le_bytes()[0]
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    /// A number below `limit`, or 0.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.random().checked_rem(limit).unwrap_or(0)
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> Option<T> {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        from.get(at).copied()
    }

    fn pick_owned(&mut self, from: &[String]) -> Option<String> {
        let at = usize::try_from(self.below(from.len() as u64)).unwrap_or(0);
        from.get(at).cloned()
    }

    /// `SplitMix64`: small, fast, and the same everywhere.
    fn random(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// Removal that cannot panic.
trait RemoveChecked {
    fn remove_checked(&mut self, at: usize);
}

impl RemoveChecked for Vec<u8> {
    fn remove_checked(&mut self, at: usize) {
        if at < self.len() {
            self.remove(at);
        }
    }
}
