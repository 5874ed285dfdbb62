//! What a line of a list of compromised tokens stands for.

use wardgate_core::base64url;
use wardgate_core::feed::RevocationTarget;

use super::{BatchRevocation, RevokeError, RevokeTarget, check_target, end, request};

/// Reads a line: a token itself, the digest of one, or with `issuer` the `jti` of one. Only the names
/// of a token go on, and when it ends; never the token. `until` is as of [`super::RevokeRequest`].
///
/// # Errors
///
/// [`RevokeError::Invalid`] when it is none of these; never quotes the line.
pub fn revocation_of_line(
    line: &str,
    issuer: Option<&str>,
    until: Option<u64>,
) -> Result<BatchRevocation, RevokeError> {
    let line = line.trim();
    let (target, token_end) = match issuer {
        _ if is_token(line, issuer) => request::read_token(line)?,
        Some(issuer) => {
            let (issuer, token_id) = (issuer.to_owned(), line.to_owned());
            (check_target(RevocationTarget::Token { issuer, token_id })?, None)
        }
        None => {
            let digest = line.to_owned();
            let target = check_target(RevocationTarget::TokenDigest { digest });
            (target.map_err(|_| RevokeError::Invalid(NEITHER))?, None)
        }
    };
    let until = end(until, token_end).map(|end| end.0);
    Ok(BatchRevocation { target: RevokeTarget::Named(target), until, issued_until: None })
}

const NEITHER: &str = "neither a token nor the digest of one (SHA-256 of its signing input, as \
                       base64url); a `jti` needs the issuer";

/// Whether it is to be read as a token. A token that is damaged must not be taken for a `jti`: it
/// would be said to be revoked, and go on working.
fn is_token(line: &str, issuer: Option<&str>) -> bool {
    let first = line.split('.').next().unwrap_or_default();
    // Whole groups of four letters: a token that was cut ends anywhere.
    let whole = first.get(..first.len() & !3).unwrap_or_default();
    let header = base64url::decode(whole.as_bytes()).unwrap_or_default();
    // Random bytes begin like an object once in 65,536 times, and are hardly ever text as well.
    let has_header = header.starts_with(b"{\"")
        && header.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ');
    has_header || (issuer.is_none() && line.contains('.'))
}
