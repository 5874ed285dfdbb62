//! `apikey list`: page by page, so that a million keys need no more memory than a page.

use serde_json::json;
use wardgate_core::wire::ApiKeyState;

use super::PATH;
use super::view::{state, words};
use crate::cli::arguments::{Format, ListApiKeys, State};
use crate::cli::office::{Office, reach, segment};
use crate::cli::{Failure, loaded, print, show};
use crate::desk::{ApiKeyFilter, ApiKeyList, ApiKeyView};

pub(super) async fn run(asked: &ListApiKeys) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let office = reach(&loaded).await?;
    let mut filter = ApiKeyFilter {
        cursor: None,
        state: asked.state.map(|state| match state {
            State::Active => ApiKeyState::Active,
            State::Disabled => ApiKeyState::Disabled,
            State::Revoked => ApiKeyState::Revoked,
        }),
        issuer: asked.issuer.clone(),
        subject: asked.subject.clone(),
        expiring_within_seconds: asked.expiring_within,
        unused_days: asked.unused_days,
        waiting: asked.waiting.then_some(true),
    };
    let mut output =
        Output { format: asked.output.output, unused: asked.unused_days.is_some(), printed: 0 };
    output.begin()?;
    loop {
        let list = page(&office, &filter).await?;
        output.keys(&list.api_keys)?;
        filter.cursor = list.next;
        if filter.cursor.is_none() {
            return output.end();
        }
    }
}

/// A page of the keys.
pub(super) async fn page(office: &Office, filter: &ApiKeyFilter) -> Result<ApiKeyList, Failure> {
    match office {
        Office::Running(admin) => admin.get(&format!("{PATH}?{}", query(filter)?)).await,
        Office::Direct(desk) => desk.api_keys(filter).await.map_err(Failure::failed),
    }
}

/// The filter as a query: each member is a text, a number or a truth.
fn query(filter: &ApiKeyFilter) -> Result<String, Failure> {
    let members = serde_json::to_value(filter).map_err(Failure::failed)?;
    let pairs = members.as_object().into_iter().flatten().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", segment(&text))
    });
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

struct Output {
    format: Format,
    /// Whether the last use is shown.
    unused: bool,
    printed: u64,
}

impl Output {
    fn begin(&self) -> Result<(), Failure> {
        if self.format == Format::Json { print("{\n  \"api_keys\": [") } else { Ok(()) }
    }

    fn keys(&mut self, keys: &[ApiKeyView]) -> Result<(), Failure> {
        if self.format == Format::Json {
            for key in keys {
                let comma = if self.printed == 0 { "" } else { "," };
                self.printed = self.printed.saturating_add(1);
                print(&format!("{comma}\n    {}", json!(key)))?;
            }
            return Ok(());
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.printed = self.printed.saturating_add(1);
        let rows: Vec<Vec<String>> = keys.iter().map(|key| self.row(key)).collect();
        show::table(&self.heads(), &rows)
    }

    fn end(&self) -> Result<(), Failure> {
        match self.format {
            Format::Json => print(if self.printed == 0 { "]\n}\n" } else { "\n  ]\n}\n" }),
            Format::Table if self.printed == 0 => show::table(&self.heads(), &[]),
            Format::Table => Ok(()),
        }
    }

    fn heads(&self) -> Vec<&'static str> {
        let mut heads = vec![
            "id",
            "name",
            "environment",
            "last four",
            "state",
            "roles",
            "scopes",
            "expires",
            "created",
        ];
        if self.unused {
            heads.push("last used");
        }
        heads
    }

    fn row(&self, key: &ApiKeyView) -> Vec<String> {
        let mut row = vec![
            key.id.clone(),
            key.name.clone(),
            key.environment.clone(),
            key.last_four.clone().unwrap_or_else(|| "-".to_owned()),
            state(key.state).to_owned(),
            words(&key.roles),
            key.scopes.as_ref().map_or_else(|| "-".to_owned(), |scopes| words(scopes)),
            key.expires_at.map_or_else(|| "never".to_owned(), show::time),
            show::time(key.created_at),
        ];
        if self.unused {
            row.push(key.last_used_at.map_or_else(|| "never".to_owned(), show::time));
        }
        row
    }
}
