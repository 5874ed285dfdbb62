//! The section about the providers whose tokens are kept for users.

use wardgate_core::config::NonEmpty;
use wardgate_core::section;

use super::secure_url::SecureUrl;

section! {
    /// A provider whose tokens are kept for users, and handed to services that may have them.
    pub struct SocialProviderSection = "social_provider" {
        /// Where tokens are refreshed (`POST`, RFC 6749 §6): `https://…`, or `http://` to a loopback
        /// address.
        pub token_endpoint: SecureUrl, required;
        /// The name that this system has at the provider.
        pub client_id: NonEmpty, required;
        /// File with the secret that this system has at the provider, readable by its owner alone.
        /// Default: none, for providers that know it by its name.
        pub client_secret_file: Option<NonEmpty>, optional;
        /// How the secret is sent.
        pub auth_method: SocialAuthMethod, default(SocialAuthMethod::Basic, "client_secret_basic");
        /// Whether the provider takes a refresh token once only. If so, one that may have been taken
        /// is never sent again: where an answer was lost the user must log in there again. Say
        /// `false` only of a provider that documents it.
        pub rotates_refresh_tokens: bool, default(true, true);
        /// The clients (`client_id`) that may have the tokens of users.
        pub clients: Vec<NonEmpty>, default(Vec::new(), Vec::<String>::new());
        /// File with the certificates (PEM) of the authorities to trust. Default: those of the
        /// operating system.
        pub ca_file: Option<NonEmpty>, optional;
    }
}

section! {
    /// How the secret is sent to the provider (RFC 6749 §2.3.1).
    pub enum SocialAuthMethod = "social_auth_method" {
        /// In the header `Authorization`.
        Basic = "client_secret_basic",
        /// In the body.
        Post = "client_secret_post",
    }
}
