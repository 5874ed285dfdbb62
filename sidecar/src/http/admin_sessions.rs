//! Sessions: families of refresh tokens, for the command line.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;

use super::endpoint::{self, Endpoint, Requirement};
use super::extract::{Path, Query};
use super::problem::Problem;
use crate::app::App;
use crate::families::{EndCause, EndedFamily, EndedSessions, FamilyPage, FamilyView, report};
use crate::store::StoreError;

/// Who ends sessions here, for those who read it later.
const BY: &str = "an operator";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let (all, one) = ("/admin/v1/sessions", "/admin/v1/sessions/{id}");
    let admin = Requirement::AdminSocket;
    let id = "Id of the session: the `sid` of its access tokens.";
    let ended = "The sessions that were ended, as they were.";
    vec![
        endpoint::get(all, admin, "Lists sessions: all, a page at a time, or those of a subject.")
            .query::<ListQuery>()
            .answers::<FamilyPage>(StatusCode::OK, "Some of the sessions, in no order.")
            .fails(StatusCode::BAD_REQUEST, &["cursor-unknown"])
            .runs(list),
        endpoint::delete(all, admin, "Ends all sessions of a subject.")
            .query::<SubjectQuery>()
            .answers::<EndedSessions>(StatusCode::OK, ended)
            .runs(end_all),
        endpoint::get(one, admin, "Shows a session.")
            .parameter("id", id)
            .answers::<FamilyView>(StatusCode::OK, "The session.")
            .fails(StatusCode::NOT_FOUND, &["session-unknown"])
            .runs(show),
        endpoint::delete(one, admin, "Ends a session.")
            .parameter("id", id)
            .answers::<EndedSessions>(StatusCode::OK, ended)
            .fails(StatusCode::NOT_FOUND, &["session-unknown"])
            .runs(end),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    /// Where the page begins; the first if missing.
    cursor: Option<String>,
    /// Only those of this subject (`sub`), all of them at once.
    subject: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SubjectQuery {
    /// The subject (`sub`).
    subject: String,
}

async fn list(
    State(app): State<Arc<App>>,
    Query(ListQuery { cursor, subject }): Query<ListQuery>,
) -> Result<Json<FamilyPage>, Problem> {
    let page = match subject {
        Some(_) if cursor.is_some() => {
            let detail = "the sessions of a subject are one page: leave `cursor` away";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "cursor-unknown", detail));
        }
        Some(subject) => {
            let families = app.families.of_subject(&subject).await.map_err(failed)?;
            let sessions = families.into_iter().map(FamilyView::from).collect();
            FamilyPage { sessions, next: None }
        }
        None => app.families.page(cursor).await.map_err(failed)?,
    };
    Ok(Json(page))
}

async fn show(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<FamilyView>, Problem> {
    let family = app.families.family(&id).await.map_err(failed)?;
    Ok(Json(family.ok_or_else(unknown)?.into()))
}

async fn end(
    State(app): State<Arc<App>>,
    Path(id): Path<String>,
) -> Result<Json<EndedSessions>, Problem> {
    let ended = app.families.end(&id, EndCause::Administrator, Some(BY)).await;
    let ended = ended.map_err(failed)?.ok_or_else(unknown)?;
    Ok(reported(&app, vec![ended]).await)
}

async fn end_all(
    State(app): State<Arc<App>>,
    Query(SubjectQuery { subject }): Query<SubjectQuery>,
) -> Result<Json<EndedSessions>, Problem> {
    let ended = app.families.end_all(&subject, EndCause::Administrator, Some(BY)).await;
    Ok(reported(&app, ended.map_err(failed)?).await)
}

async fn reported(app: &App, ended: Vec<EndedFamily>) -> Json<EndedSessions> {
    for one in &ended {
        report(app, one, None).await;
    }
    Json(EndedSessions::from(ended))
}

fn unknown() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "session-unknown", "there is no such session")
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: StoreError) -> Problem {
    if matches!(error, StoreError::CursorUnknown) {
        return Problem::new(StatusCode::BAD_REQUEST, "cursor-unknown", error.to_string());
    }
    Problem::internal(&error)
}
