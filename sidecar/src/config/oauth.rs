//! The section about OAuth clients and the endpoints where they get tokens.

use wardgate_core::config::Bounded;
use wardgate_core::section;

section! {
    /// OAuth: how clients authenticate and get tokens.
    pub struct OAuthSection = "oauth" {
        /// Whether certificates of clients are believed as `x-forwarded-client-cert` reports them, and
        /// clients can authenticate by them. Only where nobody but an Envoy can reach the public
        /// listener, and that Envoy writes the header itself
        /// (`forward_client_cert_details: SANITIZE_SET`): whoever else can write it is any client.
        pub forwarded_client_certificate: bool, default(false, false);
        /// How often one address may fail to authenticate as a client per minute, and at once; of IPv6
        /// each network of 64 bits. 0 switches it off.
        pub failures_per_minute_per_address: Bounded<0, 100_000>, default(Bounded(30), 30);
        /// What is demanded of the nonce of a DPoP proof at the token endpoint. A proof with a nonce
        /// that was given out here cannot have been made ahead of time.
        pub dpop_nonce: DpopNonce, default(DpopNonce::Optional, "optional");
    }
}

section! {
    /// What is demanded of the nonce of a DPoP proof.
    pub enum DpopNonce = "dpop_nonce" {
        /// Nothing; none is given out.
        Ignored = "ignored",
        /// One that is there must be one that was given out lately.
        Optional = "optional",
        /// There must be one; a client without is given one and tries again.
        Required = "required",
    }
}

impl Default for OAuthSection {
    fn default() -> Self {
        Self {
            forwarded_client_certificate: false,
            failures_per_minute_per_address: Bounded(30),
            dpop_nonce: DpopNonce::Optional,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use wardgate_core::config::{At, Problems, Read as _};

    use super::OAuthSection;

    #[test]
    fn defaults_are_what_an_empty_section_gives() {
        let read = OAuthSection::read(&json!({}), &At::ROOT, &mut Problems::new());
        assert_eq!(read, Some(OAuthSection::default()));
    }
}
