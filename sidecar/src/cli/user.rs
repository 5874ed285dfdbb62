//! `user …`.

mod import;
mod list;
mod prompt;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::json;

use super::arguments::{ChangeUser, CreateUser as Asked, Format, OneUser, SetUserPassword, User};
use super::office::{Admin, Office, reach, segment};
use super::{Failure, loaded, runtime, show};
use crate::accounts::{
    AccountGround, AccountSettings, Accounts, ChangePassword, CreateUser, LoginAttempt, UpdateUser,
    User as View, UserState,
};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::http::SetPassword;
use crate::metrics::Metrics;
use crate::random::Random;

const PATH: &str = "/admin/v1/users";

/// The users, near or far.
enum Register {
    /// In the running sidecar.
    Running(Admin),
    /// In this process.
    Direct(Box<Accounts>),
}

/// What happens to a user without more words.
#[derive(Clone, Copy)]
enum Action {
    Disable,
    Enable,
    Logout,
}

pub(super) fn run(command: User) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match command {
            User::Create(asked) => create(asked).await,
            User::List(asked) => list::run(&asked).await,
            User::Show(asked) => show_one(&asked).await,
            User::Update(asked) => update(asked).await,
            User::Disable(asked) => act(&asked, Action::Disable).await,
            User::Enable(asked) => act(&asked, Action::Enable).await,
            User::Logout(asked) => act(&asked, Action::Logout).await,
            User::Delete(asked) => delete(&asked).await,
            User::SetPassword(asked) => set_password(&asked).await,
            User::Import(asked) => import::run(&asked).await,
        }
    })
}

/// Finds the users.
async fn register(loaded: &Loaded) -> Result<Register, Failure> {
    let desk = match reach(loaded).await? {
        Office::Running(admin) => return Ok(Register::Running(admin)),
        Office::Direct(desk) => desk,
    };
    let ground = AccountGround {
        store: Arc::clone(desk.store()),
        store_keys: loaded.store_keys.clone(),
        issuer: loaded.config.issuer.issuer.0.clone(),
        clock: Clock::system(),
        random: Random::system(),
        metrics: Arc::new(Metrics::new()),
        audit: None,
    };
    let settings = AccountSettings::of(loaded).map_err(Failure::failed)?;
    let accounts = Accounts::open(ground, settings).await.map_err(Failure::failed)?;
    Ok(Register::Direct(Box::new(accounts)))
}

/// Where a user is, on the admin socket.
pub(super) fn path(user: &str) -> String {
    format!("{PATH}/{}", segment(user))
}

async fn create(asked: Asked) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let password = if asked.no_password { None } else { Some(prompt::new_password()?) };
    let wanted = CreateUser {
        name: asked.name,
        password,
        id: asked.id,
        roles: asked.role,
        groups: asked.group,
        email: asked.email,
        metadata: asked.meta.into_iter().collect(),
        disabled: asked.disabled,
    };
    let created: View = match register(&loaded).await? {
        Register::Running(admin) => admin.post(PATH, &wanted).await?,
        Register::Direct(accounts) => accounts.create(wanted).await.map_err(Failure::failed)?,
    };
    show_view(&created, asked.output.output)
}

async fn show_one(asked: &OneUser) -> Result<(), Failure> {
    let view = match register(&loaded(&asked.from.config)?).await? {
        Register::Running(admin) => admin.get(&path(&asked.user)).await?,
        Register::Direct(accounts) => accounts.show(&asked.user).await.map_err(Failure::failed)?,
    };
    show_view(&view, asked.output.output)
}

async fn update(asked: ChangeUser) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let list = |list: Vec<String>, none: bool| (none || !list.is_empty()).then_some(list);
    let mut metadata: BTreeMap<_, _> =
        asked.meta.into_iter().map(|(name, value)| (name, Some(value))).collect();
    metadata.extend(asked.unset_meta.into_iter().map(|name| (name, None)));
    let wanted = UpdateUser {
        name: asked.name,
        roles: list(asked.role, asked.no_roles),
        groups: list(asked.group, asked.no_groups),
        email: if asked.no_email { Some(None) } else { asked.email.map(Some) },
        metadata: Some(metadata).filter(|metadata| !metadata.is_empty()),
    };
    let view: View = match register(&loaded).await? {
        Register::Running(admin) => admin.patch(&path(&asked.user), &wanted).await?,
        Register::Direct(accounts) => {
            accounts.update(&asked.user, wanted).await.map_err(Failure::failed)?
        }
    };
    show_view(&view, asked.output.output)
}

async fn act(asked: &OneUser, action: Action) -> Result<(), Failure> {
    let user = &asked.user;
    let view: View = match register(&loaded(&asked.from.config)?).await? {
        Register::Running(admin) => {
            let word = match action {
                Action::Disable => "disable",
                Action::Enable => "enable",
                Action::Logout => "logout",
            };
            admin.post(&format!("{}/{word}", path(user)), &json!({})).await?
        }
        Register::Direct(accounts) => {
            let done = match action {
                Action::Disable => accounts.disable(user).await,
                Action::Enable => accounts.enable(user).await,
                Action::Logout => accounts.log_out(user).await,
            };
            done.map_err(Failure::failed)?
        }
    };
    show_view(&view, asked.output.output)
}

async fn delete(asked: &OneUser) -> Result<(), Failure> {
    match register(&loaded(&asked.from.config)?).await? {
        Register::Running(admin) => admin.delete(&path(&asked.user)).await?,
        Register::Direct(accounts) => {
            accounts.delete(&asked.user).await.map_err(Failure::failed)?;
        }
    }
    let deleted = json!({"deleted": asked.user});
    if asked.output.output == Format::Json {
        return show::json(&deleted);
    }
    show::pairs(&[("deleted", asked.user.clone())])
}

async fn set_password(asked: &SetUserPassword) -> Result<(), Failure> {
    let loaded = loaded(&asked.from.config)?;
    let old_password =
        if asked.with_old { Some(prompt::password("Old password: ")?) } else { None };
    let password = prompt::new_password()?;
    let view: View = match register(&loaded).await? {
        Register::Running(admin) => {
            let wanted = SetPassword { password, old_password, address: None };
            admin.post(&format!("{}/password", path(&asked.user)), &wanted).await?
        }
        Register::Direct(accounts) => match old_password {
            None => accounts.set_password(&asked.user, password).await.map_err(Failure::failed)?,
            Some(old) => {
                let name = accounts.show(&asked.user).await.map_err(Failure::failed)?.name;
                let attempt = LoginAttempt { name, password: old, address: None };
                let change = ChangePassword { attempt, new: password };
                accounts.change_password(change).await.map_err(Failure::failed)?
            }
        },
    };
    show_view(&view, asked.output.output)
}

fn show_view(view: &View, format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return show::json(view);
    }
    let metadata: Vec<String> =
        view.metadata.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let set_at = view.password.as_ref().map(|password| show::time(password.set_at));
    let mut lines = vec![
        ("id", view.id.clone()),
        ("name", view.name.clone()),
        ("state", state(view.state).to_owned()),
        ("roles", words(&view.roles)),
        ("groups", words(&view.groups)),
        ("email", view.email.clone().unwrap_or_else(|| "-".to_owned())),
        ("password set", set_at.unwrap_or_else(|| "never".to_owned())),
        ("created", show::time(view.created_at)),
        ("changed", show::time(view.changed_at)),
    ];
    lines.extend(view.tokens_not_before.map(|at| ("tokens from", show::time(at))));
    if !metadata.is_empty() {
        lines.push(("metadata", metadata.join(", ")));
    }
    show::pairs(&lines)
}

fn words(words: &[String]) -> String {
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

fn state(state: UserState) -> &'static str {
    match state {
        UserState::Active => "active",
        UserState::Disabled => "disabled",
    }
}
