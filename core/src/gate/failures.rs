//! How many failed authentications an address may cause (GCRA over fixed slots).

use core::net::{IpAddr, SocketAddr};
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// Slots of the table: 64 KiB of memory, whatever the number of addresses.
const SLOTS: usize = 4096;

/// Counts failures by address in a table of fixed size.
///
/// Two addresses may share a slot and so a limit; the hash is keyed, so an attacker cannot aim at
/// the slot of another address. Envoy's shared data has no expiry, so each worker counts alone.
#[derive(Debug)]
pub struct FailureLimit {
    /// Theoretical arrival time of each slot, in nanoseconds.
    slots: Vec<u64>,
    interval_nanoseconds: u64,
    burst_nanoseconds: u64,
    keys: (u64, u64),
    /// The latest arrival time of all slots.
    latest_nanoseconds: u64,
}

impl FailureLimit {
    /// A limit of `failures` at once and per `period_seconds`; 0 failures switch it off.
    pub fn new(failures: u64, period_seconds: u64, keys: (u64, u64)) -> Self {
        let period = period_seconds.saturating_mul(1_000_000_000);
        let interval = period.checked_div(failures).unwrap_or(0);
        let slots = if failures == 0 { Vec::new() } else { vec![0; SLOTS] };
        Self {
            slots,
            interval_nanoseconds: interval,
            burst_nanoseconds: period,
            keys,
            latest_nanoseconds: 0,
        }
    }

    /// Whether any address has failed so lately that it counts. As long as none has, nobody needs to
    /// ask for addresses, which costs more than the rest of the limit.
    pub fn any(&self, now_nanoseconds: u64) -> bool {
        self.latest_nanoseconds > now_nanoseconds
    }

    /// Whether `address` may fail once more at `now_nanoseconds` (monotonic or wall clock).
    pub fn admits(&self, address: &[u8], now_nanoseconds: u64) -> bool {
        let Some(arrival) = self.slots.get(self.slot(address)) else {
            return true;
        };
        let next = arrival.max(&now_nanoseconds).saturating_add(self.interval_nanoseconds);
        next.saturating_sub(now_nanoseconds) <= self.burst_nanoseconds
    }

    /// Counts one failure of `address`.
    pub fn count(&mut self, address: &[u8], now_nanoseconds: u64) {
        let index = self.slot(address);
        if let Some(arrival) = self.slots.get_mut(index) {
            *arrival = (*arrival).max(now_nanoseconds).saturating_add(self.interval_nanoseconds);
            self.latest_nanoseconds = self.latest_nanoseconds.max(*arrival);
        }
    }

    fn slot(&self, address: &[u8]) -> usize {
        let mut hasher = SipHasher13::new_with_keys(self.keys.0, self.keys.1);
        hasher.write(&network(address));
        // Truncation is what is wanted: any bits will do.
        usize::try_from(hasher.finish() % 4096).unwrap_or(0)
    }
}

/// What of an address counts: no port, for a client has as many as it likes, and of IPv6 the first
/// 64 bits, for a client has all the addresses behind them.
pub(super) fn network(address: &[u8]) -> Vec<u8> {
    let text = core::str::from_utf8(address).unwrap_or_default();
    let ip = text.parse::<SocketAddr>().map(|socket| socket.ip()).or_else(|_| text.parse());
    match ip.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => ip.octets().to_vec(),
        Ok(IpAddr::V6(ip)) => ip.octets().into_iter().take(8).collect(),
        // A pipe or a name: whatever stands there is one client.
        Err(_) => address.to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::FailureLimit;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn an_address_may_fail_as_often_as_stated_and_again_later() {
        let mut limit = FailureLimit::new(3, 60, (1, 2));
        let mut now = 1000 * SECOND;
        for _ in 0..3 {
            assert!(limit.admits(b"10.0.0.1:1", now));
            limit.count(b"10.0.0.1:1", now);
        }
        assert!(limit.any(now));
        assert!(!limit.admits(b"10.0.0.1:2", now), "another port is the same address");
        assert!(limit.admits(b"10.0.0.2:1", now), "another address is free");
        now += 20 * SECOND;
        assert!(limit.admits(b"10.0.0.1:1", now));
        limit.count(b"10.0.0.1:1", now);
        assert!(!limit.admits(b"10.0.0.1:1", now));
    }

    #[test]
    fn all_addresses_of_an_ipv6_network_share_a_limit() {
        let mut limit = FailureLimit::new(1, 60, (1, 2));
        limit.count(b"[2001:db8::1]:80", 1);
        assert!(!limit.admits(b"[2001:db8::ffff:2]:81", 1));
        assert!(limit.admits(b"[2001:db8:0:1::1]:80", 1));
        limit.count(b"[::ffff:192.0.2.1]:80", 1);
        assert!(!limit.admits(b"192.0.2.1:81", 1), "mapped into IPv6 it is the same address");
        limit.count(b"/run/socket", 1);
        assert!(!limit.admits(b"/run/socket", 1));
    }

    #[test]
    fn zero_failures_switch_the_limit_off() {
        let mut limit = FailureLimit::new(0, 60, (1, 2));
        for _ in 0..1000 {
            assert!(limit.admits(b"10.0.0.1", 5));
            limit.count(b"10.0.0.1", 5);
            assert!(!limit.any(5));
        }
    }

    #[test]
    fn the_ends_of_time_do_not_overflow() {
        let mut limit = FailureLimit::new(1, 86_400, (1, 2));
        limit.count(b"a", u64::MAX);
        limit.count(b"a", 0);
        assert!(limit.admits(b"b", 0));
    }
}
