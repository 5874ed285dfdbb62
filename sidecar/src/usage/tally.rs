//! The counts of one key on one day.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Pairs of route and result of one key and day; a policy has dozens of routes, and a key uses some.
/// What is beyond is counted under [`OTHER`].
const MAX_PAIRS: usize = 64;
/// Addresses of one key and day, for the same reason; a client with an IPv6 network has as many
/// addresses as it likes.
const MAX_SOURCES: usize = 32;
/// Longest name of a route and of a result.
const MAX_NAME_BYTES: usize = 128;
/// Longest text of an address: an IPv6 address with a zone.
const MAX_SOURCE_BYTES: usize = 64;
/// What stands for all that there is no room for.
pub(super) const OTHER: &str = "(other)";
/// The route where none decided.
const NO_ROUTE: &str = "(none)";

/// The counts of one key on one day.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Tally {
    /// Route to result to count.
    pub(super) routes: BTreeMap<String, BTreeMap<String, u64>>,
    /// Address of the client to count.
    #[serde(default)]
    pub(super) sources: BTreeMap<String, u64>,
}

/// What an event says of the use of a key.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Use<'a> {
    pub(super) id: &'a str,
    pub(super) route: &'a str,
    pub(super) result: String,
    /// The address of the client, without its port: that is another one for each connection.
    pub(super) source: Option<String>,
    /// In milliseconds since the epoch, by the clock of the filter.
    pub(super) at: u64,
}

impl<'a> Use<'a> {
    /// Reads an audit event; nothing if it is not of a request with an API key that was recognised.
    pub(super) fn of(event: &'a Map<String, Value>) -> Option<Self> {
        let text = |name: &str| event.get(name).and_then(Value::as_str);
        if text("auth") != Some("api_key") {
            return None;
        }
        let id = text("credential_id").filter(|id| (1..=MAX_NAME_BYTES).contains(&id.len()))?;
        let result = match (text("decision")?, text("reason")) {
            ("permit", _) => "permit".to_owned(),
            ("deny", Some(reason)) => cut(reason, MAX_NAME_BYTES).to_owned(),
            ("shadow-deny", Some(reason)) => format!("shadow:{}", cut(reason, MAX_NAME_BYTES)),
            _ => return None,
        };
        Some(Self {
            id,
            route: text("route").map_or(NO_ROUTE, |route| cut(route, MAX_NAME_BYTES)),
            result,
            source: text("source_address").map(address),
            at: event.get("time").and_then(Value::as_u64).unwrap_or(0),
        })
    }
}

impl Tally {
    pub(super) fn count(&mut self, route: &str, result: &str, amount: u64) {
        let known = self.routes.get(route).is_some_and(|results| results.contains_key(result));
        let pairs = self.routes.values().fold(0_usize, |sum, it| sum.saturating_add(it.len()));
        let (route, result) =
            if known || pairs < MAX_PAIRS { (route, result) } else { (OTHER, OTHER) };
        let results = self.routes.entry(route.to_owned()).or_default();
        let count = results.entry(result.to_owned()).or_default();
        *count = count.saturating_add(amount);
    }

    pub(super) fn count_source(&mut self, source: &str, amount: u64) {
        let room = self.sources.contains_key(source) || self.sources.len() < MAX_SOURCES;
        let source = if room { source } else { OTHER };
        let count = self.sources.entry(source.to_owned()).or_default();
        *count = count.saturating_add(amount);
    }

    pub(super) fn add(&mut self, other: &Self) {
        for (route, results) in &other.routes {
            for (result, amount) in results {
                self.count(route, result, *amount);
            }
        }
        for (source, amount) in &other.sources {
            self.count_source(source, *amount);
        }
    }
}

/// The address in `address:port` as Envoy writes it (`192.0.2.1:4711`, `[2001:db8::1]:4711`).
fn address(text: &str) -> String {
    let parsed = text.parse().map(|it: SocketAddr| it.ip().to_canonical().to_string());
    parsed.unwrap_or_else(|_| cut(text, MAX_SOURCE_BYTES).to_owned())
}

/// The beginning of a text, of whole letters.
pub(super) fn cut(text: &str, bytes: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{MAX_PAIRS, MAX_SOURCES, OTHER, Tally, Use};

    fn event(value: &Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap()
    }

    #[test]
    fn only_requests_with_a_recognised_key_count() {
        let permit = event(&json!({
            "sequence": 1, "time": 5000, "decision": "permit", "auth": "api_key",
            "credential_id": "id", "route": "orders", "source_address": "10.0.0.1",
        }));
        let expected = Use {
            id: "id",
            route: "orders",
            result: "permit".to_owned(),
            source: Some("10.0.0.1".to_owned()),
            at: 5000,
        };
        assert_eq!(Use::of(&permit), Some(expected));
        let result = |changes: Value| {
            let mut event = permit.clone();
            event.extend(changes.as_object().cloned().unwrap());
            Use::of(&event).map(|found| found.result)
        };
        let deny = json!({"decision": "deny", "reason": "scope-missing"});
        assert_eq!(result(deny).as_deref(), Some("scope-missing"));
        let shadow = json!({"decision": "shadow-deny", "reason": "forbidden"});
        assert_eq!(result(shadow).as_deref(), Some("shadow:forbidden"));
        for (text, expected) in [
            ("10.0.0.1:4711", "10.0.0.1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[::ffff:10.0.0.1]:4711", "10.0.0.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("/run/envoy.sock", "/run/envoy.sock"),
        ] {
            let mut event = permit.clone();
            event.extend(json!({"source_address": text}).as_object().cloned().unwrap());
            assert_eq!(Use::of(&event).unwrap().source.as_deref(), Some(expected));
        }
        for wrong in [
            json!({"auth": "jwt"}),
            json!({"credential_id": null}),
            json!({"credential_id": ""}),
            json!({"decision": "gap"}),
        ] {
            assert_eq!(result(wrong.clone()), None, "{wrong}");
        }
    }

    #[test]
    fn a_day_holds_so_many_routes_and_addresses_and_loses_no_count() {
        let mut tally = Tally::default();
        for number in 0..200 {
            tally.count(&format!("route {number}"), "permit", 1);
            tally.count_source(&format!("10.0.0.{number}"), 1);
        }
        let total: u64 = tally.routes.values().flat_map(|it| it.values()).sum();
        assert_eq!((total, tally.routes.len()), (200, MAX_PAIRS + 1));
        assert_eq!(
            (tally.sources.values().sum::<u64>(), tally.sources.len()),
            (200, MAX_SOURCES + 1)
        );
        let others = u64::try_from(200 - MAX_PAIRS).unwrap();
        assert_eq!(tally.routes[OTHER][OTHER], others);
        let mut twice = tally.clone();
        twice.add(&tally);
        assert_eq!(twice.routes[OTHER][OTHER], 2 * others);
        assert_eq!(twice.routes.len(), tally.routes.len());
    }
}
