//! Scripts of which other origins may ask.

/// Scripts of which other origins a browser lets ask an endpoint and read its answers (CORS, of the
/// Fetch standard). It restricts browsers and nobody else: what an endpoint requires, it requires of
/// scripts too.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::http) enum OtherOrigins {
    /// Of none.
    None,
    /// Of those that the configuration names (`oauth.allowed_origins`).
    Allowed,
    /// Of all: everybody may know what it says.
    All,
}

impl OtherOrigins {
    pub(in crate::http) const ALL: [Self; 3] = [Self::None, Self::Allowed, Self::All];

    /// As in the document; nothing where browsers let none ask.
    pub(super) fn word(self) -> Option<&'static str> {
        match self {
            Self::None => None,
            Self::Allowed => Some("allowed"),
            Self::All => Some("all"),
        }
    }

    /// Which they are, for the reader of the page.
    pub(super) fn description(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Allowed => "those of `oauth.allowed_origins`",
            Self::All => "all",
        }
    }
}
