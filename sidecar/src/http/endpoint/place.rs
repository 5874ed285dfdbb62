//! Where an endpoint stands besides, for an issuer with a path.

use super::Declaration;

/// Where the path of the issuer stands in the address of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum IssuerPath {
    /// Nowhere: nobody makes the address of the issuer.
    Nowhere,
    /// Before the path: `/tenant/oauth2/token`.
    First,
    /// After it: `/.well-known/oauth-authorization-server/tenant` (RFC 8414 §3.1).
    Last,
}

impl Declaration {
    /// The path that it is served at besides, as a pattern of the router, for an issuer with this
    /// path; `issuer_path` is empty, or begins with `/` and does not end with it. The configuration
    /// lets no letter into it that is more than itself to a router.
    pub(super) fn path_of_issuer(&self, issuer_path: &str) -> Option<String> {
        match self.issuer_path {
            IssuerPath::Nowhere => None,
            IssuerPath::First | IssuerPath::Last if issuer_path.is_empty() => None,
            IssuerPath::First => Some(format!("{issuer_path}{}", self.path)),
            IssuerPath::Last => Some(format!("{}{issuer_path}", self.path)),
        }
    }
}
