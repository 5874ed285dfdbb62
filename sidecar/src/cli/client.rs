//! `client …`.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::arguments::{
    Client, ClientMembers, CreateClient, Format, ListKeys, OneClient,
    RotateClientSecret as Rotation, UpdateClient,
};
use super::office::{Admin, Office, reach, segment};
use super::{Failure, loaded, note, runtime, show};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::desk::Desk;
use crate::oauth::{ClientList, ClientView, Clients, CreatedClient, GrantType, RotateClientSecret};
use crate::random::Random;

const PATH: &str = "/admin/v1/clients";

/// The registry, near or far.
enum Place {
    Running(Admin),
    Direct(Box<Desk>, Box<Clients>),
}

async fn place(loaded: &Loaded) -> Result<Place, Failure> {
    let desk = match reach(loaded).await? {
        Office::Running(admin) => return Ok(Place::Running(admin)),
        Office::Direct(desk) => desk,
    };
    let (clock, random) = (Clock::system(), Random::system());
    let clients = Clients::open(Arc::clone(desk.store()), &loaded.store_keys, clock, random).await;
    Ok(Place::Direct(desk, Box::new(clients.map_err(Failure::failed)?)))
}

pub(super) fn run(command: Client) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match command {
            Client::Create(asked) => create(*asked).await,
            Client::List(asked) => list(&asked).await,
            Client::Show(asked) => show_one(&asked).await,
            Client::Update(asked) => update(*asked).await,
            Client::RotateSecret(asked) => rotate_secret(&asked).await,
            Client::Delete(asked) => delete(&asked).await,
        }
    })
}

async fn create(asked: CreateClient) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let mut members = members(asked.members)?;
    if let Some(id) = asked.id {
        members.insert("client_id".to_owned(), id.into());
    }
    let created: CreatedClient = match place(&loaded).await? {
        Place::Running(admin) => admin.post(PATH, &members).await?,
        Place::Direct(_, clients) => clients.create(members).await.map_err(Failure::failed)?,
    };
    shown_once(&created, asked.output.output)
}

async fn update(asked: UpdateClient) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let mut members = members(asked.members)?;
    members.extend(asked.unset.into_iter().map(|name| (name, Value::Null)));
    let view: ClientView = match place(&loaded).await? {
        Place::Running(admin) => admin.patch(&path(&asked.id), &members).await?,
        Place::Direct(_, clients) => {
            clients.update(&asked.id, members).await.map_err(Failure::failed)?
        }
    };
    show_view(&view, asked.output.output)
}

async fn rotate_secret(asked: &Rotation) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let wanted = RotateClientSecret { grace_seconds: asked.grace };
    let rotated: CreatedClient = match place(&loaded).await? {
        Place::Running(admin) => {
            admin.post(&format!("{}/rotate-secret", path(&asked.id)), &wanted).await?
        }
        Place::Direct(_, clients) => {
            clients.rotate_secret(&asked.id, &wanted).await.map_err(Failure::failed)?
        }
    };
    shown_once(&rotated, asked.output.output)
}

async fn show_one(asked: &OneClient) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let view: ClientView = match place(&loaded).await? {
        Place::Running(admin) => admin.get(&path(&asked.id)).await?,
        Place::Direct(_, clients) => clients.show(&asked.id).await.map_err(Failure::failed)?,
    };
    show_view(&view, asked.output.output)
}

async fn delete(asked: &OneClient) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    match place(&loaded).await? {
        Place::Running(admin) => admin.delete(&path(&asked.id)).await?,
        Place::Direct(desk, clients) => {
            let keep = loaded.config.revocations.keep_seconds.0;
            clients.delete(&asked.id, &desk, keep).await.map_err(Failure::failed)?;
        }
    }
    note("removed; its tokens are revoked");
    if asked.output.output == Format::Json {
        return show::json(&json!({"client_id": asked.id}));
    }
    Ok(())
}

async fn list(asked: &ListKeys) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let place = place(&loaded).await?;
    let (mut all, mut cursor): (Vec<ClientView>, Option<String>) = (Vec::new(), None);
    loop {
        let page: ClientList = match &place {
            Place::Running(admin) => {
                let query = cursor.as_deref().map(|cursor| format!("?cursor={}", segment(cursor)));
                admin.get(&format!("{PATH}{}", query.unwrap_or_default())).await?
            }
            Place::Direct(_, clients) => clients.list(cursor).await.map_err(Failure::failed)?,
        };
        all.extend(page.clients);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    // A page may show a client twice.
    all.sort_by(|a, b| a.client_id.cmp(&b.client_id));
    all.dedup_by(|a, b| a.client_id == b.client_id);
    if asked.output.output == Format::Json {
        return show::json(&all);
    }
    let row = |view: &ClientView| {
        let metadata = &view.metadata;
        vec![
            view.client_id.clone(),
            metadata.client_name.clone().unwrap_or_else(|| "-".to_owned()),
            metadata.token_endpoint_auth_method.word().to_owned(),
            grants(view),
            metadata.scope.clone().unwrap_or_else(|| "-".to_owned()),
            if metadata.disabled { "disabled" } else { "active" }.to_owned(),
            show::time(view.client_id_issued_at),
        ]
    };
    let heads = ["id", "name", "authentication", "grants", "scope", "state", "created"];
    show::table(&heads, &all.iter().map(row).collect::<Vec<_>>())
}

fn path(id: &str) -> String {
    format!("{PATH}/{}", segment(id))
}

/// What the arguments say, as members of the registration.
fn members(asked: ClientMembers) -> Result<Map<String, Value>, Failure> {
    let grants: Vec<&str> = asked
        .grant
        .iter()
        .map(|grant| match grant.as_str() {
            "token-exchange" => GrantType::TokenExchange.word(),
            other => other,
        })
        .collect();
    let list = |list: Vec<String>| (!list.is_empty()).then(|| Value::from(list));
    let exchange = asked.may_exchange.as_deref().map(|text| parsed("--may-exchange", text));
    let jwks = match &asked.jwks {
        None => None,
        Some(file) => {
            let text = std::fs::read_to_string(file);
            let text =
                text.map_err(|error| Failure::Failed(format!("{}: {error}", file.display())))?;
            Some(parsed(&file.display().to_string(), &text)?)
        }
    };
    let members = [
        ("client_name", asked.name.map(Value::from)),
        ("grant_types", (!grants.is_empty()).then(|| Value::from(grants))),
        ("token_endpoint_auth_method", asked.auth_method.map(Value::from)),
        ("scope", asked.scope.map(Value::from)),
        ("jwks", jwks),
        ("tls_client_auth_subject_dn", asked.subject_dn.map(Value::from)),
        ("audiences", list(asked.audience)),
        ("roles", list(asked.role)),
        ("access_token_lifetime_seconds", asked.access_lifetime.map(Value::from)),
        ("refresh_token_lifetime_seconds", asked.refresh_lifetime.map(Value::from)),
        ("refresh_token_idle_seconds", asked.refresh_idle.map(Value::from)),
        ("dpop_bound_access_tokens", asked.dpop_bound.map(Value::from)),
        ("tls_client_certificate_bound_access_tokens", asked.certificate_bound.map(Value::from)),
        ("first_party", asked.first_party.map(Value::from)),
        ("may_introspect", asked.may_introspect.map(Value::from)),
        ("may_exchange", exchange.transpose()?),
        ("disabled", asked.disabled.map(Value::from)),
    ];
    let given = |(name, value): (&str, Option<Value>)| Some((name.to_owned(), value?));
    Ok(members.into_iter().filter_map(given).collect())
}

fn parsed(what: &str, text: &str) -> Result<Value, Failure> {
    serde_json::from_str(text).map_err(|error| Failure::Failed(format!("{what}: {error}")))
}

fn shown_once(created: &CreatedClient, format: Format) -> Result<(), Failure> {
    if created.client_secret.is_some() {
        note("the secret is shown this once: it is not stored");
    }
    if format == Format::Json {
        return show::json(created);
    }
    let secret = created.client_secret.clone().map(|secret| ("client_secret", secret));
    let lines: Vec<_> = secret.into_iter().chain(details(&created.view)).collect();
    show::pairs(&lines)
}

fn show_view(view: &ClientView, format: Format) -> Result<(), Failure> {
    if format == Format::Json { show::json(view) } else { show::pairs(&details(view)) }
}

fn grants(view: &ClientView) -> String {
    let words = view.metadata.grant_types.iter().map(|grant| match grant {
        GrantType::TokenExchange => "token-exchange",
        GrantType::ClientCredentials | GrantType::RefreshToken => grant.word(),
    });
    words.collect::<Vec<_>>().join(" ")
}

fn details(view: &ClientView) -> Vec<(&'static str, String)> {
    let metadata = &view.metadata;
    let mut lines = vec![
        ("id", view.client_id.clone()),
        ("created", show::time(view.client_id_issued_at)),
        ("state", if metadata.disabled { "disabled" } else { "active" }.to_owned()),
        ("authentication", metadata.token_endpoint_auth_method.word().to_owned()),
        ("grants", grants(view)),
    ];
    let texts = |list: &[String]| (!list.is_empty()).then(|| list.join(" "));
    let seconds = |value: Option<u64>| value.map(|value| format!("{value} s"));
    let yes = |value: bool| value.then(|| "yes".to_owned());
    let optional = [
        ("name", metadata.client_name.clone()),
        ("scope", metadata.scope.clone()),
        ("audiences", texts(&metadata.audiences)),
        ("roles", texts(&metadata.roles)),
        ("certificate subject", metadata.tls_client_auth_subject_dn.clone()),
        ("access token lives", seconds(metadata.access_token_lifetime_seconds)),
        ("login lives", seconds(metadata.refresh_token_lifetime_seconds)),
        ("login lives unused", seconds(metadata.refresh_token_idle_seconds)),
        ("bound to a key", yes(metadata.dpop_bound_access_tokens)),
        ("bound to its certificate", yes(metadata.tls_client_certificate_bound_access_tokens)),
        ("first party", yes(metadata.first_party)),
        ("may introspect", yes(metadata.may_introspect)),
        ("may exchange", metadata.may_exchange.as_ref().map(|it| json!(it).to_string())),
    ];
    lines.extend(optional.into_iter().filter_map(|(name, value)| Some((name, value?))));
    for secret in &view.secrets {
        let end = secret.expires_at.map(|end| format!(", until {}", show::time(end)));
        let made = show::time(secret.created_at);
        lines.push(("secret", format!("made {made}{}", end.unwrap_or_default())));
    }
    lines
}
