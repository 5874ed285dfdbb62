//! Credentials of every kind, requests that show them without pause, and their revocation.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use super::ledger::{Ledger, Said, Seen};
use crate::{
    envoy::{
        client::{Answer, Connection, Request},
        issuer::{Issuer, now},
        sidecar::ask_on,
    },
    mesh::viewer_token,
};

/// Reasons of the gate that mean: it cannot decide just now.
const UNAVAILABLE: [&str; 2] = ["not-ready", "sidecar-unreachable"];
/// Reasons that mean: revoked.
const REVOKED: [&str; 2] = ["token-revoked", "api-key-revoked"];
/// An answer that takes longer is none.
const ANSWER_DEADLINE: Duration = Duration::from_secs(2);
/// Between two requests of one prober; what all of them together send is the load.
const PAUSE: Duration = Duration::from_millis(1);
/// A change that takes longer is not acknowledged; it is tried again.
const ADMIN_DEADLINE: Duration = Duration::from_secs(5);
/// A revoked credential is shown for this long: longer than any bound.
const SHOWN_AFTER: Duration = Duration::from_secs(20);

/// What can be shown and revoked.
#[derive(Clone, Debug)]
struct Credential {
    number: u64,
    request: Request,
    /// Path and body of the revocation.
    revocation: (String, Value),
    acknowledged: Option<Instant>,
}

/// All credentials that are being shown, and the judge of what happens.
pub(super) struct Crowd {
    shown: Mutex<Vec<Credential>>,
    next: Mutex<u64>,
    ledger: Mutex<Ledger>,
}

impl Crowd {
    pub(super) fn new(ledger: Ledger) -> Self {
        Self { shown: Mutex::default(), next: Mutex::new(0), ledger: Mutex::new(ledger) }
    }

    pub(super) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// Makes a credential of the next kind. An API key is made by the sidecar; the rest needs nobody.
    pub(super) fn make(&self, issuer: &Issuer, admin: &mut Connection) -> Result<()> {
        let number = {
            let mut next = lock(&self.next);
            *next = next.saturating_add(1);
            *next
        };
        let (request, revocation) =
            if number % 5 == 0 { api_key(number, admin)? } else { token(number, issuer)? };
        self.ledger().made(number, (number % 5 == 0).then(Instant::now));
        lock(&self.shown).push(Credential { number, request, revocation, acknowledged: None });
        Ok(())
    }

    /// Revokes the oldest credential that is not.
    pub(super) fn revoke_one(&self, admin: &mut Connection) -> Result<()> {
        let oldest = {
            let shown = lock(&self.shown);
            shown.iter().find(|credential| credential.acknowledged.is_none()).cloned()
        };
        let oldest = oldest.context("nothing to revoke")?;
        self.ledger().asked(oldest.number, Instant::now());
        let (path, body) = &oldest.revocation;
        let mut request = Request::new("POST", path);
        if !body.is_null() {
            request = request.header("content-type", "application/json").body(body.to_string());
        }
        let answer = admin.exchange(&request)?;
        // An API key that is revoked already was revoked by an attempt whose answer was lost.
        let again = answer.status == 409 && path.ends_with("/revoke");
        ensure!(again || (200..300).contains(&answer.status), "{path}: {answer:?}");
        let acknowledged = Instant::now();
        self.ledger().acknowledged(oldest.number, acknowledged);
        let mut shown = lock(&self.shown);
        // Long gone ones make room; the judge remembers them.
        shown.retain(|known| {
            known.acknowledged.is_none_or(|at| acknowledged.duration_since(at) < SHOWN_AFTER)
        });
        let found = shown.iter_mut().find(|known| known.number == oldest.number);
        if let Some(known) = found {
            known.acknowledged = Some(acknowledged);
        }
        Ok(())
    }

    /// How many are shown that nobody has revoked.
    pub(super) fn good(&self) -> usize {
        lock(&self.shown).iter().filter(|known| known.acknowledged.is_none()).count()
    }

    /// Shows all credentials in turn to one Envoy until told to end; whatever happens is judged.
    pub(super) fn show(&self, envoy: usize, address: SocketAddr, goes_on: impl Fn() -> bool) {
        let mut connection = None;
        let mut turn = 0_usize;
        while goes_on() {
            let credential = {
                let shown = lock(&self.shown);
                turn = turn.saturating_add(1).checked_rem(shown.len()).unwrap_or(0);
                shown.get(turn).cloned()
            };
            let Some(credential) = credential else { continue };
            let sent = Instant::now();
            let answer = exchange(&mut connection, address, &credential.request);
            let said = answer.as_ref().map_or(Said::Unavailable, said);
            self.ledger().saw(Seen { credential: credential.number, envoy, sent, said });
            std::thread::sleep(if answer.is_ok() { PAUSE } else { PAUSE.saturating_mul(20) });
        }
    }
}

fn exchange(
    connection: &mut Option<Connection>,
    address: SocketAddr,
    request: &Request,
) -> Result<Answer> {
    let mut open = match connection.take() {
        Some(open) => open,
        None => Connection::open(address)?,
    };
    open.set_deadline(ANSWER_DEADLINE)?;
    let answer = open.exchange(request)?;
    if answer.header("connection").is_none_or(|value| value != "close") {
        *connection = Some(open);
    }
    Ok(answer)
}

fn said(answer: &Answer) -> Said {
    let reason = answer.reason().unwrap_or_default();
    match answer.status {
        200..=299 => Said::Admitted,
        401 if reason == "api-key-unknown" => Said::Unknown,
        401 if REVOKED.contains(&reason.as_str()) => Said::Revoked,
        // Without a reason it is Envoy that answers, whose filter is being made anew.
        503 if reason.is_empty() || UNAVAILABLE.contains(&reason.as_str()) => Said::Unavailable,
        _ => Said::Other,
    }
}

/// A token that is revoked by its id, its session, its subject or its client.
fn token(number: u64, issuer: &Issuer) -> Result<(Request, (String, Value))> {
    let name = |kind: &str| format!("{kind}-{number}");
    let claims = json!({
        "jti": name("token"), "sid": name("session"), "client_id": name("client"),
        "iat": now().saturating_sub(1),
    });
    let token = viewer_token(issuer, &name("subject"), &claims)?;
    let iss = issuer.name();
    let target = match number % 5 {
        1 => json!({"kind": "token", "issuer": iss, "token_id": name("token")}),
        2 => json!({"kind": "session", "issuer": iss, "session": name("session")}),
        3 => json!({"kind": "subject", "issuer": iss, "subject": name("subject")}),
        _ => json!({"kind": "client", "issuer": iss, "client_id": name("client")}),
    };
    let revocation = ("/admin/v1/revocations".to_owned(), json!({"target": target}));
    Ok((Request::get("/things/1").bearer(&token), revocation))
}

fn api_key(number: u64, admin: &mut Connection) -> Result<(Request, (String, Value))> {
    let body = json!({"name": format!("chaos-{number}"), "roles": ["viewer"]});
    let made = ask_on(admin, "POST", "/admin/v1/api-keys", &body)?;
    let text = |name: &str| made.get(name).and_then(Value::as_str).context("no API key");
    let path = format!("/admin/v1/api-keys/{}/revoke", text("id")?);
    Ok((Request::get("/things/1").header("x-api-key", text("api_key")?), (path, Value::Null)))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Opens an admin connection to any sidecar that answers, beginning with this one.
pub(super) fn any_admin(sockets: &[PathBuf], first: usize) -> Result<Connection> {
    let mut last = anyhow::anyhow!("no sidecar");
    for socket in sockets.iter().cycle().skip(first).take(sockets.len()) {
        match Connection::open_socket(socket) {
            Ok(connection) => {
                connection.set_deadline(ADMIN_DEADLINE)?;
                return Ok(connection);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}
