//! Users, for the command line.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

use super::admin::parse;
use super::problem::{Problem, not_found};
use crate::accounts::{
    AccountError, ChangePassword, CreateUser, ImportUsers, ImportedUsers, LoginAttempt, LoginError,
    Password, UpdateUser, User, UserFilter, UserList,
};
use crate::app::App;
use crate::store::StoreError;

/// After how many seconds to come again when too much is being hashed.
const BUSY_SECONDS: u64 = 2;

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/v1/users", get(list).post(create))
        .route("/admin/v1/user-imports", post(import))
        .route("/admin/v1/users/{user}", get(show).patch(update).delete(delete))
        .route("/admin/v1/users/{user}/password", post(password))
        .route("/admin/v1/users/{user}/{action}", post(change))
}

/// Body of `POST /admin/v1/users/{user}/password`.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPassword {
    /// The new password.
    pub(crate) password: Password,
    /// The old one: with it the change counts as a login of the user, without it as one by an
    /// administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) old_password: Option<Password>,
    /// Where the user is who gave the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
}

async fn create(
    State(app): State<Arc<App>>,
    body: Bytes,
) -> Result<(StatusCode, Json<User>), Response> {
    let asked: CreateUser = parse(&body).map_err(Problem::into_response)?;
    let created = app.accounts.create(asked).await.map_err(answer)?;
    Ok((StatusCode::CREATED, Json(created)))
}

async fn list(
    State(app): State<Arc<App>>,
    filter: Result<Query<UserFilter>, QueryRejection>,
) -> Result<Json<UserList>, Response> {
    let Query(filter) = filter.map_err(|it| Problem::from(it).into_response())?;
    Ok(Json(app.accounts.list(&filter).await.map_err(answer)?))
}

async fn show(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<Json<User>, Response> {
    Ok(Json(app.accounts.show(&user).await.map_err(answer)?))
}

async fn update(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
    body: Bytes,
) -> Result<Json<User>, Response> {
    let asked: UpdateUser = parse(&body).map_err(Problem::into_response)?;
    Ok(Json(app.accounts.update(&user, asked).await.map_err(answer)?))
}

async fn delete(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<StatusCode, Response> {
    app.accounts.delete(&user).await.map_err(answer)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn password(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
    body: Bytes,
) -> Result<Json<User>, Response> {
    let asked: SetPassword = parse(&body).map_err(Problem::into_response)?;
    let Some(old) = asked.old_password else {
        let set = app.accounts.set_password(&user, asked.password).await;
        return Ok(Json(set.map_err(answer)?));
    };
    let name = app.accounts.show(&user).await.map_err(answer)?.name;
    let attempt = LoginAttempt { name, password: old, address: asked.address };
    let change = ChangePassword { attempt, new: asked.password };
    Ok(Json(app.accounts.change_password(change).await.map_err(login_answer)?))
}

async fn change(
    State(app): State<Arc<App>>,
    Path((user, action)): Path<(String, String)>,
) -> Result<Json<User>, Response> {
    let changed = match action.as_str() {
        "disable" => app.accounts.disable(&user).await,
        "enable" => app.accounts.enable(&user).await,
        "logout" => app.accounts.log_out(&user).await,
        _ => return Err(not_found().await.into_response()),
    };
    Ok(Json(changed.map_err(answer)?))
}

async fn import(State(app): State<Arc<App>>, body: Bytes) -> Result<Json<ImportedUsers>, Response> {
    let asked: ImportUsers = parse(&body).map_err(Problem::into_response)?;
    Ok(Json(app.accounts.import(asked).await.map_err(answer)?))
}

/// The answer to a failed login, with `Retry-After` where it is a matter of time.
pub(super) fn login_answer(error: LoginError) -> Response {
    let detail = error.to_string();
    match error {
        LoginError::WrongCredentials => {
            Problem::new(StatusCode::FORBIDDEN, "wrong-credentials", detail).into_response()
        }
        LoginError::Throttled { retry_after_seconds } => {
            let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "login-throttled", detail);
            later(problem, retry_after_seconds)
        }
        LoginError::Busy { retry_after_seconds } => {
            let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "login-busy", detail);
            later(problem, retry_after_seconds)
        }
        LoginError::NewPassword(problems) => answer(AccountError::Password(problems)),
        LoginError::Failed(error) => answer(*error),
    }
}

fn answer(error: AccountError) -> Response {
    if matches!(error, AccountError::Busy(_)) {
        let detail = error.to_string();
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "login-busy", detail);
        return later(problem, BUSY_SECONDS);
    }
    Problem::from(error).into_response()
}

fn later(problem: Problem, seconds: u64) -> Response {
    let mut response = problem.into_response();
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

impl From<AccountError> for Problem {
    fn from(error: AccountError) -> Self {
        let (status, code) = match &error {
            AccountError::Invalid(_) => (StatusCode::BAD_REQUEST, "invalid"),
            AccountError::Password(_) => (StatusCode::BAD_REQUEST, "password-refused"),
            AccountError::Unknown => (StatusCode::NOT_FOUND, "user-unknown"),
            AccountError::NameTaken => (StatusCode::CONFLICT, "name-taken"),
            AccountError::IdTaken => (StatusCode::CONFLICT, "id-taken"),
            AccountError::Busy(_) => (StatusCode::SERVICE_UNAVAILABLE, "login-busy"),
            AccountError::Store(StoreError::Changed | StoreError::Conflict { .. }) => {
                (StatusCode::CONFLICT, "changed")
            }
            AccountError::Store(
                StoreError::Failed(_)
                | StoreError::Invalid(_)
                | StoreError::NameTaken
                | StoreError::IdTaken,
            )
            | AccountError::Leaked(_)
            | AccountError::Hash(_)
            | AccountError::Seal
            | AccountError::Unseal(_)
            | AccountError::StoredHash(_)
            | AccountError::Random(_) => return Self::internal(&error),
        };
        Self::new(status, code, error.to_string())
    }
}
