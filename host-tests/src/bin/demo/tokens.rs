//! The credentials of the walk: good ones from the sidecar, and what an attacker makes of them.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use wardgate_core::api_key::{ApiKey, GENERATE_RANDOM_BYTES};
use wardgate_host_tests::envoy::{
    issuer::{Algorithm, Issuer, base64url, signing_input},
    sidecar::Sidecar,
};

/// A token that the sidecar issues to `subject`; `more` are further arguments of the command.
pub(crate) fn issue(sidecar: &Sidecar, subject: &str, more: &[&str]) -> Result<String> {
    let arguments = [&["token", "issue", "--subject", subject], more].concat();
    text(&sidecar.command(&arguments)?, "access_token")
}

/// A token of somebody else's issuer, properly signed with its key.
pub(crate) fn of_a_stranger() -> Result<String> {
    let stranger = Issuer::generate("https://login.stranger.example")?;
    stranger.token(Algorithm::Es256, "alice", &json!({"roles": ["owner"]}))
}

/// The token with claims that its signature does not cover: a viewer who would be an owner.
pub(crate) fn promoted(token: &str) -> Result<String> {
    let mut parts = token.split('.');
    let (header, claims) = (parts.next().context("no header")?, parts.next().context("no claims")?);
    let signature = parts.next().context("no signature")?;
    let mut claims = decoded(claims)?;
    let object = claims.as_object_mut().context("claims are no object")?;
    object.insert("roles".to_owned(), json!(["owner"]));
    Ok(format!("{header}.{}.{signature}", base64url(claims.to_string().as_bytes())))
}

/// The claims of the token without any signature (`alg: none`).
pub(crate) fn unsigned(token: &str) -> Result<String> {
    let claims = decoded(token.split('.').nth(1).context("no claims")?)?;
    Ok(format!("{}.", signing_input(&json!({"alg": "none", "typ": "JWT"}), &claims)))
}

/// Key and id of a new API key.
pub(crate) fn create_api_key(
    sidecar: &Sidecar,
    name: &str,
    role: &str,
) -> Result<(String, String)> {
    let made = sidecar.command(&["apikey", "create", "--name", name, "--role", role])?;
    Ok((text(&made, "api_key")?, text(&made, "id")?))
}

/// The key with another last letter, as a slip of the pen makes it.
pub(crate) fn mistyped(api_key: &str) -> String {
    let mut mistyped = api_key.to_owned();
    let last = mistyped.pop();
    mistyped.push(if last == Some('0') { '1' } else { '0' });
    mistyped
}

/// A key of the right form that nobody has made.
pub(crate) fn unknown_api_key() -> Result<String> {
    let mut random = [0; GENERATE_RANDOM_BYTES];
    aws_lc_rs::rand::fill(&mut random).ok().context("no randomness")?;
    let key = ApiKey::generate("live", &random).context("no API key can be made")?;
    Ok(key.expose().to_owned())
}

fn decoded(part: &str) -> Result<Value> {
    let bytes = wardgate_core::base64url::decode(part.as_bytes()).context("not base64url")?;
    Ok(serde_json::from_slice(&bytes)?)
}

fn text(value: &Value, name: &str) -> Result<String> {
    let text = value.get(name).and_then(Value::as_str);
    Ok(text.with_context(|| format!("the answer has no `{name}`"))?.to_owned())
}
