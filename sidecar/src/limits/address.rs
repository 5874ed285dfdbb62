//! How often one address may ask, as a layer around any router.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use wardgate_core::rate_limit::{Limit, LocalMemory, Slots, Standing, fields};
use wardgate_core::secret::Secret;

use crate::clock::Clock;
use crate::config::LimitsSection;
use crate::http::Problem;

/// Who sits at the other end of the connection; nothing on a Unix socket.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Peer(pub Option<SocketAddr>);

/// Counts requests by address, in memory of fixed size. Each sidecar counts by itself.
#[derive(Debug)]
pub struct AddressLimit {
    name: &'static str,
    per_minute: u64,
    trusted_hops: usize,
    clock: Clock,
    /// Nothing when the limit is off.
    counted: Option<Mutex<(Slots, LocalMemory)>>,
}

impl AddressLimit {
    /// A limit of so many requests a minute; `name` is told to clients, 0 switches it off. `secret`
    /// is random: with it nobody can tell who shares a place in the table.
    pub fn new(
        name: &'static str,
        per_minute: u64,
        limits: &LimitsSection,
        clock: Clock,
        secret: &Secret,
    ) -> Self {
        let counted = || Mutex::new((Slots::new(secret), LocalMemory::default()));
        let trusted_hops = limits.trusted_proxy_hops.size();
        Self { name, per_minute, trusted_hops, clock, counted: (per_minute > 0).then(counted) }
    }

    /// Counts a request, if it is admitted.
    ///
    /// # Errors
    ///
    /// How the address stands that is refused.
    pub fn take(&self, address: Option<IpAddr>) -> Result<(), Standing> {
        let (Some(counted), Some(address)) = (&self.counted, address) else { return Ok(()) };
        let mut counted = counted.lock().unwrap_or_else(PoisonError::into_inner);
        let (slots, memory) = &mut *counted;
        let who = slots.who(self.name, true, &[&network(address)]);
        let limit = Limit::new(self.per_minute, 60, self.per_minute);
        slots.take(who, limit, self.clock.monotonic_nanoseconds(), memory).map(drop)
    }

    /// Whose request it is: the peer or, behind that many proxies, whom the first of them saw.
    pub fn address(&self, headers: &HeaderMap, peer: Option<Peer>) -> Option<IpAddr> {
        let hops = self.trusted_hops.checked_sub(1);
        let forwarded = hops.and_then(|hops| forwarded_for(headers, hops));
        forwarded.or(peer.and_then(|peer| peer.0).map(|peer| peer.ip()))
    }

    fn refuse(&self, standing: Standing) -> Response {
        let detail = "too many requests from this address";
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate-limited", detail);
        let mut response = problem.into_response();
        let told = [fields::Told {
            name: self.name,
            requests: self.per_minute,
            period_seconds: 60,
            standing,
        }];
        let headers = [
            (header::RETRY_AFTER, fields::retry_after(standing).to_string()),
            (HeaderName::from_static("ratelimit-policy"), fields::policy(&told)),
            (HeaderName::from_static("ratelimit"), fields::state(&told)),
        ];
        for (name, value) in headers {
            if let Ok(value) = HeaderValue::from_str(&value) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// The layer: `axum::middleware::from_fn_with_state(limit, limit_by_address)`.
pub async fn limit_by_address(
    State(limit): State<Arc<AddressLimit>>,
    request: Request,
    next: Next,
) -> Response {
    let peer = request.extensions().get::<Peer>().copied();
    match limit.take(limit.address(request.headers(), peer)) {
        Ok(()) => next.run(request).await,
        Err(standing) => limit.refuse(standing),
    }
}

/// The address that stands `hops` before the last one in `x-forwarded-for`: what stands before that
/// was written by the client, who may write what he likes.
fn forwarded_for(headers: &HeaderMap, hops: usize) -> Option<IpAddr> {
    let values = headers.get_all("x-forwarded-for").iter().rev();
    let values = values.filter_map(|value| value.to_str().ok());
    let mut addresses = values.flat_map(|value| value.rsplit(',')).map(str::trim);
    addresses.nth(hops)?.parse().ok()
}

/// What of an address counts: of IPv6 the first 64 bits, for a client has all that are behind them.
fn network(address: IpAddr) -> Vec<u8> {
    match address.to_canonical() {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().into_iter().take(8).collect(),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::forwarded_for;

    #[test]
    fn behind_proxies_the_address_is_the_one_that_the_first_of_them_saw() {
        let mut headers = HeaderMap::new();
        headers.append("x-forwarded-for", "6.6.6.6, 192.0.2.1".parse().unwrap());
        headers.append("x-forwarded-for", "10.0.0.1".parse().unwrap());
        let found = |hops| forwarded_for(&headers, hops).map(|it| it.to_string());
        assert_eq!(found(0).as_deref(), Some("10.0.0.1"));
        assert_eq!(found(1).as_deref(), Some("192.0.2.1"));
        assert_eq!(found(9), None);
    }
}
