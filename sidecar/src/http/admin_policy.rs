//! The policy, and roles and bindings at run time, for the command line.

use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};

use super::admin::parse;
use super::problem::Problem;
use crate::app::App;
use crate::policy::{BindingList, BindingView, PolicyError, PolicyStatus, RoleList, RoleView};
use crate::store::StoreError;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/v1/policy", get(policy))
        .route("/admin/v1/roles", get(roles))
        .route("/admin/v1/roles/{name}", get(role).put(put_role).delete(delete_role))
        .route("/admin/v1/bindings", get(bindings))
        .route("/admin/v1/bindings/{id}", get(binding).put(put_binding).delete(delete_binding))
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
    body: Bytes,
) -> Result<Json<RoleView>, Problem> {
    Ok(Json(app.policy.put_role(&name, parse(&body)?).await?))
}

async fn delete_role(
    State(app): State<Arc<App>>,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    app.policy.delete_role(&name).await?;
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
    body: Bytes,
) -> Result<Json<BindingView>, Problem> {
    Ok(Json(app.policy.put_binding(&id, parse(&body)?).await?))
}

async fn delete_binding(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    app.policy.delete_binding(&id).await?;
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
