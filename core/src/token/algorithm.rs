//! The signature algorithms of JSON Web Tokens (RFC 7518 §3.1, RFC 8037 §3.1).

crate::section! {
    /// A signature algorithm. `none` is not one of them, so that no configuration can allow it.
    pub enum Algorithm = "algorithm" {
        /// RSA with PKCS #1 v1.5 padding and SHA-256.
        Rs256 = "RS256",
        /// RSA with PKCS #1 v1.5 padding and SHA-384.
        Rs384 = "RS384",
        /// RSA with PKCS #1 v1.5 padding and SHA-512.
        Rs512 = "RS512",
        /// RSA with PSS padding and SHA-256.
        Ps256 = "PS256",
        /// RSA with PSS padding and SHA-384.
        Ps384 = "PS384",
        /// RSA with PSS padding and SHA-512.
        Ps512 = "PS512",
        /// ECDSA on P-256 with SHA-256.
        Es256 = "ES256",
        /// ECDSA on P-384 with SHA-384.
        Es384 = "ES384",
        /// ECDSA on P-521 with SHA-512.
        Es512 = "ES512",
        /// `EdDSA` on Ed25519; Ed448 is not supported.
        EdDsa = "EdDSA",
        /// HMAC with SHA-256.
        Hs256 = "HS256",
        /// HMAC with SHA-384.
        Hs384 = "HS384",
        /// HMAC with SHA-512.
        Hs512 = "HS512",
    }
}

impl Algorithm {
    /// What an issuer may use when its configuration lists no algorithms.
    ///
    /// Without ES512: one check costs over a millisecond of a worker, so that a flood of bad tokens
    /// would cost the gate more than its sender. Without HS*: a shared secret can sign as well as
    /// verify, and must be a decision (RFC 8725 §3.5). Both are used when listed explicitly.
    pub const DEFAULT: &'static [Self] = &[
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Es256,
        Self::Es384,
        Self::EdDsa,
    ];

    /// How long an HMAC secret must be: the output of the hash (RFC 7518 §3.2). `None` for
    /// algorithms with a public key.
    pub const fn hmac_secret_bytes(self) -> Option<usize> {
        match self {
            Self::Hs256 => Some(32),
            Self::Hs384 => Some(48),
            Self::Hs512 => Some(64),
            Self::Rs256
            | Self::Rs384
            | Self::Rs512
            | Self::Ps256
            | Self::Ps384
            | Self::Ps512
            | Self::Es256
            | Self::Es384
            | Self::Es512
            | Self::EdDsa => None,
        }
    }
}
