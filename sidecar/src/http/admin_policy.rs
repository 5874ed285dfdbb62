//! The policy, and roles and bindings at run time, for the command line.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Map, Value};

use super::endpoint::{self, Declaration, Endpoint, Requirement};
use super::extract::{self, Path};
use super::problem::Problem;
use super::recorded;
use crate::app::App;
use crate::oauth::Event;
use crate::policy::{BindingList, BindingView, PolicyError, PolicyStatus, RoleList, RoleView};
use crate::store::StoreError;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let admin = Requirement::AdminSocket;
    let mut endpoints = vec![
        endpoint::get("/admin/v1/policy", admin, "Says how the policy stands.")
            .answers::<PolicyStatus>(StatusCode::OK, "The file, its hash, and what is wrong.")
            .runs(policy),
    ];
    endpoints.extend(role_endpoints());
    endpoints.extend(binding_endpoints());
    endpoints
}

fn role_endpoints() -> Vec<Endpoint> {
    let admin = Requirement::AdminSocket;
    let path = "/admin/v1/roles/{name}";
    let named = |declaration: Declaration| declaration.parameter("name", "The name of the role.");
    vec![
        endpoint::get("/admin/v1/roles", admin, "Lists all roles, those of the file too.")
            .answers::<RoleList>(StatusCode::OK, "The roles, by name.")
            .runs(roles),
        named(endpoint::get(path, admin, "Shows a role."))
            .answers::<RoleView>(StatusCode::OK, "The role.")
            .fails(StatusCode::NOT_FOUND, &["unknown"])
            .runs(role),
        named(endpoint::put(path, admin, "Makes a role at run time, or another one of it."))
            .json::<Map<String, Value>>()
            .answers::<RoleView>(StatusCode::OK, "The role.")
            .fails(StatusCode::BAD_REQUEST, &["policy-invalid"])
            .fails(StatusCode::NOT_FOUND, &["unknown"])
            .fails(StatusCode::CONFLICT, &["changed", "of-policy-file"])
            .runs(put_role),
        named(endpoint::delete(path, admin, "Removes a role that was made at run time."))
            .answers_nothing(StatusCode::NO_CONTENT, "It is gone.")
            .fails(StatusCode::BAD_REQUEST, &["policy-invalid"])
            .fails(StatusCode::NOT_FOUND, &["unknown"])
            .fails(StatusCode::CONFLICT, &["changed", "of-policy-file"])
            .runs(delete_role),
    ]
}

fn binding_endpoints() -> Vec<Endpoint> {
    let admin = Requirement::AdminSocket;
    let path = "/admin/v1/bindings/{id}";
    let named = |declaration: Declaration| declaration.parameter("id", "The id of the binding.");
    vec![
        endpoint::get("/admin/v1/bindings", admin, "Lists all bindings, those of the file too.")
            .answers::<BindingList>(StatusCode::OK, "The bindings, those of the file first.")
            .runs(bindings),
        named(endpoint::get(path, admin, "Shows a binding that was made at run time."))
            .answers::<BindingView>(StatusCode::OK, "The binding.")
            .fails(StatusCode::NOT_FOUND, &["unknown"])
            .runs(binding),
        named(endpoint::put(path, admin, "Makes a binding at run time, or another one of it."))
            .json::<Map<String, Value>>()
            .answers::<BindingView>(StatusCode::OK, "The binding.")
            .fails(StatusCode::BAD_REQUEST, &["policy-invalid"])
            .fails(StatusCode::NOT_FOUND, &["unknown"])
            .fails(StatusCode::CONFLICT, &["changed"])
            .runs(put_binding),
        named(endpoint::delete(path, admin, "Removes a binding that was made at run time."))
            .answers_nothing(StatusCode::NO_CONTENT, "It is gone.")
            .fails(StatusCode::BAD_REQUEST, &["policy-invalid"])
            .fails(StatusCode::NOT_FOUND, &["unknown"])
            .fails(StatusCode::CONFLICT, &["changed"])
            .runs(delete_binding),
    ]
}

async fn policy(State(app): State<Arc<App>>) -> Result<Json<PolicyStatus>, Problem> {
    Ok(Json(app.policy.status().await.map_err(PolicyError::from)?))
}

async fn roles(State(app): State<Arc<App>>) -> Result<Json<RoleList>, Problem> {
    Ok(Json(app.policy.roles().await?))
}

async fn role(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<Json<RoleView>, Problem> {
    let found = app.policy.roles().await?.roles.into_iter().find(|role| role.name == name);
    Ok(Json(found.ok_or(PolicyError::Unknown)?))
}

async fn put_role(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
    extract::Json(role): extract::Json<Map<String, Value>>,
) -> Result<Json<RoleView>, Problem> {
    let put = app.policy.put_role(&name, role).await?;
    recorded::record(&app, Event::new("role-set").with("role", name)).await;
    Ok(Json(put))
}

async fn delete_role(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    app.policy.delete_role(&name).await?;
    recorded::record(&app, Event::new("role-deleted").with("role", name)).await;
    Ok(StatusCode::NO_CONTENT)
}

async fn bindings(State(app): State<Arc<App>>) -> Result<Json<BindingList>, Problem> {
    Ok(Json(app.policy.bindings().await?))
}

async fn binding(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<BindingView>, Problem> {
    let all = app.policy.bindings().await?.bindings;
    let found = all.into_iter().find(|binding| binding.id.as_ref() == Some(&id));
    Ok(Json(found.ok_or(PolicyError::Unknown)?))
}

async fn put_binding(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
    extract::Json(binding): extract::Json<Map<String, Value>>,
) -> Result<Json<BindingView>, Problem> {
    let put = app.policy.put_binding(&id, binding).await?;
    recorded::record(&app, Event::new("binding-set").with("binding", id)).await;
    Ok(Json(put))
}

async fn delete_binding(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    app.policy.delete_binding(&id).await?;
    recorded::record(&app, Event::new("binding-deleted").with("binding", id)).await;
    Ok(StatusCode::NO_CONTENT)
}

impl From<PolicyError> for Problem {
    fn from(error: PolicyError) -> Self {
        let (status, code) = match &error {
            PolicyError::Invalid(_) => (StatusCode::BAD_REQUEST, "policy-invalid"),
            PolicyError::OfFile => (StatusCode::CONFLICT, "of-policy-file"),
            PolicyError::Unknown => (StatusCode::NOT_FOUND, "unknown"),
            PolicyError::Store(StoreError::Changed) => (StatusCode::CONFLICT, "changed"),
            PolicyError::Store(_) => return Self::internal(&error),
        };
        Self::new(status, code, error.to_string())
    }
}
