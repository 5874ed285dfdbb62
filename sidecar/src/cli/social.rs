//! `social …`: what users have at providers. No command shows a token.

use serde_json::json;

use super::arguments::{DeleteSocialTokens, Format, OneUser, Social};
use super::office::{Admin, Office, reach, segment};
use super::user::path;
use super::{Failure, loaded, note, runtime, serve, show};
use crate::accounts::{User, find};
use crate::clock::Clock;
use crate::desk::Desk;
use crate::random::Random;
use crate::social::{SocialState, SocialTokensList, SocialTokensView, SocialVault};

/// The vault, near or far.
enum Place {
    Running(Admin),
    Direct(Box<Desk>, SocialVault),
}

pub(super) fn run(social: Social) -> Result<(), Failure> {
    runtime()?.block_on(async {
        match social {
            Social::List(asked) => list(&asked).await,
            Social::Delete(asked) => delete(&asked).await,
        }
    })
}

async fn place(config: &std::path::Path) -> Result<Place, Failure> {
    let loaded = loaded(config)?;
    match reach(&loaded).await? {
        Office::Running(admin) => Ok(Place::Running(admin)),
        Office::Direct(desk) => {
            let time = (&Clock::system(), Random::system());
            let vault = serve::social_vault(&loaded, &desk, time, None)?;
            Ok(Place::Direct(desk, vault))
        }
    }
}

impl Place {
    /// The id of a user who is named by name or id: the vault knows ids alone.
    async fn id_of(&self, user: &str) -> Result<String, Failure> {
        match self {
            Self::Running(admin) => Ok(admin.get::<User>(&path(user)).await?.id),
            Self::Direct(desk, _) => {
                let found = find(&**desk.store(), user).await.map_err(Failure::failed)?;
                Ok(found.user.id)
            }
        }
    }
}

/// Where the tokens of a user are, by the id of the user.
fn tokens_of(id: &str) -> String {
    format!("{}/social-tokens", path(id))
}

async fn list(asked: &OneUser) -> Result<(), Failure> {
    let place = place(&asked.from.config).await?;
    let id = place.id_of(&asked.user).await?;
    let list: SocialTokensList = match place {
        Place::Running(admin) => admin.get(&tokens_of(&id)).await?,
        Place::Direct(_, vault) => vault.list(&id).await.map_err(Failure::failed)?,
    };
    let views = list.social_tokens;
    if asked.output.output == Format::Json {
        return show::json(&views);
    }
    if views.is_empty() {
        note("the user has no tokens at the providers of the configuration");
    }
    let heads = ["provider", "state", "scope", "expires", "refreshable", "stored", "refreshed"];
    show::table(&heads, &views.iter().map(row).collect::<Vec<_>>())
}

fn row(view: &SocialTokensView) -> Vec<String> {
    let time = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), show::time);
    let state = match view.state {
        SocialState::Usable => "usable",
        SocialState::LoginNeeded => "login needed",
    };
    vec![
        view.provider.clone(),
        state.to_owned(),
        view.scope.clone().unwrap_or_else(|| "-".to_owned()),
        time(view.expires_at),
        if view.can_refresh { "yes" } else { "no" }.to_owned(),
        show::time(view.stored_at),
        time(view.refreshed_at),
    ]
}

async fn delete(asked: &DeleteSocialTokens) -> Result<(), Failure> {
    let place = place(&asked.from.config).await?;
    let id = place.id_of(&asked.user).await?;
    let deleted = match &asked.provider {
        Some(provider) => {
            delete_one(place, &id, provider).await?;
            vec![provider.clone()]
        }
        None => delete_all(place, &id).await?,
    };
    if asked.output.output == Format::Json {
        return show::json(&json!({"deleted": deleted}));
    }
    if deleted.is_empty() {
        note("the user had no tokens at the providers of the configuration");
    }
    let lines: Vec<_> = deleted.into_iter().map(|provider| ("deleted", provider)).collect();
    show::pairs(&lines)
}

async fn delete_one(place: Place, id: &str, provider: &str) -> Result<(), Failure> {
    match place {
        Place::Running(admin) => {
            admin.delete(&format!("{}/{}", tokens_of(id), segment(provider))).await
        }
        Place::Direct(_, vault) => match vault.forget(id, provider).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Failure::Failed("the user has no tokens at this provider".to_owned())),
            Err(error) => Err(Failure::failed(error)),
        },
    }
}

async fn delete_all(place: Place, id: &str) -> Result<Vec<String>, Failure> {
    let deleted: SocialTokensList = match place {
        Place::Running(admin) => admin.remove(&tokens_of(id)).await?,
        Place::Direct(_, vault) => vault.forget_all(id).await.map_err(Failure::failed)?,
    };
    Ok(deleted.social_tokens.into_iter().map(|view| view.provider).collect())
}
