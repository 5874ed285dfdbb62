//! The feed on the internal listener: questions of filters as they are on the wire.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use schemars::JsonSchema;
use serde::Deserialize;
use wardgate_core::base64url;
use wardgate_core::feed::bucket::ImageId;
use wardgate_core::feed::{Layout, Table};
use wardgate_core::wire::feed::{FeedAnswer, UnknownKey};
use wardgate_core::wire::{BUCKETS_PATH, FEED_PATH, UNKNOWN_KEY_PATH};

use super::endpoint::{self, Endpoint, Requirement};
use super::extract::Query;
use super::problem::Problem;
use crate::app::App;
use crate::feed::{BucketsQuestion, FeedError, PieceError, Question};
use crate::store::LogPosition;

const PIECE: &str = "application/octet-stream";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let mac = Requirement::FeedMac;
    vec![
        endpoint::get(FEED_PATH, mac, "Says what changed since a cursor, or waits for it.")
            .query::<FeedQuery>()
            .answers::<FeedAnswer>(StatusCode::OK, "What changed.")
            .fails(StatusCode::SERVICE_UNAVAILABLE, &["not-ready"])
            .runs(feed),
        endpoint::get(BUCKETS_PATH, mac, "Hands out a piece of a table.")
            .query::<BucketsQuery>()
            .answers_bytes(StatusCode::OK, PIECE, "Sealed buckets.")
            .fails(StatusCode::CONFLICT, &["cursor-unknown"])
            .fails(StatusCode::SERVICE_UNAVAILABLE, &["behind"])
            .runs(buckets),
        endpoint::post(UNKNOWN_KEY_PATH, mac, "Tells of a key that an issuer's set has not.")
            .json::<UnknownKey>()
            .answers_nothing(StatusCode::ACCEPTED, "The issuer is asked.")
            .answers_nothing(StatusCode::NO_CONTENT, "No need, or it was asked too often.")
            .runs(unknown_key),
    ]
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct FeedQuery {
    /// The place in the log that the filter has.
    cursor: Option<String>,
    /// The generation of the settings that the filter has.
    settings: Option<String>,
    /// How long to wait for news, in milliseconds.
    #[serde(default)]
    wait: u64,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct BucketsQuery {
    /// `revocations` or `api_keys`.
    #[schemars(regex(pattern = "^(revocations|api_keys)$"))]
    table: String,
    /// The layout.
    #[schemars(range(min = 6, max = 22))]
    bits: u8,
    /// The first bucket wanted.
    first: u32,
    /// The loading to seal for.
    #[schemars(regex(pattern = "^[A-Za-z0-9_-]{21}[AQgw]$"))]
    image: String,
    /// Where the loading began.
    cursor: String,
}

async fn feed(
    State(app): State<Arc<App>>,
    Query(FeedQuery { cursor, settings, wait }): Query<FeedQuery>,
) -> Result<impl IntoResponse, Problem> {
    // A text that is no cursor is one of nobody's log: its reader is to load everything, and not to
    // ask for ever for what it will never get.
    let cursor = cursor.and_then(|text| text.parse().ok());
    // The listener gives up on a request at its own deadline, without a MAC.
    let longest = app.limits.request_timeout_milliseconds.0.saturating_mul(3) / 4;
    let wait = Duration::from_millis(wait.min(longest));
    let body = app.feed.ask(Question { cursor, settings, wait }).await?;
    Ok(([(header::CONTENT_TYPE, "application/json")], body))
}

async fn buckets(
    State(app): State<Arc<App>>,
    Query(asked): Query<BucketsQuery>,
) -> Result<impl IntoResponse, Problem> {
    let (table, layout) = table_and_layout(&asked.table, asked.bits)?;
    let image = base64url::decode(asked.image.as_bytes()).and_then(|it| it.try_into().ok());
    let image = ImageId(image.ok_or_else(|| wrong("image"))?);
    let (first, cursor) = (asked.first, cursor(&asked.cursor)?);
    let question = BucketsQuestion { table, layout, first, image, cursor };
    Ok(piece(app.feed.buckets(&app.bucket_key, &question)?))
}

/// 202 if the issuer is asked, 204 if there is no need, or it was asked too often.
async fn unknown_key(State(app): State<Arc<App>>, body: Bytes) -> Result<StatusCode, Problem> {
    let unknown: UnknownKey = super::internal::parse(&body)?;
    let asked = app.issuers.unknown_key(&unknown).await;
    let asked = asked.map_err(|error| Problem::internal(&error))?;
    Ok(if asked { StatusCode::ACCEPTED } else { StatusCode::NO_CONTENT })
}

fn piece(bytes: Bytes) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, PIECE)], bytes)
}

fn table_and_layout(table: &str, bits: u8) -> Result<(Table, Layout), Problem> {
    let table = Table::from_word(table).ok_or_else(|| wrong("table"))?;
    Ok((table, Layout::checked(bits).ok_or_else(|| wrong("bits"))?))
}

fn cursor(text: &str) -> Result<LogPosition, Problem> {
    text.parse().map_err(|_| PieceError::Foreign.into())
}

fn wrong(name: &str) -> Problem {
    Problem::malformed(format!("`{name}` of the query is wrong"))
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Self {
        let code = match &error {
            FeedError::NotReady => "not-ready",
            FeedError::Busy => "busy",
            FeedError::Store(_) => return Self::internal(&error),
        };
        Self::new(StatusCode::SERVICE_UNAVAILABLE, code, error.to_string())
    }
}

impl From<PieceError> for Problem {
    fn from(error: PieceError) -> Self {
        let (status, code) = match error {
            PieceError::Behind => (StatusCode::SERVICE_UNAVAILABLE, "behind"),
            PieceError::Foreign => (StatusCode::CONFLICT, "cursor-unknown"),
        };
        Self::new(status, code, error.to_string())
    }
}
