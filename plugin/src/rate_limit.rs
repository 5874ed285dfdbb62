//! Rate limits between the gate, the sidecar and the client.

use wardgate_core::json::parse_strict;
use wardgate_core::wire::mac::RequestParts;
use wardgate_core::wire::rate::{RATE_LEASES_PATH, RateLeasesAnswer};

use crate::host::{self, Map};
use crate::sidecar::Purpose;
use crate::state::State;

impl State {
    /// Asks the sidecar for pieces of limits across proxies, if the gate wants any.
    pub(crate) fn ask_for_leases(&mut self) {
        let Some(sidecar) = &mut self.sidecar else { return };
        let Some(leases) = self.gate.rate_leases() else { return };
        let body = serde_json::to_vec(&leases).unwrap_or_default();
        let parts = RequestParts { method: "POST", path: RATE_LEASES_PATH, body: &body };
        if sidecar.call(Purpose::RateLeases, parts, 0).is_err() {
            self.metrics.call_failed();
            self.gate.rate_leases_answered(None);
        }
    }

    /// Gives the sidecar's answer about limits to the gate.
    pub(crate) fn take_leases(&mut self, body: Option<&[u8]>) -> Option<()> {
        let value = body.and_then(|body| parse_strict(body).ok());
        let answer: Option<RateLeasesAnswer> =
            value.and_then(|value| serde_json::from_value(value).ok());
        self.gate.rate_leases_answered(answer.as_ref());
        answer.map(drop)
    }
}

/// Adds to the answer of the upstream what the client is told of its limits. It informs and protects
/// nothing, so a host that refuses is no reason to fail.
pub(crate) fn tell(headers: &[(&'static str, String)]) {
    for (name, value) in headers {
        let _ = host::remove_field(Map::ResponseHeaders, name.as_bytes());
        let _ = host::add_field(Map::ResponseHeaders, name.as_bytes(), value.as_bytes());
    }
}
