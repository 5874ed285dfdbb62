//! `user list`: page by page, so that a million users need no more memory than a page.

use serde_json::json;

use super::{PATH, Register, register, state, words};
use crate::accounts::{User, UserFilter, UserList, UserState};
use crate::cli::arguments::{Format, ListUsers, UserState as Asked};
use crate::cli::office::segment;
use crate::cli::{Failure, loaded, print, show};

pub(super) async fn run(asked: &ListUsers) -> Result<(), Failure> {
    let register = register(&loaded(&asked.from.config)?).await?;
    let mut filter = UserFilter {
        cursor: None,
        state: asked.state.map(|state| match state {
            Asked::Active => UserState::Active,
            Asked::Disabled => UserState::Disabled,
        }),
        role: asked.role.clone(),
        group: asked.group.clone(),
    };
    let format = asked.output.output;
    let mut printed = 0_u64;
    if format == Format::Json {
        print("{\n  \"users\": [")?;
    }
    loop {
        let list = page(&register, &filter).await?;
        match format {
            Format::Json => {
                for user in &list.users {
                    let comma = if printed == 0 { "" } else { "," };
                    printed = printed.saturating_add(1);
                    print(&format!("{comma}\n    {}", json!(user)))?;
                }
            }
            Format::Table if printed == 0 || !list.users.is_empty() => {
                printed = printed.saturating_add(1);
                table(&list.users)?;
            }
            Format::Table => {}
        }
        filter.cursor = list.next;
        if filter.cursor.is_none() {
            break;
        }
    }
    match format {
        Format::Json => print(if printed == 0 { "]\n}\n" } else { "\n  ]\n}\n" }),
        Format::Table => Ok(()),
    }
}

async fn page(register: &Register, filter: &UserFilter) -> Result<UserList, Failure> {
    match register {
        Register::Running(admin) => admin.get(&format!("{PATH}?{}", query(filter)?)).await,
        Register::Direct(accounts) => accounts.list(filter).await.map_err(Failure::failed),
    }
}

/// The filter as a query: each member is a text.
fn query(filter: &UserFilter) -> Result<String, Failure> {
    let members = serde_json::to_value(filter).map_err(Failure::failed)?;
    let pairs = members
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, value)| format!("{name}={}", segment(value.as_str().unwrap_or_default())));
    Ok(pairs.collect::<Vec<_>>().join("&"))
}

fn table(users: &[User]) -> Result<(), Failure> {
    let row = |user: &User| {
        vec![
            user.id.clone(),
            user.name.clone(),
            state(user.state).to_owned(),
            words(&user.roles),
            words(&user.groups),
            user.email.clone().unwrap_or_else(|| "-".to_owned()),
            show::time(user.created_at),
        ]
    };
    let heads = ["id", "name", "state", "roles", "groups", "email", "created"];
    show::table(&heads, &users.iter().map(row).collect::<Vec<_>>())
}
