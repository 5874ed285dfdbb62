//! Routes, document and requirements are one table.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::middleware::from_fn;
use serde_json::{Value, json};
use tower::ServiceExt as _;

use super::router::only_by_socket;
use super::{ListenerName, OtherOrigins, Requirement, schema};
use crate::http::{endpoints, openapi};
use crate::limits::Peer;

#[test]
fn no_two_endpoints_have_one_method_and_path() {
    let mut seen = BTreeSet::new();
    for endpoint in endpoints() {
        let declaration = &endpoint.declaration;
        let name = (declaration.method, declaration.path);
        assert!(seen.insert(name), "{name:?}");
    }
    assert!(seen.len() > 25);
}

#[test]
fn every_parameter_of_a_path_is_described_and_no_other() {
    for endpoint in endpoints() {
        let declaration = &endpoint.declaration;
        let of_path: Vec<&str> = declaration.path.split(['{', '}']).skip(1).step_by(2).collect();
        let described: Vec<&str> = declaration.parameters.iter().map(|(name, _)| *name).collect();
        assert_eq!(described, of_path, "{}", declaration.path);
    }
}

#[test]
fn what_begins_with_admin_or_internal_is_required_to_be_so() {
    for endpoint in endpoints() {
        let declaration = &endpoint.declaration;
        let expected = match declaration.path.split('/').nth(1) {
            Some("admin") => ListenerName::Admin,
            Some("internal") => ListenerName::Internal,
            _ => ListenerName::Public,
        };
        assert_eq!(declaration.requirement.listener(), expected, "{}", declaration.path);
    }
}

#[test]
fn every_endpoint_says_what_it_answers_when_all_is_well() {
    for endpoint in endpoints() {
        let declaration = &endpoint.declaration;
        let is_good = |status: StatusCode| status.is_success() || status.is_redirection();
        assert!(declaration.answers.iter().any(|it| is_good(it.status)), "{}", declaration.path);
        assert!(declaration.summary.ends_with('.'), "{}", declaration.path);
    }
}

#[test]
fn every_endpoint_is_in_the_document_with_its_requirement() {
    let document = openapi();
    let mut ids = BTreeSet::new();
    for endpoint in endpoints() {
        let declaration = &endpoint.declaration;
        let method = declaration.method.word().to_ascii_lowercase();
        let operation = &document["paths"][declaration.path][method];
        assert_eq!(operation["x-wardgate-requirement"], declaration.requirement.word());
        assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()));
    }
}

#[test]
fn scripts_of_other_origins_may_ask_these_and_nothing_else() {
    let of = |origins: OtherOrigins| -> BTreeSet<&str> {
        let found = endpoints().into_iter().filter(|it| it.other_origins() == origins);
        found.map(|endpoint| endpoint.declaration.path).collect()
    };
    let applications =
        ["/auth/login", "/auth/logout", "/auth/password", "/oauth2/revoke", "/oauth2/token"];
    assert_eq!(of(OtherOrigins::Allowed), BTreeSet::from(applications));
    let everybody = ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server"];
    assert_eq!(of(OtherOrigins::All), BTreeSet::from(everybody));
}

#[test]
fn only_what_anyone_may_reach_stands_below_an_issuer() {
    for endpoint in endpoints() {
        let declaration = &endpoint.declaration;
        let placed = declaration.path_of_issuer("/tenant");
        let public = declaration.requirement.listener() == ListenerName::Public;
        assert!(public || placed.is_none(), "{}", declaration.path);
        assert_eq!(declaration.path_of_issuer(""), None, "{}", declaration.path);
        let expected = match declaration.path {
            "/.well-known/oauth-authorization-server" => {
                Some("/.well-known/oauth-authorization-server/tenant".to_owned())
            }
            "/healthz" | "/readyz" | "/metrics" | "/openapi.json" => None,
            path if public => Some(format!("/tenant{path}")),
            _ => None,
        };
        assert_eq!(placed, expected, "{}", declaration.path);
    }
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            let target = members.get("$ref").and_then(Value::as_str);
            found.extend(target.map(str::to_owned));
            members.values().for_each(|member| references(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = openapi();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 5, "{found:?}");
    for reference in found {
        let place = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(place).is_some(), "{reference}");
    }
}

#[test]
fn every_requirement_names_a_security_scheme_that_exists() {
    let schemes = super::requirement::security_schemes();
    for requirement in Requirement::ALL {
        let security = requirement.security();
        for names in security.as_array().unwrap() {
            assert!(names.as_object().unwrap().keys().all(|name| schemes.get(name).is_some()));
        }
    }
}

#[tokio::test]
async fn what_is_for_the_admin_socket_is_refused_over_tcp() {
    let handler = axum::routing::get(async || "secret").route_layer(from_fn(only_by_socket));
    let router: Router = Router::new().route("/", handler);
    let by_tcp = Peer(Some(std::net::SocketAddr::from(([127, 0, 0, 1], 1))));
    for (peer, expected) in [
        (Some(Peer(None)), StatusCode::OK),
        (Some(by_tcp), StatusCode::FORBIDDEN),
        (None, StatusCode::FORBIDDEN),
    ] {
        let mut request = Request::new(Body::empty());
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        assert_eq!(router.clone().oneshot(request).await.unwrap().status(), expected);
    }
}

#[test]
fn the_schema_of_a_question_refuses_what_the_reader_refuses() {
    /// Links to [`super::Requirement`] are for readers of the code.
    #[derive(schemars::JsonSchema, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Asked {
        count: u8,
        text: Option<String>,
    }
    let mut generator = schema::of_questions();
    let schema = schema::of::<Asked>(&mut generator);
    assert_eq!(
        Value::from(schema.clone()),
        json!({
            "description": "Links to `Requirement` are for readers of the code.",
            "type": "object",
            "properties": {
                "count": {"type": "integer", "minimum": 0, "maximum": 255},
                "text": {"type": ["string", "null"]},
            },
            "additionalProperties": false,
            "required": ["count"],
        })
    );
    assert_eq!(
        schema::members(&schema),
        [
            ("count".to_owned(), json!({"type": "integer", "minimum": 0, "maximum": 255}), true),
            ("text".to_owned(), json!({"type": "string"}), false),
        ]
    );
}

#[test]
fn a_change_may_leave_out_every_member_and_take_it_away() {
    #[derive(schemars::JsonSchema, serde::Deserialize)]
    #[expect(dead_code, reason = "only its schema is used")]
    struct Kept {
        count: u8,
        #[serde(default)]
        text: Option<String>,
    }
    let schema = schema::merge_patch::<Kept>(&mut schema::of_questions());
    assert_eq!(schema.get("required"), None);
    let taken = json!({"type": "null"});
    assert_eq!(
        schema.get("properties"),
        Some(&json!({
            "count": {"anyOf": [{"type": "integer", "minimum": 0, "maximum": 255}, taken]},
            "text": {"anyOf": [{"type": "string"}, taken]},
        }))
    );
}
