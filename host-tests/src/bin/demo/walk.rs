//! The walk: what is sent, and what must come back.

use std::time::{Duration, Instant};

use anyhow::Result;
use wardgate_host_tests::{
    envoy::{
        client::{Answer, Request},
        wait::wait_for,
    },
    upstream::Seen,
};

use super::{screen::Screen, stage::Stage, tokens};

/// What takes longer than this does not come: a filter asks again within two seconds.
const PATIENCE: Duration = Duration::from_secs(10);

/// Walks through everything that the README promises.
pub(crate) fn walk(stage: &mut Stage, screen: &mut Screen) -> Result<()> {
    // The filter loads its tables from the sidecar.
    let gate = stage.gate()?;
    wait_for("the tables", PATIENCE, || {
        let answer =
            Request::get("/invoices/1").bearer(&tokens::issue(&stage.sidecar, "alice", &[])?);
        Ok(answer.send(gate).ok().filter(|answer| answer.status != 503))
    })?;
    let mut walk = Walk { stage, screen };
    walk.good_tokens()?;
    walk.bad_tokens()?;
    walk.roles()?;
    walk.api_keys()?;
    walk.revocations()?;
    walk.logins()?;
    walk.bound_tokens()?;
    walk.rate_limits()?;
    walk.forgeries()?;
    walk.without_the_sidecar()
}

/// The walk, where it stands.
pub(crate) struct Walk<'a> {
    pub(crate) stage: &'a mut Stage,
    pub(crate) screen: &'a mut Screen,
}

impl Walk<'_> {
    fn good_tokens(&mut self) -> Result<()> {
        self.screen.heading("Tokens that are good");
        for algorithm in ["RS256", "ES256", "EdDSA"] {
            let more = ["--role", "viewer", "--algorithm", algorithm];
            let token = self.issue("alice", &more)?;
            self.read(&format!("valid token, {algorithm}"), &token, "200")?;
        }
        Ok(())
    }

    fn bad_tokens(&mut self) -> Result<()> {
        self.screen.heading("Tokens that are not");
        let good = self.issue("alice", &["--role", "viewer"])?;
        let expired = self.issue("alice", &["--role", "viewer", "--expires-in", "-120"])?;
        let elsewhere = self.issue("alice", &["--role", "viewer", "--audience", "payroll"])?;
        self.read("expired two minutes ago", &expired, "401 token-expired")?;
        self.read("for another audience", &elsewhere, "401 token-audience-mismatch")?;
        self.read("of an unknown issuer", &tokens::of_a_stranger()?, "401 token-issuer-unknown")?;
        self.read(
            "roles changed, signature kept",
            &tokens::promoted(&good)?,
            "401 token-signature-invalid",
        )?;
        self.read("alg: none", &tokens::unsigned(&good)?, "401 token-algorithm-refused")?;
        let request = Request::get("/invoices/1");
        self.send("no credential", &request, "401 credential-missing")?;
        self.send(
            "two tokens in one request",
            &request.bearer(&good).bearer(&expired),
            "400 credential-repeated",
        )?;
        self.send("a public page needs none", &Request::get("/welcome"), "200")
    }

    fn roles(&mut self) -> Result<()> {
        self.screen.heading("Roles");
        let viewer = self.issue("alice", &["--role", "viewer"])?;
        let editor = self.issue("bob", &["--role", "editor"])?;
        let nobody = self.issue("carl", &[])?;
        let olga = self.issue("olga", &[])?;
        let write = Request::new("POST", "/invoices/1").body("{}");
        let delete = Request::new("DELETE", "/invoices/1");
        self.send("a viewer reads", &Request::get("/invoices/1").bearer(&viewer), "200")?;
        self.send("a viewer writes", &write.clone().bearer(&viewer), "403 permission-missing")?;
        self.send("an editor writes", &write.bearer(&editor), "200")?;
        self.send(
            "an editor reads: inherited from viewer",
            &Request::get("/invoices/1").bearer(&editor),
            "200",
        )?;
        self.send("an editor deletes", &delete.clone().bearer(&editor), "403 permission-missing")?;
        self.send(
            "olga deletes: owner by the policy, not the token",
            &delete.bearer(&olga),
            "200",
        )?;
        self.read("somebody without a role reads", &nobody, "403 permission-missing")?;
        self.send(
            "a path that no route has",
            &Request::get("/payroll").bearer(&olga),
            "403 route-missing",
        )?;
        let climbing = Request::get("/invoices/..%2f..%2fpayroll").bearer(&viewer);
        self.send("a path that could be read in two ways", &climbing, "400")
    }

    fn api_keys(&mut self) -> Result<()> {
        self.screen.heading("API keys");
        let (key, id) = tokens::create_api_key(&self.stage.sidecar, "ci", "viewer")?;
        // The key is in every worker within some milliseconds; this asks until it is.
        let good = self.until(&Request::get("/invoices/1").header("x-api-key", &key), "200")?;
        self.screen.compare("good", "200", &good);
        self.key("last letter mistyped", &tokens::mistyped(&key), "401 api-key-malformed")?;
        let two = Request::get("/invoices/1").header("x-api-key", &key).header("x-api-key", "wg_");
        self.send("two keys in one request", &two, "400 credential-repeated")?;
        self.key(
            "well-formed, but nobody made it",
            &tokens::unknown_api_key()?,
            "401 api-key-unknown",
        )?;
        self.stage.sidecar.command(&["apikey", "revoke", &id])?;
        let request = Request::get("/invoices/1").header("x-api-key", &key);
        self.soon("revoked", &request, "401 api-key-revoked")
    }

    fn revocations(&mut self) -> Result<()> {
        self.screen.heading("Revocation: good a moment ago, refused by every worker now");
        let issuer = self.stage.sidecar.issuer();
        let read = |token: &str| Request::get("/invoices/1").bearer(token);
        let token = self.issue("mallory", &["--role", "viewer"])?;
        let phone = self.issue("mallory", &["--role", "viewer"])?;
        self.send("mallory's token", &read(&token), "200")?;
        self.send("another token of mallory", &read(&phone), "200")?;
        self.stage.sidecar.command(&["token", "revoke", &token])?;
        self.soon("the first one, revoked", &read(&token), "401 token-revoked")?;
        self.send("the other one", &read(&phone), "200")?;
        let all = ["token", "revoke", "--subject", "mallory", "--issuer", &issuer];
        self.stage.sidecar.command(&all)?;
        self.soon("all of mallory's, revoked", &read(&phone), "401 token-revoked")?;
        let alice = self.issue("alice", &["--role", "viewer"])?;
        self.send("alice has nothing to do with it", &read(&alice), "200")
    }

    fn rate_limits(&mut self) -> Result<()> {
        self.screen.heading("A rate limit: three reports a minute for each person");
        let request = |token: &str| Request::get("/reports/1").bearer(token);
        let alice = self.issue("alice", &["--role", "viewer"])?;
        for turn in ["first", "second", "third"] {
            self.send(&format!("alice's {turn}"), &request(&alice), "200")?;
        }
        self.send("alice's fourth", &request(&alice), "429 rate-limited")?;
        let bob = self.issue("bob", &["--role", "viewer"])?;
        self.send("bob's first", &request(&bob), "200")
    }

    /// Sends until the answer is as expected, and says how long it took.
    pub(crate) fn soon(&mut self, sent: &str, request: &Request, expected: &str) -> Result<()> {
        let start = Instant::now();
        let got = self.until(request, expected)?;
        let elapsed = start.elapsed().as_millis();
        self.screen.compare(sent, expected, &got);
        self.screen.note(&format!("refused {elapsed} ms after it was acknowledged"));
        Ok(())
    }

    fn forgeries(&mut self) -> Result<()> {
        self.screen.heading("Forged identity headers: what the upstream sees");
        let token = self.issue("alice", &["--role", "viewer"])?;
        let request = Request::get("/invoices/1").bearer(&token);
        let forged = request
            .header("X-Wardgate-Subject", "olga")
            .header("x-wardgate-subject", "olga")
            .header("x-wardgate-ROLES", "owner");
        let answer = forged.send(self.stage.gate()?)?;
        let seen: Seen = serde_json::from_slice(&answer.body)?;
        let shown = |name: &str| seen.header(name).join(" and ");
        self.screen.compare(
            "x-wardgate-subject: olga, twice",
            "alice",
            &shown("x-wardgate-subject"),
        );
        self.screen.compare("x-wardgate-roles: owner", "viewer", &shown("x-wardgate-roles"));
        self.screen.compare("the token itself", "", &shown("authorization"));
        Ok(())
    }

    fn without_the_sidecar(&mut self) -> Result<()> {
        let token = self.issue("alice", &["--role", "viewer"])?;
        let (known, _) = tokens::create_api_key(&self.stage.sidecar, "known", "viewer")?;
        let (unseen, _) = tokens::create_api_key(&self.stage.sidecar, "unseen", "viewer")?;
        // The filter has now seen the token and one of the keys, and holds the other.
        for request in [read("before").bearer(&token), read("before").header("x-api-key", &known)] {
            self.until(&request, "200")?;
        }
        self.until_in_audit_log("before", 2)?;

        self.screen.heading("The sidecar is killed");
        self.stage.sidecar.kill();
        self.send("a token seen before", &read("away").bearer(&token), "200")?;
        self.send("an API key seen before", &read("away").header("x-api-key", &known), "200")?;
        let unshown = read("away").header("x-api-key", &unseen);
        self.send("an API key that nobody has shown yet", &unshown, "200")?;
        self.screen.compare(
            "events of these in the audit log",
            "0",
            &self.in_audit_log("away")?.to_string(),
        );

        self.screen.heading("The sidecar is back");
        self.stage.sidecar.start()?;
        self.until_in_audit_log("away", 3)?;
        self.screen.compare(
            "events of these in the audit log",
            "3",
            &self.in_audit_log("away")?.to_string(),
        );
        self.stage.sidecar.command(&["token", "revoke", &token])?;
        self.soon("the token, revoked", &read("back").bearer(&token), "401 token-revoked")
    }

    fn issue(&self, subject: &str, more: &[&str]) -> Result<String> {
        tokens::issue(&self.stage.sidecar, subject, more)
    }

    pub(crate) fn read(&mut self, sent: &str, token: &str, expected: &str) -> Result<()> {
        self.send(sent, &Request::get("/invoices/1").bearer(token), expected)
    }

    fn key(&mut self, sent: &str, key: &str, expected: &str) -> Result<()> {
        self.send(sent, &Request::get("/invoices/1").header("x-api-key", key), expected)
    }

    pub(crate) fn send(&mut self, sent: &str, request: &Request, expected: &str) -> Result<()> {
        let got = shown(&request.send(self.stage.gate()?)?);
        self.screen.compare(sent, expected, &got);
        Ok(())
    }

    /// Repeats the request until the answer is as expected, or patience ends; gives the last answer.
    fn until(&self, request: &Request, expected: &str) -> Result<String> {
        let gate = self.stage.gate()?;
        let start = Instant::now();
        wait_for(expected, PATIENCE.saturating_mul(2), || {
            let got = shown(&request.send(gate)?);
            Ok((got == expected || start.elapsed() > PATIENCE).then_some(got))
        })
    }

    fn until_in_audit_log(&self, word: &str, count: usize) -> Result<()> {
        let start = Instant::now();
        wait_for("the audit log", PATIENCE.saturating_mul(2), || {
            Ok((self.in_audit_log(word)? >= count || start.elapsed() > PATIENCE).then_some(()))
        })
    }

    /// How many events of requests for this invoice are in the file.
    fn in_audit_log(&self, word: &str) -> Result<usize> {
        let path = format!("/invoices/{word}");
        let events = self.stage.sidecar.audit()?;
        let is_meant = |event: &&serde_json::Value| {
            event.pointer("/path").and_then(serde_json::Value::as_str) == Some(path.as_str())
        };
        Ok(events.iter().filter(is_meant).count())
    }
}

fn read(word: &str) -> Request {
    Request::get(format!("/invoices/{word}"))
}

/// Status and reason, as the columns show them.
fn shown(answer: &Answer) -> String {
    match answer.reason() {
        Some(reason) => format!("{} {reason}", answer.status),
        None => answer.status.to_string(),
    }
}
