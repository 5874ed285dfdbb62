//! `token revoke` and `revocation list`.

mod from_file;

use std::io::Read as _;

use wardgate_core::feed::RevocationTarget;
use zeroize::Zeroizing;

use super::arguments::{Format, ListApiKeys, Revocation, RevokeToken};
use super::office::{Office, reach, segment};
use super::{Failure, loaded, runtime, show};
use crate::desk::{RevocationList, RevocationView, RevokeRequest, RevokeTarget, Revoked};

/// Longest token that is read from standard input; the longest that a filter takes has 64 KiB.
const MAX_INPUT_BYTES: u64 = 128 * 1024;

pub(super) async fn revoke(asked: RevokeToken) -> Result<(), Failure> {
    if let Some(file) = asked.file.clone() {
        return from_file::run(asked, &file).await;
    }
    let loaded = loaded(&asked.from.config)?;
    let output = asked.output.output;
    let wanted = RevokeRequest {
        reason: asked.reason.clone(),
        by: Some(whoever_asks()),
        until: asked.until,
        issued_until: None,
        target: target(asked)?,
    };
    let revoked: Revoked = match reach(&loaded).await? {
        Office::Running(admin) => admin.post("/admin/v1/revocations", &wanted).await?,
        Office::Direct(desk) => {
            let keep = loaded.config.revocations.keep_seconds.0;
            desk.revoke(wanted, keep).await.map_err(Failure::failed)?
        }
    };
    if output == Format::Json {
        return show::json(&revoked);
    }
    match revoked {
        Revoked::Revocation(view) => rows(&[view]),
        Revoked::ApiKey(key) => show::pairs(&[("id", key.id), ("name", key.name)]),
    }
}

/// Who does it, for the audit log.
pub(super) fn whoever_asks() -> String {
    format!("user {} of the machine", rustix::process::getuid().as_raw())
}

fn target(asked: RevokeToken) -> Result<RevokeTarget, Failure> {
    let issuer = asked.issuer.unwrap_or_default();
    let named = match (asked.token_id, asked.session, asked.subject, asked.client, asked.key_id) {
        (Some(token_id), ..) => RevocationTarget::Token { issuer, token_id },
        (_, Some(session), ..) => RevocationTarget::Session { issuer, session },
        (_, _, Some(subject), ..) => RevocationTarget::Subject { issuer, subject },
        (_, _, _, Some(client_id), _) => RevocationTarget::Client { issuer, client_id },
        (.., Some(key_id)) => RevocationTarget::SigningKey { issuer, key_id },
        (None, None, None, None, None) => {
            let token = token_text(asked.token.unwrap_or_default())?;
            return Ok(RevokeTarget::TokenText { token });
        }
    };
    Ok(RevokeTarget::Named(named))
}

/// The token of an argument; `-` and nothing stand for standard input.
pub(super) fn token_text(argument: String) -> Result<Zeroizing<String>, Failure> {
    if !argument.is_empty() && argument != "-" {
        return Ok(Zeroizing::new(argument));
    }
    let mut token = Zeroizing::new(String::new());
    let input = std::io::stdin().lock().take(MAX_INPUT_BYTES).read_to_string(&mut token);
    input.map_err(Failure::failed)?;
    Ok(token)
}

pub(super) fn run(revocation: &Revocation) -> Result<(), Failure> {
    let Revocation::List(asked) = revocation;
    let all = runtime()?.block_on(all(asked))?;
    if asked.output.output == Format::Json {
        return show::json(&all);
    }
    rows(&all)
}

async fn all(asked: &ListApiKeys) -> Result<Vec<RevocationView>, Failure> {
    let loaded = loaded(&asked.from.config)?;
    let mut all: Vec<RevocationView> = Vec::new();
    let mut cursor: Option<String> = None;
    let office = reach(&loaded).await?;
    loop {
        let page: RevocationList = match &office {
            Office::Running(admin) => {
                let path = match &cursor {
                    None => "/admin/v1/revocations".to_owned(),
                    Some(cursor) => format!("/admin/v1/revocations?cursor={}", segment(cursor)),
                };
                admin.get(&path).await?
            }
            Office::Direct(desk) => desk.revocations(cursor).await.map_err(Failure::failed)?,
        };
        all.extend(page.revocations);
        match page.next {
            Some(next) => cursor = Some(next),
            None => break,
        }
    }
    // A page may show a revocation twice.
    all.sort_by(|a, b| (b.stored.revoked_at, &a.id).cmp(&(a.stored.revoked_at, &b.id)));
    all.dedup_by(|a, b| a.id == b.id);
    Ok(all)
}

fn rows(revocations: &[RevocationView]) -> Result<(), Failure> {
    let row = |view: &RevocationView| {
        let stored = &view.stored;
        let (kind, issuer, name) = parts(&stored.target);
        vec![
            show::time(stored.revoked_at),
            kind.to_owned(),
            issuer.to_owned(),
            name.to_owned(),
            stored.issued_until.map_or("-".to_owned(), show::time),
            show::time(stored.until),
            stored.reason.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    };
    let heads = ["revoked", "kind", "issuer", "name", "issued until", "until", "reason"];
    show::table(&heads, &revocations.iter().map(row).collect::<Vec<_>>())
}

fn parts(target: &RevocationTarget) -> (&'static str, &str, &str) {
    let kind = crate::desk::revocations::kind(target);
    match target {
        RevocationTarget::Token { issuer, token_id: name }
        | RevocationTarget::Session { issuer, session: name }
        | RevocationTarget::Subject { issuer, subject: name }
        | RevocationTarget::Client { issuer, client_id: name }
        | RevocationTarget::SigningKey { issuer, key_id: name } => (kind, issuer, name),
        RevocationTarget::TokenDigest { digest } => (kind, "-", digest),
    }
}
