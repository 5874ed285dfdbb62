//! Sessions: families of refresh tokens, for the command line.

use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Json, Router};
use serde::Deserialize;

use super::problem::Problem;
use crate::app::App;
use crate::families::{EndCause, EndedFamily, EndedSessions, FamilyPage, FamilyView, report};
use crate::store::StoreError;

/// Who ends sessions here, for those who read it later.
const BY: &str = "an operator";

pub(super) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/admin/v1/sessions", get(list).delete(end_all))
        .route("/admin/v1/sessions/{id}", get(show).delete(end))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    cursor: Option<String>,
    subject: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SubjectQuery {
    subject: String,
}

async fn list(
    State(app): State<Arc<App>>,
    asked: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<FamilyPage>, Problem> {
    let Query(ListQuery { cursor, subject }) = asked?;
    let page = match subject {
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
    asked: Result<Query<SubjectQuery>, QueryRejection>,
) -> Result<Json<EndedSessions>, Problem> {
    let Query(SubjectQuery { subject }) = asked?;
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
    Problem::internal(&error)
}
