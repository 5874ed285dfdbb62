//! The request as it came in: one pass over the headers finds the request line, the credentials and
//! everything that the client forged.

use crate::reason::Reason;

/// One header field, name and value as bytes; a value need not be UTF-8.
pub type Field<'a> = (&'a [u8], &'a [u8]);

/// More fields than any honest request has; Envoy's own default limit is 100.
pub const MAX_FIELDS: usize = 1024;

/// A credential of one kind: absent, once, or more than once.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Presented<'a> {
    /// Not there.
    #[default]
    Absent,
    /// There once.
    Once(&'a [u8]),
    /// There more than once; which one would count is a guess, and guesses differ.
    Repeated,
}

impl<'a> Presented<'a> {
    fn another(&mut self, value: &'a [u8]) {
        *self = match self {
            Self::Absent => Self::Once(value),
            Self::Once(_) | Self::Repeated => Self::Repeated,
        };
    }

    /// Whether it is there at all.
    pub fn is_present(self) -> bool {
        self != Self::Absent
    }
}

/// What the gate reads of a request's headers.
#[derive(Clone, Debug, Default)]
pub struct Intake<'a> {
    /// `:method`.
    pub method: &'a str,
    /// `:path`, with the query.
    pub path: &'a [u8],
    /// `:authority`, as sent.
    pub authority: &'a str,
    /// `authorization`.
    pub authorization: Presented<'a>,
    /// `x-api-key`.
    pub api_key: Presented<'a>,
    /// `dpop`.
    pub dpop: Presented<'a>,
    /// `access-control-request-method` of a request with an `origin`.
    pub preflight_method: Option<&'a str>,
    /// Whether a gRPC client waits for the answer.
    pub is_grpc: bool,
    /// `x-request-id`.
    pub request_id: &'a [u8],
    /// Names that only the gate may set and that the client sent, as it spelled them.
    pub forged: Vec<&'a [u8]>,
}

impl<'a> Intake<'a> {
    /// Reads the fields of a request.
    ///
    /// `is_own` tells whether a name, in lower case and with `-` for `_`, is one that the gate sets.
    ///
    /// # Errors
    ///
    /// [`Reason::RequestMalformed`] when method, path or host are missing, repeated or not text, or
    /// there are more than [`MAX_FIELDS`] fields.
    pub fn read(fields: &[Field<'a>], is_own: impl Fn(&[u8]) -> bool) -> Result<Self, Reason> {
        if fields.len() > MAX_FIELDS {
            return Err(Reason::RequestMalformed);
        }
        let mut intake = Self::default();
        let mut line = RequestLine::default();
        let mut has_origin = false;
        for (name, value) in fields {
            match *name {
                b":method" => line.method.another(value),
                b":path" => line.path.another(value),
                b":authority" => line.authority.another(value),
                b"authorization" => intake.authorization.another(value),
                b"x-api-key" => intake.api_key.another(value),
                b"dpop" => intake.dpop.another(value),
                b"origin" => has_origin = true,
                b"access-control-request-method" => intake.preflight_method = text(value),
                b"content-type" => intake.is_grpc = is_grpc(value),
                b"x-request-id" => intake.request_id = value,
                _ => intake.note_forgery(name, &is_own),
            }
        }
        if !has_origin {
            intake.preflight_method = None;
        }
        line.fill(&mut intake)?;
        Ok(intake)
    }

    /// How the request shows a token, if it shows one.
    pub fn scheme(&self) -> Option<Scheme> {
        match self.authorization {
            Presented::Once(value) => token(value).ok().flatten().map(|(scheme, _)| scheme),
            Presented::Absent | Presented::Repeated => None,
        }
    }

    /// Notes `name` if it is one of the gate's own in any spelling.
    ///
    /// Envoy and many servers read `_` as `-` (CGI), so `x_wardgate_subject` would reach them as the
    /// real thing. A credential in such a spelling is no credential, but must not pass either.
    fn note_forgery(&mut self, name: &'a [u8], is_own: &impl Fn(&[u8]) -> bool) {
        if !may_be_own(name) {
            return;
        }
        // Most names are in lower case with dashes already, and need no copy.
        if is_canonical(name) {
            if is_own(name) {
                self.forged.push(name);
            }
            return;
        }
        let canonical = canonical(name);
        if is_own(&canonical) || is_credential_name(&canonical) {
            self.forged.push(name);
        }
    }
}

/// Whether a credential stands in the header of this canonical name.
pub fn is_credential_name(canonical: &[u8]) -> bool {
    matches!(canonical, b"x-api-key" | b"authorization" | b"dpop")
}

/// A cheap test that most foreign names fail: the gate's names begin with `x`, `t` (`txn-token`) or,
/// for odd spellings of `authorization` and `dpop`, `a` and `D`.
fn may_be_own(name: &[u8]) -> bool {
    matches!(name.first(), Some(b'x' | b'X' | b't' | b'T' | b'a' | b'A' | b'd' | b'D'))
}

/// `name` in lower case, with `-` for everything that is no letter or digit. CGI makes `_` of `-`
/// (RFC 3875 §4.1.18), and some servers make it of `.` and others too.
pub fn canonical(name: &[u8]) -> Vec<u8> {
    name.iter()
        .map(|byte| if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'-' })
        .collect()
}

/// Whether [`canonical`] would change nothing.
fn is_canonical(name: &[u8]) -> bool {
    name.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

/// `application/grpc`, also with a subtype (`application/grpc+proto`).
fn is_grpc(value: &[u8]) -> bool {
    match value.strip_prefix(b"application/grpc") {
        Some(rest) => rest.is_empty() || matches!(rest.first(), Some(b'+' | b';')),
        None => false,
    }
}

fn text(value: &[u8]) -> Option<&str> {
    core::str::from_utf8(value).ok()
}

#[derive(Default)]
struct RequestLine<'a> {
    method: Presented<'a>,
    path: Presented<'a>,
    authority: Presented<'a>,
}

impl<'a> RequestLine<'a> {
    fn fill(self, intake: &mut Intake<'a>) -> Result<(), Reason> {
        let (Presented::Once(method), Presented::Once(path)) = (self.method, self.path) else {
            return Err(Reason::RequestMalformed);
        };
        intake.method = text(method).ok_or(Reason::RequestMalformed)?;
        intake.path = path;
        intake.authority = match self.authority {
            Presented::Absent => "",
            Presented::Once(authority) => text(authority).ok_or(Reason::RequestMalformed)?,
            Presented::Repeated => return Err(Reason::RequestMalformed),
        };
        Ok(())
    }
}

/// How a token is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// `Bearer` (RFC 6750 §2.1): whoever has it may use it.
    Bearer,
    /// `DPoP` (RFC 9449 §7.1): with a proof of possession.
    Dpop,
}

/// The token of an `Authorization` value and its scheme, or `None` if the scheme is another. Schemes
/// are case-insensitive (RFC 9110 §11.1).
///
/// # Errors
///
/// [`Reason::CredentialMalformed`] when nothing follows the scheme, [`Reason::CredentialRepeated`]
/// when a token stands behind another scheme.
pub fn token(value: &[u8]) -> Result<Option<(Scheme, &[u8])>, Reason> {
    let Some((scheme, rest)) = scheme_of(value) else {
        // `Basic x,Bearer y` is two headers that Envoy has joined; the first must not hide the other.
        let mut parts = value.split(|byte| *byte == b',').skip(1).map(<[u8]>::trim_ascii_start);
        let hides =
            parts.any(|part| scheme_of(part).is_some_and(|(_, rest)| rest.first() == Some(&b' ')));
        return if hides { Err(Reason::CredentialRepeated) } else { Ok(None) };
    };
    let token = match rest.first() {
        None => return Err(Reason::CredentialMalformed),
        Some(b' ') => rest.trim_ascii_start(),
        // Another scheme that begins with the same letters.
        Some(_) => return Ok(None),
    };
    if token.is_empty() {
        return Err(Reason::CredentialMalformed);
    }
    Ok(Some((scheme, token)))
}

/// The scheme that `value` begins with, and what follows its letters.
fn scheme_of(value: &[u8]) -> Option<(Scheme, &[u8])> {
    let named = |name: &[u8]| {
        let (scheme, rest) = value.split_at_checked(name.len())?;
        scheme.eq_ignore_ascii_case(name).then_some(rest)
    };
    let bearer = named(b"bearer").map(|rest| (Scheme::Bearer, rest));
    bearer.or_else(|| named(b"dpop").map(|rest| (Scheme::Dpop, rest)))
}

/// Judges a token that is not known: whether it is one word in the letters of `b64token` (RFC 6750
/// §2.1). It takes as long as the token is, so it is asked only once.
///
/// # Errors
///
/// [`Reason::CredentialRepeated`] when there is a comma: Envoy joins repeated `authorization` headers
/// with one before a filter sees them. [`Reason::CredentialMalformed`] for other letters.
pub fn check_letters(token: &[u8]) -> Result<(), Reason> {
    if token.iter().all(|byte| is_token_letter(*byte)) {
        return Ok(());
    }
    let is_joined = token.contains(&b',');
    Err(if is_joined { Reason::CredentialRepeated } else { Reason::CredentialMalformed })
}

fn is_token_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/' | b'=')
}

#[cfg(test)]
mod tests;
