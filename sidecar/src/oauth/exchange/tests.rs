use serde_json::{Map, Value, json};
use wardgate_core::time::UnixSeconds;

use super::{Exchanged, MAX_ACTORS, TokenFacts, Wish, decide};
use crate::oauth::ExchangePermission;
use crate::oauth::scopes::Scopes;

const NOW: u64 = 1000;

fn object(value: Value) -> Map<String, Value> {
    let Value::Object(members) = value else { panic!("no object") };
    members
}

/// A user's token for `orders` and `billing`, with these claims changed; null takes one away.
fn subject(changes: Value) -> TokenFacts {
    let mut claims = object(json!({
        "iss": "i", "sub": "alice", "aud": ["orders", "billing"], "exp": NOW + 100, "iat": 900,
        "jti": "1", "client_id": "app", "scope": "read write", "roles": ["viewer"], "sid": "s",
        "tenant": "blue",
    }));
    for (name, value) in object(changes) {
        claims.shift_remove(&name);
        if !value.is_null() {
            claims.insert(name, value);
        }
    }
    TokenFacts { claims, subject: "alice".to_owned(), expires_at: UnixSeconds(NOW).plus(100) }
}

fn actor(client_id: &str, ends: u64) -> TokenFacts {
    let claims = object(json!({"sub": "job-7", "client_id": client_id}));
    TokenFacts { claims, subject: "job-7".to_owned(), expires_at: UnixSeconds(NOW).plus(ends) }
}

/// What is asked, beside the subject token.
#[derive(Clone, Default)]
struct Asked {
    permission: Value,
    actor: Option<TokenFacts>,
    audiences: &'static [&'static str],
    scope: Option<&'static str>,
    is_bound: bool,
}

fn asked(permission: Value) -> Asked {
    Asked { permission, ..Asked::default() }
}

fn ask(subject: &TokenFacts, asked: &Asked) -> Result<Exchanged, (&'static str, String)> {
    let permission: ExchangePermission = serde_json::from_value(asked.permission.clone()).unwrap();
    let wish = Wish {
        client_id: "orders-service",
        permission: &permission,
        subject,
        actor: asked.actor.as_ref(),
        audiences: asked.audiences.iter().map(|&it| it.to_owned()).collect(),
        scope: asked.scope.map(|text| Scopes::parse(text).unwrap()),
        lifetime_seconds: 60,
        is_bound: asked.is_bound,
        issuer: "i",
        now: UnixSeconds(NOW),
    };
    decide(&wish).map_err(|error| (error.code(), error.to_string()))
}

fn usual() -> Value {
    json!({"subject_audiences": ["orders"]})
}

#[track_caller]
fn refused(subject: &TokenFacts, asked: &Asked, code: &str, piece: &str) {
    let (found, text) = ask(subject, asked).unwrap_err();
    assert_eq!(found, code, "{text}");
    assert!(text.contains(piece), "{text}");
}

#[test]
fn a_token_is_given_for_the_same_subject_and_says_who_acts() {
    let exchanged = ask(&subject(json!({})), &asked(usual())).unwrap();
    assert_eq!(exchanged.subject, "alice");
    assert_eq!(exchanged.audiences, ["orders", "billing"]);
    assert_eq!(exchanged.scope.to_string(), "read write");
    assert_eq!(exchanged.roles, ["viewer"]);
    assert_eq!(exchanged.expires_in_seconds, 60);
    let expected = json!({
        "sid": "s", "tenant": "blue",
        "act": {"iss": "i", "sub": "orders-service", "client_id": "orders-service"},
    });
    assert_eq!(Value::Object(exchanged.claims), expected);
}

#[test]
fn a_client_takes_only_tokens_that_were_meant_for_it() {
    let code = "invalid_request";
    refused(&subject(json!({})), &asked(json!({})), code, "may exchange");
    refused(&subject(json!({"aud": "billing"})), &asked(usual()), code, "may exchange");
    for right in [json!({"client_id": "orders-service"}), json!({"aud": "orders-service"})] {
        assert!(ask(&subject(right), &asked(json!({}))).is_ok());
    }
}

#[test]
fn audiences_become_fewer_and_never_others() {
    let check = |permission: Value, audiences: &'static [&'static str]| {
        let asked = Asked { permission, audiences, ..Asked::default() };
        ask(&subject(json!({})), &asked).map(|it| it.audiences.join(" ")).map_err(|it| it.0)
    };
    let narrow = json!({"subject_audiences": ["orders"], "audiences": ["billing"]});
    let added = json!({"subject_audiences": ["orders"], "added_audiences": ["stock"]});
    let wrong = Err("invalid_target");
    assert_eq!(check(usual(), &["billing"]), Ok("billing".to_owned()));
    assert_eq!(check(usual(), &["stock"]), wrong);
    assert_eq!(check(usual(), &["billing", "stock"]), wrong);
    assert_eq!(check(narrow.clone(), &[]), Ok("billing".to_owned()));
    assert_eq!(check(narrow, &["orders"]), wrong);
    assert_eq!(check(added.clone(), &[]), Ok("orders billing".to_owned()));
    assert_eq!(check(added, &["stock"]), Ok("stock".to_owned()));
    assert_eq!(check(json!({"subject_audiences": ["orders"], "audiences": []}), &[]), wrong);
}

#[test]
fn scopes_become_fewer_and_never_none() {
    let check = |subject: &TokenFacts, permission: Value, scope| {
        let asked = Asked { permission, scope, ..Asked::default() };
        ask(subject, &asked).map(|it| it.scope.to_string()).map_err(|it| it.0)
    };
    let token = subject(json!({}));
    let reads = json!({"subject_audiences": ["orders"], "scopes": ["read"]});
    let wrong = Err("invalid_scope");
    assert_eq!(check(&token, usual(), Some("write")), Ok("write".to_owned()));
    assert_eq!(check(&token, usual(), Some("admin")), wrong);
    assert_eq!(check(&token, usual(), Some("")), wrong);
    assert_eq!(check(&token, reads.clone(), None), Ok("read".to_owned()));
    assert_eq!(check(&token, reads.clone(), Some("write")), wrong);
    let nothing = json!({"subject_audiences": ["orders"], "scopes": []});
    assert_eq!(check(&token, nothing, None), wrong);
    // Nothing restricts this one, and nothing does after it; no scope can be made up for it.
    let free = subject(json!({"scope": null}));
    assert_eq!(check(&free, reads.clone(), None), Ok(String::new()));
    assert_eq!(check(&free, usual(), Some("read")), wrong);
    // Scopes of an odd type restrict to nothing.
    assert_eq!(check(&subject(json!({"scope": 1})), reads, None), wrong);
}

#[test]
fn a_new_token_ends_with_the_old_ones() {
    let with = |actor: Option<TokenFacts>, ends: u64| {
        let permission = json!({"subject_audiences": ["orders"], "actor": true});
        let mut token = subject(json!({}));
        token.expires_at = UnixSeconds(NOW).plus(ends);
        ask(&token, &Asked { permission, actor, ..Asked::default() })
            .map(|it| it.expires_in_seconds)
            .map_err(|it| it.0)
    };
    assert_eq!(with(None, 100), Ok(60));
    assert_eq!(with(None, 10), Ok(10));
    assert_eq!(with(Some(actor("orders-service", 5)), 100), Ok(5));
    assert_eq!(with(None, 0), Err("invalid_request"));
}

#[test]
fn an_actor_is_named_by_a_token_of_the_client_where_that_is_permitted() {
    let token = subject(json!({}));
    let permission = json!({"subject_audiences": ["orders"], "actor": true});
    let with = |permission: &Value, actor| Asked {
        permission: permission.clone(),
        actor: Some(actor),
        ..Asked::default()
    };
    let own = with(&permission, actor("orders-service", 100));
    let exchanged = ask(&token, &own).unwrap();
    assert_eq!(exchanged.claims["act"]["sub"], "job-7");
    let other = with(&permission, actor("other", 100));
    refused(&token, &other, "invalid_request", "another client");
    let usual = with(&usual(), actor("orders-service", 100));
    refused(&token, &usual, "invalid_request", "may not name another actor");
}

#[test]
fn may_act_names_who_alone_may_act() {
    let check = |may_act: Value, right: bool| {
        let token = subject(json!({"may_act": may_act}));
        assert_eq!(ask(&token, &asked(usual())).is_ok(), right, "{may_act}");
    };
    check(json!({"sub": "orders-service"}), true);
    check(json!({"sub": "orders-service", "iss": "i"}), true);
    check(json!({"sub": "other"}), false);
    check(json!({"sub": "orders-service", "iss": "j"}), false);
    check(json!({"sub": "orders-service", "email": "a@b"}), false);
    check(json!({}), false);
    check(json!("orders-service"), false);
    // It goes on to the new token: whoever gets that may not act either.
    let token = subject(json!({"may_act": {"sub": "orders-service"}}));
    let exchanged = ask(&token, &asked(usual())).unwrap();
    assert_eq!(exchanged.claims["may_act"], json!({"sub": "orders-service"}));
}

#[test]
fn the_chain_of_actors_grows_to_its_bound_and_is_never_cut() {
    let mut act = json!({"sub": "first"});
    for length in 1..MAX_ACTORS {
        let token = subject(json!({"act": act}));
        let exchanged = ask(&token, &asked(usual())).unwrap();
        act = exchanged.claims["act"].clone();
        assert_eq!(act["sub"], "orders-service");
        let mut depth = 1;
        let mut place = &act;
        while let Some(inner) = place.get("act") {
            (depth, place) = (depth + 1, inner);
        }
        assert_eq!((depth, &place["sub"]), (length + 1, &json!("first")));
    }
    refused(&subject(json!({"act": act})), &asked(usual()), "invalid_request", "too many actors");
    refused(&subject(json!({"act": 1})), &asked(usual()), "invalid_request", "too many actors");
    let hidden = json!({"subject_audiences": ["orders"], "impersonate": true});
    let exchanged = ask(&subject(json!({})), &asked(hidden.clone())).unwrap();
    assert_eq!(exchanged.claims.get("act"), None);
    let exchanged = ask(&subject(json!({"act": {"sub": "a"}})), &asked(hidden)).unwrap();
    assert_eq!(exchanged.claims["act"], json!({"sub": "a"}));
}

#[test]
fn a_bound_token_is_not_exchanged_for_an_unbound_one() {
    let token = subject(json!({"cnf": {"jkt": "x"}}));
    refused(&token, &asked(usual()), "invalid_request", "bound");
    let bound = Asked { is_bound: true, ..asked(usual()) };
    assert_eq!(ask(&token, &bound).unwrap().claims.get("cnf"), None);
}
