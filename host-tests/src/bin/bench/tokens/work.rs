//! A client of the token service on one connection.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use wardgate_host_tests::envoy::client::{Connection, Request};

/// Id and secret of a client, as the header has them.
#[derive(Clone)]
pub(super) struct Bearer(String);

impl Bearer {
    pub(super) fn new(id: &str, secret: &str) -> Self {
        Self(format!("Basic {}", STANDARD.encode(format!("{id}:{secret}"))))
    }
}

/// One connection, and the tokens that came on it.
pub(super) struct Worker {
    connection: Connection,
    client: Bearer,
    user: String,
    access_token: String,
    refresh_token: String,
    hoard: Vec<String>,
    pub(super) latencies: Vec<Duration>,
}

impl Worker {
    pub(super) fn open(address: SocketAddr, client: &Bearer, user: String) -> Result<Self> {
        Ok(Self {
            connection: Connection::open(address)?,
            client: client.clone(),
            user,
            access_token: String::new(),
            refresh_token: String::new(),
            hoard: Vec::new(),
            latencies: Vec::new(),
        })
    }

    /// Measures each of `count` requests.
    pub(super) fn time(
        &mut self,
        count: usize,
        act: impl Fn(&mut Self) -> Result<()>,
    ) -> Result<()> {
        for _ in 0..count {
            let begun = Instant::now();
            act(self)?;
            self.latencies.push(begun.elapsed());
        }
        Ok(())
    }

    pub(super) fn client_credentials(&mut self) -> Result<&str> {
        let answer = self.form("/oauth2/token", "grant_type=client_credentials")?;
        self.access_token = text(&answer, "access_token")?;
        Ok(&self.access_token)
    }

    pub(super) fn introspect(&mut self) -> Result<()> {
        let answer = self.form("/oauth2/introspect", &format!("token={}", self.access_token))?;
        ensure!(answer.get("active") == Some(&Value::Bool(true)), "not active: {answer}");
        Ok(())
    }

    /// Gets this many tokens, to be revoked.
    pub(super) fn hoard(&mut self, count: usize) -> Result<()> {
        for _ in 0..count {
            let token = self.client_credentials()?.to_owned();
            self.hoard.push(token);
        }
        Ok(())
    }

    pub(super) fn revoke(&mut self) -> Result<()> {
        let token = self.hoard.pop().context("no token is left")?;
        self.form("/oauth2/revoke", &format!("token={token}")).map(drop)
    }

    pub(super) fn login(&mut self, password: &str) -> Result<()> {
        let body = json!({"name": self.user, "password": password}).to_string();
        let request = Request::new("POST", "/auth/login");
        let request = request.header("content-type", "application/json").body(body);
        let answer = self.exchange(&request)?;
        self.refresh_token = text(&answer, "refresh_token")?;
        Ok(())
    }

    pub(super) fn refresh(&mut self) -> Result<()> {
        let form = format!("grant_type=refresh_token&refresh_token={}", self.refresh_token);
        let answer = self.form("/oauth2/token", &form)?;
        self.refresh_token = text(&answer, "refresh_token")?;
        Ok(())
    }

    fn form(&mut self, path: &str, form: &str) -> Result<Value> {
        let kind = "application/x-www-form-urlencoded";
        self.exchange(&Request::new("POST", path).header("content-type", kind).body(form))
    }

    fn exchange(&mut self, request: &Request) -> Result<Value> {
        let request = request.clone().header("authorization", &self.client.0);
        let answer = self.connection.exchange(&request)?;
        let said = String::from_utf8_lossy(&answer.body);
        ensure!(answer.status == 200, "{}: {said}", answer.status);
        Ok(if answer.body.is_empty() { Value::Null } else { answer.json() })
    }
}

fn text(answer: &Value, name: &str) -> Result<String> {
    let text = answer.get(name).and_then(Value::as_str).map(str::to_owned);
    text.with_context(|| format!("an answer without {name}"))
}
