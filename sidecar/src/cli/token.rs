//! `token issue`, and what else is asked of tokens.

mod inspect;

use serde_json::{Map, Value};

use super::arguments::{Format, IssueToken, Token};
use super::office::{Office, reach};
use super::{Failure, loaded, print, revocation, runtime, show, token_usage};
use crate::desk::{IssuedToken, TokenRequest};

pub(super) fn run(token: Token) -> Result<(), Failure> {
    match token {
        Token::Issue(asked) => runtime()?.block_on(issue(asked)),
        Token::Inspect(asked) => runtime()?.block_on(inspect::run(asked)),
        Token::Revoke(asked) => runtime()?.block_on(revocation::revoke(asked)),
        Token::Usage(asked) => runtime()?.block_on(token_usage::run(&asked)),
    }
}

async fn issue(asked: IssueToken) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let wanted = TokenRequest {
        subject: asked.subject,
        audiences: asked.audience,
        algorithm: asked.algorithm,
        expires_in_seconds: asked.expires_in,
        roles: asked.role,
        scope: asked.scope,
        client_id: asked.client_id,
        claims: claims(&asked.claim)?,
    };
    let issued: IssuedToken = match reach(&loaded).await? {
        Office::Running(admin) => admin.post("/admin/v1/tokens", &wanted).await?,
        Office::Direct(desk) => desk.issue_token(wanted).map_err(Failure::failed)?,
    };
    if asked.output.output == Format::Json {
        return show::json(&issued);
    }
    // Alone on its line, so that `$(wardgate token issue …)` is the token.
    print(&format!("{}\n", issued.access_token))
}

/// `name=value`, the value as JSON or else as a string.
fn claims(arguments: &[String]) -> Result<Map<String, Value>, Failure> {
    let mut claims = Map::new();
    for argument in arguments {
        let (name, text) = argument
            .split_once('=')
            .filter(|(name, _)| !name.is_empty())
            .ok_or_else(|| Failure::Failed(format!("--claim `{argument}` is not NAME=VALUE")))?;
        let value = serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        claims.insert(name.to_owned(), value);
    }
    Ok(claims)
}
