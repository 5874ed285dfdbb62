//! `apikey …`.

use serde_json::{Value, json};
use wardgate_core::wire::ApiKeyState;

use super::arguments::{ApiKey, CreateApiKey as Asked, Format, ListApiKeys, OneApiKey};
use super::office::{Office, reach, segment};
use super::{Failure, loaded, note, runtime, show};
use crate::desk::{ApiKeyAction, ApiKeyList, ApiKeyView, CreateApiKey, CreatedApiKey};

const PATH: &str = "/admin/v1/api-keys";

pub(super) fn run(command: ApiKey) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match command {
            ApiKey::Create(asked) => create(asked).await,
            ApiKey::List(asked) => list(&asked).await,
            ApiKey::Show(asked) => one(&asked, None).await,
            ApiKey::Disable(asked) => one(&asked, Some(ApiKeyAction::Disable)).await,
            ApiKey::Enable(asked) => one(&asked, Some(ApiKeyAction::Enable)).await,
            ApiKey::Revoke(asked) => one(&asked, Some(ApiKeyAction::Revoke)).await,
        }
    })
}

async fn create(asked: Asked) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    for (kind, section, names) in
        [("role", "roles", &asked.role), ("scope", "scope_permissions", &asked.scope)]
    {
        for name in unknown(&loaded.policy, section, names) {
            note(&format!("warning: the policy knows no {kind} `{name}`: it permits nothing"));
        }
    }
    let wanted = CreateApiKey {
        name: asked.name,
        environment: asked.environment,
        issuer: asked.issuer,
        subject: asked.subject,
        roles: asked.role,
        scopes: (!asked.scope.is_empty()).then_some(asked.scope),
        expires_in_seconds: asked.expires_in,
    };
    let created: CreatedApiKey = match reach(&loaded).await? {
        Office::Running(admin) => admin.post(PATH, &wanted).await?,
        Office::Direct(desk) => desk.create_api_key(wanted).await.map_err(Failure::failed)?,
    };
    note("the key is shown this once: it is not stored");
    if asked.output.output == Format::Json {
        return show::json(&created);
    }
    let mut lines = vec![("api_key", created.api_key.clone())];
    lines.extend(details(&created.view));
    show::pairs(&lines)
}

/// The names that do not stand in a section of the policy. No error: a filter may have a newer one.
fn unknown<'a>(policy: &Value, section: &str, names: &'a [String]) -> Vec<&'a str> {
    let known = |name: &&str| policy.get(section).is_some_and(|names| names.get(name).is_some());
    names.iter().map(String::as_str).filter(|name| !known(name)).collect()
}

async fn list(asked: &ListApiKeys) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let list: ApiKeyList = match reach(&loaded).await? {
        Office::Running(admin) => admin.get(PATH).await?,
        Office::Direct(desk) => desk.api_keys().await.map_err(Failure::failed)?,
    };
    if asked.output.output == Format::Json {
        return show::json(&list);
    }
    let rows: Vec<Vec<String>> = list
        .api_keys
        .iter()
        .map(|key| {
            vec![
                key.id.clone(),
                key.name.clone(),
                key.environment.clone(),
                state(key.state).to_owned(),
                words(&key.roles),
                key.scopes.as_ref().map_or_else(|| "-".to_owned(), |scopes| words(scopes)),
                key.expires_at.map_or_else(|| "never".to_owned(), show::time),
                show::time(key.created_at),
            ]
        })
        .collect();
    let heads = ["id", "name", "environment", "state", "roles", "scopes", "expires", "created"];
    show::table(&heads, &rows)
}

async fn one(asked: &OneApiKey, action: Option<ApiKeyAction>) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let path = format!("{PATH}/{}", segment(&asked.key));
    let view: ApiKeyView = match (reach(&loaded).await?, action) {
        (Office::Running(admin), None) => admin.get(&path).await?,
        (Office::Running(admin), Some(action)) => {
            admin.post(&format!("{path}/{}", word(action)), &json!({})).await?
        }
        (Office::Direct(desk), None) => desk.api_key(&asked.key).await.map_err(Failure::failed)?,
        (Office::Direct(desk), Some(action)) => {
            desk.change_api_key(&asked.key, action).await.map_err(Failure::failed)?
        }
    };
    if asked.output.output == Format::Json {
        return show::json(&view);
    }
    show::pairs(&details(&view))
}

fn details(key: &ApiKeyView) -> Vec<(&'static str, String)> {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    vec![
        ("id", key.id.clone()),
        ("name", key.name.clone()),
        ("environment", key.environment.clone()),
        ("state", state(key.state).to_owned()),
        ("roles", words(&key.roles)),
        ("scopes", key.scopes.as_ref().map_or_else(|| "-".to_owned(), |scopes| words(scopes))),
        ("issuer", or_none(&key.issuer)),
        ("subject", or_none(&key.subject)),
        ("expires", key.expires_at.map_or_else(|| "never".to_owned(), show::time)),
        ("created", show::time(key.created_at)),
    ]
}

fn words(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

fn state(state: ApiKeyState) -> &'static str {
    match state {
        ApiKeyState::Active => "active",
        ApiKeyState::Disabled => "disabled",
        ApiKeyState::Revoked => "revoked",
    }
}

fn word(action: ApiKeyAction) -> &'static str {
    match action {
        ApiKeyAction::Disable => "disable",
        ApiKeyAction::Enable => "enable",
        ApiKeyAction::Revoke => "revoke",
    }
}
