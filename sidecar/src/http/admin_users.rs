//! Users, for the command line.

use std::net::IpAddr;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::endpoint::{self, Declaration, Endpoint, Requirement};
use super::extract::{self, Path, Query};
use super::problem::Problem;
use crate::accounts::{
    AccountError, ChangePassword, CreateUser, ImportUsers, ImportedUsers, LoginAttempt, LoginError,
    Password, UpdateUser, User, UserFilter, UserList,
};
use crate::app::App;
use crate::store::StoreError;

/// After how many seconds to come again when too much is being hashed.
const BUSY_SECONDS: u64 = 2;

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = life();
    endpoints.extend(changes());
    endpoints
}

/// Making, importing and looking at users.
fn life() -> Vec<Endpoint> {
    let admin = Requirement::AdminSocket;
    vec![
        endpoint::get("/admin/v1/users", admin, "Lists users, a page at a time.")
            .query::<UserFilter>()
            .answers::<UserList>(StatusCode::OK, "Those of the page that were asked for.")
            .fails(StatusCode::BAD_REQUEST, &["cursor-unknown"])
            .runs(list),
        hashing(endpoint::post("/admin/v1/users", admin, "Makes a user."))
            .json::<CreateUser>()
            .answers::<User>(StatusCode::CREATED, "The user, without the password.")
            .fails(StatusCode::BAD_REQUEST, &["invalid", "password-refused"])
            .fails(StatusCode::CONFLICT, &["id-taken", "name-taken"])
            .runs(create),
        endpoint::post(
            "/admin/v1/user-imports",
            admin,
            "Imports users of another system with the hashes of their passwords, all or none.",
        )
        .json::<ImportUsers>()
        .answers::<ImportedUsers>(StatusCode::OK, "What became of them, or all problems.")
        .fails(StatusCode::BAD_REQUEST, &["invalid"])
        .fails(StatusCode::CONFLICT, &["changed"])
        .runs(import),
        of_user(endpoint::get("/admin/v1/users/{user}", admin, "Shows a user."))
            .answers::<User>(StatusCode::OK, "The user, without the password.")
            .runs(show),
    ]
}

/// Changing users.
fn changes() -> Vec<Endpoint> {
    let admin = Requirement::AdminSocket;
    let conflict = StatusCode::CONFLICT;
    vec![
        of_user(endpoint::patch("/admin/v1/users/{user}", admin, "Changes a user (RFC 7396)."))
            .json::<UpdateUser>()
            .answers::<User>(StatusCode::OK, "The user as they are now.")
            .fails(StatusCode::BAD_REQUEST, &["invalid"])
            .fails(conflict, &["changed", "name-taken"])
            .runs(update),
        of_user(endpoint::delete(
            "/admin/v1/users/{user}",
            admin,
            "Forgets a user and ends what they were issued.",
        ))
        .answers_nothing(StatusCode::NO_CONTENT, "The user is gone.")
        .fails(conflict, &["changed"])
        .runs(delete),
        hashing(of_user(endpoint::post(
            "/admin/v1/users/{user}/password",
            admin,
            "Sets the password of a user and ends what they were issued.",
        )))
        .json::<SetPassword>()
        .answers::<User>(StatusCode::OK, "The user as they are now.")
        .fails(StatusCode::BAD_REQUEST, &["password-refused"])
        .fails(StatusCode::FORBIDDEN, &["wrong-credentials"])
        .fails(conflict, &["changed"])
        .fails(StatusCode::TOO_MANY_REQUESTS, &["login-throttled"])
        .header("Retry-After", "When to try again, in seconds.")
        .runs(set_password),
        action(
            "/admin/v1/users/{user}/disable",
            "Keeps a user from logging in and ends what they were issued.",
        )
        .runs(disable),
        action("/admin/v1/users/{user}/enable", "Lets a disabled user log in again.").runs(enable),
        action("/admin/v1/users/{user}/logout", "Ends everything that a user was issued.")
            .runs(log_out),
    ]
}

/// What all endpoints of one user have.
fn of_user(declaration: Declaration) -> Declaration {
    declaration
        .parameter("user", "The name or the id of the user.")
        .fails(StatusCode::NOT_FOUND, &["user-unknown"])
}

/// What all endpoints have that hash a password.
fn hashing(declaration: Declaration) -> Declaration {
    declaration
        .fails(StatusCode::SERVICE_UNAVAILABLE, &["login-busy"])
        .header("Retry-After", "When to try again, in seconds.")
}

fn action(path: &'static str, summary: &'static str) -> Declaration {
    of_user(endpoint::post(path, Requirement::AdminSocket, summary))
        .answers::<User>(StatusCode::OK, "The user as they are now.")
        .fails(StatusCode::CONFLICT, &["changed"])
}

/// Body of `POST /admin/v1/users/{user}/password`.
#[derive(Deserialize, JsonSchema, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetPassword {
    /// The new password.
    pub(crate) password: Password,
    /// The old one: with it the change counts as a login of the user, without it as one by an
    /// administrator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) old_password: Option<Password>,
    /// The IP address of the user who gave the old one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
}

async fn create(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<CreateUser>,
) -> Result<(StatusCode, Json<User>), Response> {
    let created = app.accounts.create(asked).await.map_err(answer)?;
    Ok((StatusCode::CREATED, Json(created)))
}

async fn list(
    State(app): State<Arc<App>>,
    Query(filter): Query<UserFilter>,
) -> Result<Json<UserList>, Problem> {
    Ok(Json(app.accounts.list(&filter).await?))
}

async fn show(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<Json<User>, Problem> {
    Ok(Json(app.accounts.show(&user).await?))
}

async fn update(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
    extract::Json(asked): extract::Json<UpdateUser>,
) -> Result<Json<User>, Problem> {
    Ok(Json(app.accounts.update(&user, asked).await?))
}

async fn delete(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    app.accounts.delete(&user).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn set_password(
    State(app): State<Arc<App>>,
    Path(user): Path<String>,
    extract::Json(asked): extract::Json<SetPassword>,
) -> Result<Json<User>, Response> {
    let Some(old) = asked.old_password else {
        let set = app.accounts.set_password(&user, asked.password).await;
        return Ok(Json(set.map_err(answer)?));
    };
    let name = app.accounts.show(&user).await.map_err(answer)?.name;
    let attempt = LoginAttempt { name, password: old, address: asked.address };
    let change = ChangePassword { attempt, new: asked.password };
    Ok(Json(app.accounts.change_password(change).await.map_err(login_answer)?))
}

type Changed = Result<Json<User>, Problem>;

async fn disable(State(app): State<Arc<App>>, Path(user): Path<String>) -> Changed {
    Ok(Json(app.accounts.disable(&user).await?))
}

async fn enable(State(app): State<Arc<App>>, Path(user): Path<String>) -> Changed {
    Ok(Json(app.accounts.enable(&user).await?))
}

async fn log_out(State(app): State<Arc<App>>, Path(user): Path<String>) -> Changed {
    Ok(Json(app.accounts.log_out(&user).await?))
}

async fn import(
    State(app): State<Arc<App>>,
    extract::Json(asked): extract::Json<ImportUsers>,
) -> Result<Json<ImportedUsers>, Problem> {
    Ok(Json(app.accounts.import(asked).await?))
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
            AccountError::Store(StoreError::CursorUnknown) => {
                (StatusCode::BAD_REQUEST, "cursor-unknown")
            }
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
