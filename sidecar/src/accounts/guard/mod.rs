//! What keeps logins from being guessed.
//!
//! Failures are counted in the store, so that all sidecars count together, under keyed digests: of
//! what people type as their name some is a password. Three counters:
//!
//! - of a name from a network (/24, or /64 of IPv6), with a delay that grows with each failure;
//! - of an address, whatever the names, with a delay that grows: who tries one password on many
//!   names;
//! - of a name from all networks that it never logged in from: beyond a limit the account is under
//!   attack, and such networks take turns.
//!
//! Nobody can lock another out for good. A network that logged in to the account before has the
//! first counter only, which others do not touch. Any other has a turn of its own in each period,
//! which nobody else can take, however often they try: it waits for one period at most.

mod decide;
mod ledger;

use std::net::IpAddr;

use aws_lc_rs::hmac;
use wardgate_core::base64url;
use wardgate_core::secret::Secret;

/// The bounds of failed logins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoginLimits {
    /// Failures of a name from one network that cost no delay.
    pub per_network: u32,
    /// Failures of one address that cost no delay.
    pub per_address: u32,
    /// Failures of a name from networks that it never logged in from; then they take turns.
    pub per_account: u32,
    /// The longest delay, and the period of the turns, in seconds.
    pub max_delay_seconds: u64,
    /// How long a failure counts, in seconds.
    pub forget_seconds: u64,
    /// How long a network is remembered that logged in, in seconds.
    pub remember_seconds: u64,
}

/// Whom an attempt counts for: names of counters.
#[derive(Clone, Debug)]
pub(super) struct Who {
    pub(super) pair: String,
    pub(super) address: String,
    pub(super) account: String,
    /// Where in the period the turn of this network for this account begins.
    place: u64,
}

/// Why an attempt must wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Counter {
    /// Too many failures of the name from this network.
    Pair,
    /// Too many failures of the address.
    Address,
    /// The account is under attack, and it is not this network's turn.
    Account,
}

/// An attempt must wait.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Wait {
    /// How long, in seconds; not 0.
    pub(super) seconds: u64,
    /// For what.
    pub(super) counter: Counter,
}

/// Counts failures, and says who must wait.
pub(super) struct LoginGuard {
    key: hmac::Key,
    limits: LoginLimits,
}

impl LoginGuard {
    /// With the key of the digests, which nobody knows who chooses names or addresses.
    pub(super) fn new(key: &Secret, limits: LoginLimits) -> Self {
        Self { key: hmac::Key::new(hmac::HMAC_SHA256, key.expose()), limits }
    }

    /// The counters of a name, as it is compared, and an address.
    pub(super) fn who(&self, name: &str, address: Option<IpAddr>) -> Who {
        let network = network(address, 3, 8);
        let pair = self.digest("pair", &[name.as_bytes(), &network]);
        let place = pair.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes));
        let own = self.digest("address", &[&self::network(address, 4, 8)]);
        Who {
            pair: format!("pair/{}", base64url::encode(&pair)),
            address: format!("address/{}", base64url::encode(&own)),
            account: format!("account/{}", self.name_digest(name)),
            place,
        }
    }

    /// What stands for a name that is no user's, in the audit log: the same for the same name.
    pub(super) fn name_digest(&self, name: &str) -> String {
        base64url::encode(&self.digest("account", &[name.as_bytes()]))
    }

    fn digest(&self, what: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(what.as_bytes());
        for part in parts {
            // The length before each part: `ab` and `c` must not be `a` and `bc`.
            let length = u64::try_from(part.len()).unwrap_or(u64::MAX);
            context.update(&length.to_be_bytes());
            context.update(part);
        }
        context.sign().as_ref().first_chunk().copied().unwrap_or_default()
    }
}

/// The first bytes of an address, told apart by their number; none without an address.
fn network(address: Option<IpAddr>, of_4: usize, of_6: usize) -> Vec<u8> {
    match address.map(|address| address.to_canonical()) {
        None => Vec::new(),
        Some(IpAddr::V4(address)) => address.octets().into_iter().take(of_4).collect(),
        Some(IpAddr::V6(address)) => address.octets().into_iter().take(of_6).collect(),
    }
}

#[cfg(test)]
mod tests;
