//! How tokens are used, for the command line.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::Deserialize;
use wardgate_core::time::UnixSeconds;

use super::endpoint::{self, Endpoint, Requirement};
use super::extract::Query;
use super::problem::Problem;
use crate::app::App;
use crate::desk::ApiKeyError;
use crate::usage::{TokenUsage, TokenUsageBy, token_report};

/// Days that a report is of when nothing else is asked.
const DEFAULT_DAYS: u64 = 30;

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        endpoint::get(
            "/admin/v1/usage/tokens",
            Requirement::AdminSocket,
            "Says how often tokens were issued, used, refreshed and denied.",
        )
        .query::<Asked>()
        .answers::<TokenUsage>(StatusCode::OK, "The counts.")
        .fails(StatusCode::CONFLICT, &["changed"])
        .runs(tokens),
    ]
}

/// The days and what the rows are by.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Asked {
    /// The first day, by any second of it since the epoch; 30 days in all when missing, 366 at most.
    from: Option<u64>,
    /// The last day, by any second of it since the epoch; today when missing.
    to: Option<u64>,
    /// What the rows are by.
    #[serde(default)]
    by: TokenUsageBy,
}

async fn tokens(
    State(app): State<Arc<App>>,
    Query(asked): Query<Asked>,
) -> Result<Json<TokenUsage>, Problem> {
    let store = app.desk.store();
    // What this sidecar has counted and not yet written is to be in it.
    app.usage.flush(&**store).await.map_err(ApiKeyError::from)?;
    let to = asked.to.unwrap_or(app.clock.now().0);
    let default = to.saturating_sub(DEFAULT_DAYS.saturating_sub(1).saturating_mul(86_400));
    let from = UnixSeconds(asked.from.unwrap_or(default));
    let report = token_report(&**store, asked.by, from, UnixSeconds(to)).await;
    Ok(Json(report.map_err(ApiKeyError::from)?))
}
