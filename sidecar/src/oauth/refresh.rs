//! A new pair for a refresh token (RFC 6749 §6).

use zeroize::Zeroizing;

use super::issue::{Confirmation, TokenAnswer, asked_audiences, asked_scope};
use super::metadata::TOKEN_PATH;
use super::scopes::Scopes;
use super::session::{Pair, may_log_in};
use super::{AuthenticatedClient, OAuthError, OAuthRequest, TokenService};
use crate::families::{Grant, Presenter, RefreshError};
use crate::store::StoreError;
use crate::store::records::StoredFamily;

/// In how many seconds to come again when others use the same token all the time.
const BUSY_SECONDS: u64 = 1;

/// What the new access token is to be, of what was granted.
struct Asked {
    audiences: Vec<String>,
    scope: Option<Scopes>,
}

impl TokenService {
    /// Uses a refresh token. The user is looked at anew, so that a new role counts and a user who is
    /// gone gets nothing; what the client may no longer ask for is left out.
    pub(super) async fn refresh(
        &self,
        client: &AuthenticatedClient,
        request: &OAuthRequest,
    ) -> Result<TokenAnswer, OAuthError> {
        let token = request.form.require("refresh_token", "`refresh_token` is missing")?;
        let asked = Asked { audiences: asked_audiences(request), scope: asked_scope(request)? };
        let confirmation = self.confirmation(client, request, TOKEN_PATH).await?;
        let presenter =
            Presenter { client_id: client.id().to_owned(), shown: confirmation.shown() };
        let mint = |grant| self.refreshed(client, grant, &confirmation, &asked);
        match self.families.refresh(token, &presenter, mint).await {
            Ok(refreshed) => Ok(TokenAnswer { body: refreshed.answer, event: None }),
            Err(RefreshError::Refused(_)) => Err(OAuthError::InvalidGrant(
                "the refresh token is not accepted: it was used, has ended, or is not this client's",
            )),
            Err(RefreshError::Ended(ended)) => Err(OAuthError::LoginEnded(ended)),
            Err(RefreshError::Mint(error)) => Err(error),
            Err(RefreshError::Store(StoreError::Changed)) => Err(OAuthError::Busy(BUSY_SECONDS)),
            Err(RefreshError::Store(error)) => Err(error.into()),
            Err(error @ (RefreshError::Seal | RefreshError::Random(_))) => {
                Err(OAuthError::server(error))
            }
        }
    }

    /// The answer to a refresh that was granted.
    async fn refreshed(
        &self,
        client: &AuthenticatedClient,
        grant: Grant,
        confirmation: &Confirmation,
        asked: &Asked,
    ) -> Result<Zeroizing<String>, OAuthError> {
        let minted = self.minted(client, &grant, confirmation, asked).await;
        // What fails inside says nothing of the token.
        if minted.as_ref().is_err_and(|error| error.status() < 500) {
            self.families.count_denied(&grant.family.stored);
        }
        minted
    }

    async fn minted(
        &self,
        client: &AuthenticatedClient,
        grant: &Grant,
        confirmation: &Confirmation,
        asked: &Asked,
    ) -> Result<Zeroizing<String>, OAuthError> {
        let family = &grant.family.stored;
        let user = self.accounts.user(&family.subject).await?.filter(may_log_in);
        let user = user.ok_or(OAuthError::InvalidGrant("the user may not log in any more"))?;
        self.pair(Pair {
            client,
            user: &user,
            family: Some(&grant.family),
            refresh_token: Some(&grant.refresh_token),
            refresh_expires_in: Some(grant.expires_in),
            audiences: self.audiences_left(client, family, asked)?,
            scope: scope_left(client, family, asked)?,
            claims: &family.claims,
            confirmation,
        })
    }

    /// What the new token is for: of what was granted, what the client still may ask for.
    fn audiences_left(
        &self,
        client: &AuthenticatedClient,
        family: &StoredFamily,
        asked: &Asked,
    ) -> Result<Vec<String>, OAuthError> {
        const NONE: OAuthError =
            OAuthError::InvalidTarget("the token may not be for this audience or resource");
        let mut left = self.allowed_audiences(client);
        left.retain(|audience| family.audiences.is_empty() || family.audiences.contains(audience));
        if !asked.audiences.iter().all(|audience| left.contains(audience)) {
            return Err(NONE);
        }
        let audiences = if asked.audiences.is_empty() { left } else { asked.audiences.clone() };
        if audiences.is_empty() { Err(NONE) } else { Ok(audiences) }
    }
}

/// The scopes of the new token: of what was granted, what the client still may ask for. A narrower
/// wish is for this access token alone (RFC 6749 §6).
fn scope_left(
    client: &AuthenticatedClient,
    family: &StoredFamily,
    asked: &Asked,
) -> Result<Scopes, OAuthError> {
    let granted = family.scope.as_deref().and_then(Scopes::parse).unwrap_or_default();
    let own = client.metadata().scope.as_deref().and_then(Scopes::parse).unwrap_or_default();
    let left = granted.within(&own);
    let scope = match &asked.scope {
        None => left,
        Some(asked) if asked.are_within(&left) => asked.clone(),
        Some(_) => {
            return Err(OAuthError::InvalidScope("a scope is asked for that was not granted"));
        }
    };
    // A token without scopes is one that nothing restricts.
    if family.scope.is_some() && scope.is_empty() {
        return Err(OAuthError::InvalidScope("nothing of what was granted is left"));
    }
    Ok(scope)
}
