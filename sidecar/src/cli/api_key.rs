//! `apikey …`.

mod import;
mod list;
mod usage;
mod view;

use std::collections::BTreeMap;

use serde_json::{Value, json};
use wardgate_core::wire::RateLimitRecord;

use super::arguments::{
    ApiKey, ChangeApiKey, CreateApiKey as Asked, Format, OneApiKey, RotateApiKey as Rotation,
};
use super::office::{Office, reach, segment};
use super::{Failure, loaded, note, runtime, show};
use crate::desk::{
    ApiKeyAction, ApiKeyView, CreateApiKey, CreatedApiKey, RotateApiKey, UpdateApiKey,
};
use view::details;

const PATH: &str = "/admin/v1/api-keys";

pub(super) fn run(command: ApiKey) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match command {
            ApiKey::Create(asked) => create(asked).await,
            ApiKey::List(asked) => list::run(&asked).await,
            ApiKey::Show(asked) => one(&asked, None).await,
            ApiKey::Update(asked) => update(asked).await,
            ApiKey::Rotate(asked) => rotate(&asked).await,
            ApiKey::Collect(asked) => collect(&asked).await,
            ApiKey::Import(asked) => import::run(&asked).await,
            ApiKey::Usage(asked) => usage::run(&asked).await,
            ApiKey::Disable(asked) => one(&asked, Some(ApiKeyAction::Disable)).await,
            ApiKey::Enable(asked) => one(&asked, Some(ApiKeyAction::Enable)).await,
            ApiKey::Revoke(asked) => one(&asked, Some(ApiKeyAction::Revoke)).await,
        }
    })
}

async fn create(asked: Asked) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    warn(&loaded.policy, &asked.role, &asked.scope);
    let wanted = CreateApiKey {
        name: asked.name,
        environment: asked.environment,
        issuer: asked.issuer,
        subject: asked.subject,
        roles: asked.role,
        scopes: (!asked.scope.is_empty()).then_some(asked.scope),
        expires_in_seconds: asked.expires_in,
        networks: asked.network,
        rate_limit: asked.rate_limit.map(limit),
        metadata: asked.meta.into_iter().collect(),
        description: asked.description,
        rotate_every_seconds: asked.rotate_every,
        grace_seconds: asked.grace,
    };
    let created: CreatedApiKey = match reach(&loaded).await? {
        Office::Running(admin) => admin.post(PATH, &wanted).await?,
        Office::Direct(desk) => desk.create_api_key(wanted).await.map_err(Failure::failed)?,
    };
    shown_once(&created, asked.output.output)
}

async fn update(asked: ChangeApiKey) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    warn(&loaded.policy, &asked.role, &asked.scope);
    let list = |list: Vec<String>, none: bool| (none || !list.is_empty()).then_some(list);
    let mut metadata: BTreeMap<_, _> =
        asked.meta.into_iter().map(|(name, value)| (name, Some(value))).collect();
    metadata.extend(asked.unset_meta.into_iter().map(|name| (name, None)));
    let scopes = list(asked.scope, asked.no_scopes);
    let wanted = UpdateApiKey {
        roles: list(asked.role, asked.no_roles),
        scopes: scopes.map(|scopes| Some(scopes).filter(|scopes| !scopes.is_empty())),
        networks: list(asked.network, asked.no_networks),
        rate_limit: or_null(asked.rate_limit.map(limit), asked.no_rate_limit),
        metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
        description: asked.description.map(|text| Some(text).filter(|text| !text.is_empty())),
        expires_in_seconds: or_null(asked.expires_in, asked.no_expiry),
        rotate_every_seconds: or_null(asked.rotate_every, asked.no_rotation),
        grace_seconds: asked.grace,
    };
    let path = format!("{PATH}/{}", segment(&asked.key));
    let view: ApiKeyView = match reach(&loaded).await? {
        Office::Running(admin) => admin.patch(&path, &wanted).await?,
        Office::Direct(desk) => {
            desk.update_api_key(&asked.key, wanted).await.map_err(Failure::failed)?
        }
    };
    show_view(&view, asked.output.output)
}

/// What is asked: a value, `null`, or nothing.
#[expect(clippy::option_option, reason = "missing and null are two things")]
fn or_null<T>(value: Option<T>, null: bool) -> Option<Option<T>> {
    if null { Some(None) } else { value.map(Some) }
}

fn limit((requests, period_seconds): (u64, u64)) -> RateLimitRecord {
    RateLimitRecord { requests, period_seconds }
}

async fn rotate(asked: &Rotation) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let wanted = RotateApiKey { grace_seconds: asked.grace, lost: asked.lost };
    let path = format!("{PATH}/{}/rotate", segment(&asked.key));
    let rotated: CreatedApiKey = match reach(&loaded).await? {
        Office::Running(admin) => admin.post(&path, &wanted).await?,
        Office::Direct(desk) => {
            desk.rotate_api_key(&asked.key, wanted).await.map_err(Failure::failed)?
        }
    };
    shown_once(&rotated, asked.output.output)
}

async fn collect(asked: &OneApiKey) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let path = format!("{PATH}/{}/collect", segment(&asked.key));
    let collected: CreatedApiKey = match reach(&loaded).await? {
        Office::Running(admin) => admin.post(&path, &json!({})).await?,
        Office::Direct(desk) => desk.collect_api_key(&asked.key).await.map_err(Failure::failed)?,
    };
    shown_once(&collected, asked.output.output)
}

async fn one(asked: &OneApiKey, action: Option<ApiKeyAction>) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let path = format!("{PATH}/{}", segment(&asked.key));
    let view: ApiKeyView = match (reach(&loaded).await?, action) {
        (Office::Running(admin), None) => admin.get(&path).await?,
        (Office::Running(admin), Some(action)) => {
            admin.post(&format!("{path}/{}", view::word(action)), &json!({})).await?
        }
        (Office::Direct(desk), None) => desk.api_key(&asked.key).await.map_err(Failure::failed)?,
        (Office::Direct(desk), Some(action)) => {
            desk.change_api_key(&asked.key, action).await.map_err(Failure::failed)?
        }
    };
    show_view(&view, asked.output.output)
}

fn shown_once(created: &CreatedApiKey, format: Format) -> Result<(), Failure> {
    note("the key is shown this once: it is not stored");
    if format == Format::Json {
        return show::json(created);
    }
    let mut lines = vec![("api_key", created.api_key.clone())];
    lines.extend(details(&created.view));
    show::pairs(&lines)
}

fn show_view(view: &ApiKeyView, format: Format) -> Result<(), Failure> {
    if format == Format::Json { show::json(view) } else { show::pairs(&details(view)) }
}

/// Names that the policy does not know are likely mistakes. No error: a filter may have a newer one.
fn warn(policy: &Value, roles: &[String], scopes: &[String]) {
    for (kind, section, names) in [("role", "roles", roles), ("scope", "scope_permissions", scopes)]
    {
        for name in unknown(policy, section, names) {
            note(&format!("warning: the policy knows no {kind} `{name}`: it permits nothing"));
        }
    }
}

/// The names that do not stand in a section of the policy.
fn unknown<'a>(policy: &Value, section: &str, names: &'a [String]) -> Vec<&'a str> {
    let known = |name: &&str| policy.get(section).is_some_and(|names| names.get(name).is_some());
    names.iter().map(String::as_str).filter(|name| !known(name)).collect()
}
