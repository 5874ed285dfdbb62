//! `token inspect`.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::cli::arguments::{Format, InspectToken as Asked};
use crate::cli::office::{Office, reach};
use crate::cli::{Failure, loaded, note, revocation, serve, show};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::desk::{
    Desk, InspectToken, JwtInspection, TokenInspection, Verdict, inspect_refresh_token,
};
use crate::families::FamilyView;
use crate::metrics::Metrics;
use crate::random::Random;

/// Claims that are times, in seconds since the epoch (RFC 7519 §4.1, OIDC Core §2).
const TIMES: [&str; 5] = ["exp", "iat", "nbf", "auth_time", "updated_at"];

pub(super) async fn run(asked: Asked) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let wanted = InspectToken { token: revocation::token_text(asked.token)? };
    let inspection: TokenInspection = match reach(&loaded).await? {
        Office::Running(admin) => admin.post("/admin/v1/tokens/inspect", &wanted).await?,
        Office::Direct(desk) => direct(&loaded, &desk, &wanted).await?,
    };
    if asked.output.output == Format::Json {
        return show::json(&inspection);
    }
    match inspection {
        TokenInspection::Jwt(jwt) => show_jwt(&jwt),
        TokenInspection::ApiKey { id } => show::pairs(&[
            ("kind", "API key".to_owned()),
            ("id", id.clone()),
            ("see", format!("wardgate apikey show {id}")),
        ]),
        TokenInspection::RefreshToken { session: Some(session), .. } => show_session(&session),
        TokenInspection::RefreshToken { session: None, .. } => show::pairs(&[
            ("kind", "refresh token".to_owned()),
            ("usable", "no: it was used, has ended, or was not made here".to_owned()),
        ]),
        TokenInspection::Unknown { verdict } => show::pairs(&[
            ("kind", "no token that is known here".to_owned()),
            ("filter", filter(&verdict)),
        ]),
    }
}

async fn direct(
    loaded: &Loaded,
    desk: &Desk,
    wanted: &InspectToken,
) -> Result<TokenInspection, Failure> {
    let (time, metrics) = ((&Clock::system(), Random::system()), Arc::new(Metrics::new()));
    let families = serve::families(loaded, desk, time, &metrics).await?;
    let refresh_token = inspect_refresh_token(&families, wanted).await.map_err(Failure::failed)?;
    if let Some(inspection) = refresh_token {
        return Ok(inspection);
    }
    note("keys that other issuers publish are known to a running sidecar only");
    desk.inspect_token(wanted, &loaded.policy, &[]).await.map_err(Failure::failed)
}

fn show_session(session: &FamilyView) -> Result<(), Failure> {
    let bound = if session.is_bound { "yes" } else { "no" };
    show::pairs(&[
        ("kind", "refresh token".to_owned()),
        ("usable", "yes, by its client".to_owned()),
        ("session", session.id.clone()),
        ("subject", session.subject.clone()),
        ("client", session.client_id.clone()),
        ("scope", session.scope.clone().unwrap_or_else(|| "-".to_owned())),
        ("bound to a key", bound.to_owned()),
        ("begun", show::time(session.begun_at)),
        ("used", show::time(session.used_at)),
        ("expires", show::time(session.expires_at)),
        ("ends at the latest", show::time(session.ends_at)),
    ])
}

fn show_jwt(jwt: &JwtInspection) -> Result<(), Failure> {
    let mut rows = Vec::new();
    members("header", &jwt.header, &mut rows);
    members("claim", &jwt.claims, &mut rows);
    rows.push(("signature".to_owned(), jwt.signature.word().to_owned()));
    if let Some(key) = &jwt.key {
        rows.push(("key".to_owned(), format!("{}, {}", key.algorithm, key.state.word())));
    }
    for met in &jwt.revocations {
        let kind = crate::desk::revocations::kind(&met.stored.target);
        let reason = met.stored.reason.as_deref().unwrap_or("no reason given");
        let at = show::time(met.stored.revoked_at);
        rows.push(("revoked".to_owned(), format!("{at} by {kind}: {reason} ({})", met.id)));
    }
    rows.push(("filter".to_owned(), filter(&jwt.verdict)));
    let rows: Vec<_> = rows.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    show::pairs(&rows)
}

fn members(what: &str, members: &Map<String, Value>, rows: &mut Vec<(String, String)>) {
    for (name, value) in members {
        let time = value.as_u64().filter(|_| what == "claim" && TIMES.contains(&name.as_str()));
        let text = match (value, time) {
            (_, Some(time)) => format!("{time} ({})", show::time(time)),
            (Value::String(text), None) => text.clone(),
            (other, None) => other.to_string(),
        };
        rows.push((format!("{what} {name}"), text));
    }
}

fn filter(verdict: &Verdict) -> String {
    match &verdict.reason {
        None => format!("{}; the route decides the rest", verdict.message),
        Some(reason) => format!("refused, {reason}: {}", verdict.message),
    }
}
