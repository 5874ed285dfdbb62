//! The part of the walk where an application logs somebody in, and where tokens are bound to keys.

use anyhow::{Context as _, Result};
use serde_json::{Map, Value, json};
use wardgate_host_tests::envoy::{
    client::{Answer, Request},
    client_key::ClientKey,
    issuer::now,
};

use super::stage::ENVOY;
use super::walk::Walk;

/// What the application logs its users in with.
const PASSWORD: &str = "four words and 1 comma, long";

impl Walk<'_> {
    /// Password, access token, refresh tokens that rotate, and one that was stolen.
    pub(crate) fn logins(&mut self) -> Result<()> {
        self.screen.heading("Logins: the sidecar gives tokens, refreshes and ends them");
        let shop = self.register(&json!({
            "client_id": "shop", "first_party": true, "scope": "read",
            "grant_types": ["refresh_token"],
        }))?;
        let dora = json!({"name": "dora", "password": PASSWORD, "roles": ["viewer"]});
        self.stage.sidecar.ask("POST", "/admin/v1/users", &dora)?;
        let login = |password: &str| {
            let body = json!({"name": "dora", "password": password}).to_string();
            let request = Request::new("POST", "/auth/login").body(body);
            request.header("content-type", "application/json").header("authorization", &shop)
        };
        self.ask("dora logs in with a wrong password", &login("no"), "400 invalid-grant")?;
        let first = self.ask("dora logs in", &login(PASSWORD), "200")?;
        self.read("her access token reads", &text(&first, "access_token")?, "200")?;

        let refresh = |token: &str| {
            form(&format!("grant_type=refresh_token&refresh_token={token}"))
                .header("authorization", &shop)
        };
        let stolen = text(&first, "refresh_token")?;
        let second = self.ask("her refresh token, for a new pair", &refresh(&stolen), "200")?;
        let again = self.ask("the same again: its answer was lost", &refresh(&stolen), "200")?;
        let is_same = if again.body == second.body { "the same pair" } else { "another pair" };
        self.screen.compare("what came this time", "the same pair", is_same);
        let third = self.ask("the next one", &refresh(&text(&second, "refresh_token")?), "200")?;
        let access = text(&third, "access_token")?;
        self.read("its access token reads", &access, "200")?;
        self.ask("the first one, by a thief", &refresh(&stolen), "400 invalid_grant")?;
        let request = Request::get("/invoices/1").bearer(&access);
        self.soon("so the login has ended everywhere", &request, "401 token-revoked")
    }

    /// A token that is worth nothing without a key.
    pub(crate) fn bound_tokens(&mut self) -> Result<()> {
        self.screen.heading("A token that is bound to a key (DPoP)");
        let robot = self.register(&json!({
            "client_id": "robot", "roles": ["viewer"], "grant_types": ["client_credentials"],
        }))?;
        let key = ClientKey::p256()?;
        let uri = format!("{}/oauth2/token", self.stage.sidecar.issuer());
        let request = form("grant_type=client_credentials")
            .header("authorization", &robot)
            .header("dpop", key.proof(None, claims("POST", &uri, "ask"))?);
        let answer = self.ask("a robot asks for one with a proof of its key", &request, "200")?;
        let token = text(&answer, "access_token")?;

        let uri = format!("http://127.0.0.1:{ENVOY}/invoices/1");
        let shown = |proof: &str| {
            let request = Request::get("/invoices/1");
            request.header("authorization", format!("DPoP {token}")).header("dpop", proof)
        };
        let proof = key.proof(Some(&token), claims("GET", &uri, "read"))?;
        self.send("the token with a proof", &shown(&proof), "200")?;
        self.send("the same proof again", &shown(&proof), "401 dpop-proof-replayed")?;
        let thief = ClientKey::p256()?.proof(Some(&token), claims("GET", &uri, "steal"))?;
        self.send("a proof of a thief's key", &shown(&thief), "401 token-binding-mismatch")?;
        self.read("the token alone, as a bearer", &token, "401 token-binding-mismatch")
    }

    /// Registers a client; its `Authorization` header.
    fn register(&self, client: &Value) -> Result<String> {
        let made = self.stage.sidecar.ask("POST", "/admin/v1/clients", client)?;
        let member = |name: &str| {
            let text = made.get(name).and_then(Value::as_str);
            text.with_context(|| format!("a new client without `{name}`"))
        };
        let basic = format!("{}:{}", member("client_id")?, member("client_secret")?);
        Ok(format!("Basic {}", base64(basic.as_bytes())))
    }

    /// Asks the sidecar, without a gate.
    fn ask(&mut self, sent: &str, request: &Request, expected: &str) -> Result<Answer> {
        let answer = request.send(self.stage.sidecar.address())?;
        let error = answer.json().get("error").and_then(Value::as_str).map(str::to_owned);
        let got = match answer.reason().or(error) {
            Some(reason) => format!("{} {reason}", answer.status),
            None => answer.status.to_string(),
        };
        self.screen.compare(sent, expected, &got);
        Ok(answer)
    }
}

fn form(form: &str) -> Request {
    let kind = "application/x-www-form-urlencoded";
    Request::new("POST", "/oauth2/token").header("content-type", kind).body(form)
}

/// The claims of a proof (RFC 9449 §4.2).
fn claims(method: &str, uri: &str, id: &str) -> Map<String, Value> {
    let members: [(&str, Value); 4] =
        [("jti", id.into()), ("htm", method.into()), ("htu", uri.into()), ("iat", now().into())];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn text(answer: &Answer, name: &str) -> Result<String> {
    let json = answer.json();
    let text = json.get(name).and_then(Value::as_str);
    Ok(text.with_context(|| format!("the answer has no `{name}`"))?.to_owned())
}
