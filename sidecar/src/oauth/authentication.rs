//! Who a client is: by the one method that is registered of it.

use super::request::{Claimed, OAuthRequest, Presented};
use super::used::use_once;
use super::{AuthenticationMethod, ClientCertificate, ClientRefusal, OAuthError, TokenService};
use super::{assertion, certificate, check};
use crate::store::records::StoredClient;

/// A client that has shown who it is; made only here.
#[derive(Debug)]
pub struct AuthenticatedClient {
    client: StoredClient,
    certificate: Option<ClientCertificate>,
}

impl AuthenticatedClient {
    /// Its id.
    pub fn id(&self) -> &str {
        &self.client.client_id
    }

    /// What is registered of it.
    pub fn metadata(&self) -> &super::ClientMetadata {
        &self.client.metadata
    }

    /// The certificate that it has shown, whether it authenticates by it or not.
    pub fn certificate(&self) -> Option<&ClientCertificate> {
        self.certificate.as_ref()
    }
}

/// What is made sure of at the end, so that it is not used up by a request that fails otherwise.
enum Proof {
    Complete,
    Assertion(assertion::VerifiedAssertion),
}

impl TokenService {
    /// Finds out who the client of a request is.
    ///
    /// # Errors
    ///
    /// [`OAuthError::InvalidClient`] when it is not who it says, [`OAuthError::InvalidRequest`] when
    /// it says so in several ways, [`OAuthError::TooManyFailures`] when its address failed too often.
    pub async fn authenticate(
        &self,
        request: &OAuthRequest,
    ) -> Result<AuthenticatedClient, OAuthError> {
        self.admit(request)?;
        let claimed = request.claimed()?;
        let authenticated = self.judge_client(request, claimed).await;
        if let Err(OAuthError::InvalidClient(_)) = &authenticated {
            self.count_failure(request);
        }
        authenticated
    }

    async fn judge_client(
        &self,
        request: &OAuthRequest,
        claimed: Claimed,
    ) -> Result<AuthenticatedClient, OAuthError> {
        let Claimed { client_id, presented } = claimed;
        let client_id = client_id.or_else(|| match &presented {
            Presented::Assertion(assertion) => assertion::unverified_client(assertion),
            Presented::Basic(_) | Presented::Post(_) | Presented::Name => None,
        });
        let refused = |reason| {
            let name = client_id.clone().filter(|id| check::is_client_id(id));
            OAuthError::InvalidClient(ClientRefusal { client_id: name, reason })
        };
        let id = client_id.as_deref().filter(|id| check::is_client_id(id));
        let id = id.ok_or_else(|| refused("client-not-named"))?;
        let client = self.clients.find(id).await?;
        let certificate = self.certificate(request);
        let proof = self.prove(id, client.as_ref(), &presented, certificate.as_ref());
        let (proof, client) = match (proof, client) {
            (Ok(proof), Some(client)) => (proof, client),
            (Ok(_), None) => return Err(refused("client-unknown")),
            (Err(reason), _) => return Err(refused(reason)),
        };
        if client.metadata.disabled {
            return Err(refused("client-disabled"));
        }
        if let Proof::Assertion(verified) = proof {
            let parts = [id, verified.token_id.as_str()];
            if !use_once(&**self.desk.store(), "client-assertion", &parts, verified.until).await? {
                return Err(refused("assertion-replayed"));
            }
        }
        Ok(AuthenticatedClient { client, certificate })
    }

    /// The certificate that a request comes with, where the configuration says that it is to be
    /// believed.
    pub(super) fn certificate(&self, request: &OAuthRequest) -> Option<ClientCertificate> {
        self.section.forwarded_client_certificate.then(|| request.certificate()).flatten()
    }

    /// Whether what is presented is of the registered method, and right.
    fn prove(
        &self,
        id: &str,
        client: Option<&StoredClient>,
        presented: &Presented,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Proof, &'static str> {
        let method = client.map(|client| client.metadata.token_endpoint_auth_method);
        let by_secret = |expected, secret: &str| {
            // The comparison comes first and always: the time that it takes does not tell who is
            // registered, nor how.
            let right = self.clients.has_secret(client, id, secret);
            match method {
                None => Err("client-unknown"),
                Some(method) if method != expected => Err("method-not-registered"),
                Some(_) if right => Ok(Proof::Complete),
                Some(_) => Err("secret-wrong"),
            }
        };
        match presented {
            Presented::Basic(secret) => by_secret(AuthenticationMethod::ClientSecretBasic, secret),
            Presented::Post(secret) => by_secret(AuthenticationMethod::ClientSecretPost, secret),
            Presented::Assertion(text) => {
                self.prove_by_assertion(client.ok_or("client-unknown")?, text)
            }
            Presented::Name => prove_by_name(client.ok_or("client-unknown")?, certificate),
        }
    }

    fn prove_by_assertion(&self, client: &StoredClient, text: &str) -> Result<Proof, &'static str> {
        if client.metadata.token_endpoint_auth_method != AuthenticationMethod::PrivateKeyJwt {
            return Err("method-not-registered");
        }
        let jwks = client.metadata.jwks.as_ref().ok_or("assertion-keys")?;
        let (audiences, now) = (self.own_audiences(), self.clock.now());
        assertion::judge(text, &client.client_id, jwks, &audiences, now).map(Proof::Assertion)
    }
}

/// A client that gives its name only: a public one, or one that has shown a certificate.
fn prove_by_name(
    client: &StoredClient,
    shown: Option<&ClientCertificate>,
) -> Result<Proof, &'static str> {
    let metadata = &client.metadata;
    let right = match metadata.token_endpoint_auth_method {
        AuthenticationMethod::None => return Ok(Proof::Complete),
        AuthenticationMethod::ClientSecretBasic
        | AuthenticationMethod::ClientSecretPost
        | AuthenticationMethod::PrivateKeyJwt => return Err("credentials-missing"),
        AuthenticationMethod::TlsClientAuth => {
            let shown = shown.ok_or("certificate-missing")?;
            let registered = metadata.tls_client_auth_subject_dn.as_deref();
            let registered = registered.and_then(certificate::subject);
            registered.is_some() && registered == shown.subject
        }
        AuthenticationMethod::SelfSignedTlsClientAuth => {
            let shown = shown.ok_or("certificate-missing")?;
            let registered = metadata.jwks.as_ref().map(certificate::registered_digests);
            registered.is_some_and(|digests| digests.contains(&shown.sha256))
        }
    };
    if right { Ok(Proof::Complete) } else { Err("certificate-wrong") }
}
