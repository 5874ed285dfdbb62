//! What a client sends to an OAuth endpoint.

use std::net::IpAddr;

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::form::{Form, decode};
use super::{ClientCertificate, OAuthError};

/// Longest `Authorization: Basic`: an id and a secret, and three times that for escapes.
const MAX_BASIC_BYTES: usize = 2048;
/// `client_assertion_type` of RFC 7523 §2.2.
pub(super) const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// A request to an endpoint where clients authenticate.
#[derive(Clone, Debug, Default)]
pub struct OAuthRequest {
    /// All headers.
    pub headers: HeaderMap,
    /// The body.
    pub form: Form,
    /// Whom the request comes from, as far as it is known.
    pub address: Option<IpAddr>,
}

/// How a client shows who it is.
#[derive(Debug)]
pub(super) enum Presented {
    /// A secret in the header.
    Basic(Zeroizing<String>),
    /// A secret in the body.
    Post(Zeroizing<String>),
    /// A token that it signed.
    Assertion(Zeroizing<String>),
    /// Nothing but its name; perhaps a certificate.
    Name,
}

/// Who a client says it is, and how it shows that.
#[derive(Debug)]
pub(super) struct Claimed {
    pub(super) client_id: Option<String>,
    pub(super) presented: Presented,
}

impl OAuthRequest {
    /// The credentials of the client.
    ///
    /// # Errors
    ///
    /// [`OAuthError::InvalidRequest`] when there are several: of two readers one could believe one,
    /// and the other the other (RFC 6749 §2.3).
    pub(super) fn claimed(&self) -> Result<Claimed, OAuthError> {
        let basic = self.basic()?;
        let secret = self.form.get("client_secret");
        let assertion = self.assertion()?;
        let methods = [basic.is_some(), secret.is_some(), assertion.is_some()];
        if methods.into_iter().filter(|used| *used).count() > 1 {
            return Err(OAuthError::InvalidRequest(
                "the client authenticates in more than one way",
            ));
        }
        let named = self.form.get("client_id").map(str::to_owned);
        if let Some((client_id, secret)) = basic {
            if named.is_some_and(|named| named != client_id) {
                return Err(OAuthError::InvalidRequest("the body names another client"));
            }
            let presented = Presented::Basic(secret);
            return Ok(Claimed { client_id: Some(client_id), presented });
        }
        let owned = |text: &str| Zeroizing::new(text.to_owned());
        let presented = match (secret, assertion) {
            (Some(secret), _) => Presented::Post(owned(secret)),
            (None, Some(assertion)) => Presented::Assertion(owned(assertion)),
            (None, None) => Presented::Name,
        };
        Ok(Claimed { client_id: named, presented })
    }

    fn assertion(&self) -> Result<Option<&str>, OAuthError> {
        let kind = self.form.get("client_assertion_type");
        match (kind, self.form.get("client_assertion")) {
            (None, None) => Ok(None),
            (Some(JWT_BEARER), Some(assertion)) => Ok(Some(assertion)),
            _ => Err(OAuthError::InvalidRequest(
                "`client_assertion` and `client_assertion_type` (jwt-bearer) go together",
            )),
        }
    }

    /// Id and secret of `Authorization: Basic` (RFC 6749 §2.3.1): both were put into a form before
    /// they were joined, so that a colon in the id is none.
    fn basic(&self) -> Result<Option<(String, Zeroizing<String>)>, OAuthError> {
        const WRONG: OAuthError = OAuthError::InvalidRequest(
            "`Authorization` is not `Basic` with id and secret, each encoded as in a form",
        );
        let mut values = self.headers.get_all(header::AUTHORIZATION).iter();
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() || value.len() > MAX_BASIC_BYTES {
            return Err(WRONG);
        }
        let (scheme, encoded) =
            value.to_str().ok().and_then(|text| text.split_once(' ')).ok_or(WRONG)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(WRONG);
        }
        let decoded = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| WRONG)?);
        let text = core::str::from_utf8(&decoded).map_err(|_| WRONG)?;
        let (id, secret) = text.split_once(':').ok_or(WRONG)?;
        let (id, secret) = (decode(id).ok_or(WRONG)?, decode(secret).ok_or(WRONG)?);
        Ok(Some((id.to_string(), secret)))
    }

    /// The certificate that the proxy reports.
    pub(super) fn certificate(&self) -> Option<ClientCertificate> {
        let mut values = self.headers.get_all("x-forwarded-client-cert").iter();
        match (values.next(), values.next()) {
            (Some(value), None) => ClientCertificate::parse(value.as_bytes()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};

    use super::{Claimed, Form, JWT_BEARER, OAuthRequest, Presented};

    fn request(authorization: &[&str], form: &[(&str, &str)]) -> OAuthRequest {
        let mut headers = HeaderMap::new();
        for value in authorization {
            headers.append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
        }
        OAuthRequest { headers, form: Form::of(form), address: None }
    }

    #[test]
    fn id_and_secret_of_basic_are_decoded_as_in_a_form() {
        // `a:b` and `c d%`, each encoded.
        let asked = request(&["Basic YSUzQWI6YytkJTI1"], &[]).claimed().unwrap();
        let Claimed { client_id: Some(id), presented: Presented::Basic(secret) } = asked else {
            panic!("{asked:?}");
        };
        assert_eq!((id.as_str(), secret.as_str()), ("a:b", "c d%"));
    }

    #[test]
    fn a_client_authenticates_in_one_way() {
        let (basic, secret) = ("Basic YTpi", ("client_secret", "b"));
        let assertion = [("client_assertion", "x"), ("client_assertion_type", JWT_BEARER)];
        for wrong in [
            request(&[basic, basic], &[]),
            request(&[basic], &[secret]),
            request(&[basic], &assertion),
            request(&[basic], &[("client_id", "b")]),
            request(&[], &[secret, assertion[0], assertion[1]]),
            request(&[], &[assertion[0]]),
            request(&[], &[assertion[1]]),
            request(&[], &[assertion[0], ("client_assertion_type", "other")]),
            request(&["Bearer YTpi"], &[]),
            request(&["Basic YQ=="], &[]),
            request(&["Basic !"], &[]),
            request(&["Basic"], &[]),
        ] {
            assert!(wrong.claimed().is_err(), "{wrong:?}");
        }
        assert!(request(&[basic], &[("client_id", "a")]).claimed().is_ok());
        let named = request(&[], &[("client_id", "a")]).claimed().unwrap();
        assert!(matches!(named.presented, Presented::Name));
    }
}
