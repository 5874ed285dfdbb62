//! The rate limits of routes.

use std::rc::Rc;

use serde_json::{Value, json};

use super::document::{Credential, RouteSection};
use crate::config::section::SectionDoc;
use crate::config::{At, Bounded, Problems, Read};
use crate::rate_limit::{Limit, MAX_PERIOD_SECONDS};
use crate::section;

/// More limits than this on one route would make it slow, and say nothing that fewer do not.
const MAX_LIMITS: usize = 4;
/// A burst takes a hundred periods to be paid for at most: longer than any proxy runs.
const MAX_BURST_PERIODS: u64 = 100;
/// The part of a global limit that a proxy may grant itself when nothing else is said.
const FALLBACK_PERCENT: u64 = 25;

section! {
    /// How often a route may be used. Counted is what the policy permits; what it denies costs
    /// nobody anything.
    pub struct RateLimitSection = "rate_limit" {
        /// Who is counted by himself.
        pub per: Per, required;
        /// So many requests in each period.
        pub requests: Bounded<1, 1_000_000>, required;
        /// The period, from `1s` to `1d`.
        pub period: Period, required;
        /// So many requests at once after a silence; as many as `requests` if absent.
        pub burst: Option<Bounded<1, 1_000_000>>, optional;
        /// Whether each Envoy counts by itself, or all together.
        pub scope: Scope, default(Scope::Envoy, "envoy");
        /// With `scope: global`: the part of the limit, in percent, that an Envoy admits on its own
        /// where it has no word of the sidecar; 25 if absent.
        pub fallback_percent: Option<Bounded<1, 100>>, optional;
        /// Whether answers to permitted requests have the fields `RateLimit` and `RateLimit-Policy`.
        /// Refused ones always have.
        pub headers: bool, default(false, false);
    }
}

section! {
    /// Who is counted by himself.
    pub enum Per = "per" {
        /// Each issuer and subject; who has no credential, by address.
        Principal = "principal",
        /// Each API key; requests without one are not counted.
        ApiKey = "api_key",
        /// Each address as the proxy trusts it; of IPv6 each network of 64 bits.
        Address = "address",
        /// All together.
        Route = "route",
    }
}

section! {
    /// Who counts.
    pub enum Scope = "scope" {
        /// Each Envoy by itself, all its workers together.
        Envoy = "envoy",
        /// All Envoys of a sidecar, or of sidecars with one store. Needs a `feed`.
        Global = "global",
    }
}

/// One limit, or a list of them that must all be kept.
#[derive(Clone, Debug, PartialEq)]
pub struct RateLimits(pub Vec<RateLimitSection>);

/// A period: a whole number and `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Period {
    seconds: u64,
}

/// A limit of a route, ready to be counted.
#[derive(Clone, Debug)]
pub struct RouteLimit {
    /// Name of the limit: that of the route, with `/2` and so on for those after the first.
    pub name: Rc<str>,
    /// Who is counted by himself.
    pub per: Per,
    /// Who counts.
    pub scope: Scope,
    /// The limit.
    pub limit: Limit,
    /// What a proxy admits on its own of a global limit.
    pub fallback: Limit,
    /// As written, for the client.
    pub requests: u64,
    /// As written, for the client.
    pub period_seconds: u64,
    /// Whether answers to permitted requests tell of it.
    pub headers: bool,
}

impl RouteLimit {
    pub(super) fn compile(
        section: &RouteSection,
        at: &At<'_>,
        problems: &mut Problems,
    ) -> Vec<Self> {
        let at = at.name("rate_limit");
        let Some(RateLimits(limits)) = &section.rate_limit else { return Vec::new() };
        if limits.is_empty() {
            at.problem(problems, "an empty list says nothing; leave the key out");
        }
        if limits.len() > MAX_LIMITS {
            at.problem(problems, format!("more than {MAX_LIMITS} limits"));
        }
        for limit in limits {
            check(limit, section, &at, problems);
        }
        let named = limits.iter().enumerate().map(|(index, limit)| {
            let name = match index {
                0 => (*section.name).into(),
                _ => format!("{}/{}", &*section.name, index.saturating_add(1)).into(),
            };
            Self::of(limit, name)
        });
        named.collect()
    }

    fn of(section: &RateLimitSection, name: Rc<str>) -> Self {
        let (requests, period_seconds) = (section.requests.0, section.period.seconds);
        let burst = section.burst.map_or(requests, |burst| burst.0);
        let limit = Limit::new(requests, period_seconds, burst);
        let percent = section.fallback_percent.map_or(FALLBACK_PERCENT, |percent| percent.0);
        Self {
            name,
            per: section.per,
            scope: section.scope,
            limit,
            fallback: limit.part(percent),
            requests,
            period_seconds,
            headers: section.headers,
        }
    }
}

fn check(limit: &RateLimitSection, route: &RouteSection, at: &At<'_>, problems: &mut Problems) {
    let most = limit.requests.0.saturating_mul(MAX_BURST_PERIODS);
    if limit.burst.is_some_and(|burst| burst.0 > most) {
        let message = format!("more than {MAX_BURST_PERIODS} times `requests`");
        at.name("burst").problem(problems, message);
    }
    if limit.per == Per::ApiKey && !route.credentials.contains(&Credential::ApiKey) {
        at.name("per").problem(problems, "the route takes no `api_key`, so nobody is counted");
    }
    if limit.scope == Scope::Envoy && limit.fallback_percent.is_some() {
        at.name("fallback_percent").problem(problems, "has no effect without `scope: global`");
    }
}

impl Read for RateLimits {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        if value.is_array() {
            return Vec::read(value, at, problems).map(Self);
        }
        RateLimitSection::read(value, at, problems).map(|limit| Self(vec![limit]))
    }

    fn kind() -> String {
        let one = RateLimitSection::kind();
        format!("{one} or list of {one}")
    }

    fn schema() -> Value {
        json!({"anyOf": [RateLimitSection::schema(), Vec::<RateLimitSection>::schema()]})
    }

    fn sections(found: &mut Vec<SectionDoc>) {
        RateLimitSection::sections(found);
    }
}

impl Read for Period {
    fn read(value: &Value, at: &At<'_>, problems: &mut Problems) -> Option<Self> {
        let text = String::read(value, at, problems)?;
        let seconds = seconds_of(&text).filter(|it| (1..=MAX_PERIOD_SECONDS).contains(it));
        if seconds.is_none() {
            at.problem(problems, "expected a period from `1s` to `1d`, as `30s`, `1m` or `12h`");
        }
        seconds.map(|seconds| Self { seconds })
    }

    fn kind() -> String {
        "period (`30s`, `1m`, `12h`, `1d`)".to_owned()
    }

    fn schema() -> Value {
        json!({"type": "string", "pattern": "^[1-9][0-9]{0,4}[smhd]$"})
    }
}

fn seconds_of(text: &str) -> Option<u64> {
    let units = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let (digits, unit) = units
        .into_iter()
        .find_map(|(letter, seconds)| Some((text.strip_suffix(letter)?, seconds)))?;
    let right = !digits.starts_with('0')
        && (1..=5).contains(&digits.len())
        && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse::<u64>().ok().filter(|_| right)?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Period, RateLimits};
    use crate::config::{At, Problems, Read as _};
    use crate::policy::Policy;

    #[track_caller]
    fn problems_of(limit: &serde_json::Value) -> Vec<String> {
        let policy = json!({"version": 1, "routes": [{
            "name": "a", "match": {"path": "/"}, "credentials": ["none"], "rate_limit": limit,
        }]});
        let problems = Policy::read(&policy).err().unwrap_or_default();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_period_is_a_number_and_a_unit_up_to_a_day() {
        for (text, seconds) in [
            ("1s", Some(1)),
            ("90s", Some(90)),
            ("5m", Some(300)),
            ("24h", Some(86_400)),
            ("1d", Some(86_400)),
        ] {
            let found = Period::read(&json!(text), &At::ROOT, &mut Problems::new());
            assert_eq!(found.map(|period| period.seconds), seconds, "{text}");
        }
        for text in ["", "s", "0s", "01s", "1", "1w", "2d", "25h", "-1s", "1.5m", "999999s", "1 m"]
        {
            assert_eq!(Period::read(&json!(text), &At::ROOT, &mut Problems::new()), None, "{text}");
        }
    }

    #[test]
    fn a_limit_may_stand_alone_or_in_a_list() {
        let one = json!({"per": "route", "requests": 5, "period": "1m"});
        let read = |value| RateLimits::read(&value, &At::ROOT, &mut Problems::new());
        assert_eq!(read(one.clone()), read(json!([one])));
        assert_eq!(problems_of(&json!([one, one])), Vec::<String>::new());
    }

    #[test]
    fn limits_that_say_nothing_or_too_much_are_problems() {
        let limit = |more: serde_json::Value| {
            let mut limit = json!({"per": "route", "requests": 5, "period": "1m"});
            limit.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            limit
        };
        for (wrong, expected) in [
            (json!([]), "routes[0].rate_limit: an empty list"),
            (limit(json!({"burst": 501})), "routes[0].rate_limit.burst: more than 100 times"),
            (limit(json!({"per": "api_key"})), "routes[0].rate_limit.per: the route takes no"),
            (
                limit(json!({"fallback_percent": 5})),
                "routes[0].rate_limit.fallback_percent: has no",
            ),
            (limit(json!({"period": "2d"})), "routes[0].rate_limit.period: expected a period"),
            (limit(json!({"requests": 0})), "routes[0].rate_limit.requests: expected whole number"),
            (
                json!([limit(json!({})), limit(json!({"x": 1}))]),
                "routes[0].rate_limit[1].x: unknown",
            ),
            (json!(vec![limit(json!({})); 5]), "routes[0].rate_limit: more than 4 limits"),
        ] {
            let found = problems_of(&wrong);
            assert!(found.iter().any(|it| it.starts_with(expected)), "{wrong}: {found:?}");
        }
    }
}
