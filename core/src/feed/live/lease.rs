//! Who polls: one VM of a process, by a lease in shared memory.

use serde::{Deserialize, Serialize};

use super::memory::SharedMemory;
use super::meta::{LEASE, read, write};
use super::vault::Vault;
use crate::feed::Fingerprint;

/// How long a lease lasts: a poller whose VM died is replaced after that.
const LEASE_NANOSECONDS: u64 = 1_000_000_000;
/// A lease is renewed when it has less than this left: a tick may come late, under load.
const RENEW_NANOSECONDS: u64 = 600_000_000;
/// How much longer a VM that serves requests waits for one that does not.
const COURTESY_NANOSECONDS: u64 = 300_000_000;
/// A holder that serves keeps the lease for so long at least: VMs that take turns at being idle
/// must not take turns at polling.
const STAY_NANOSECONDS: u64 = 2_000_000_000;

/// A lease, as it stands in shared memory.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub(super) struct Lease {
    /// Whose it is.
    holder: Fingerprint,
    /// Counts the leases.
    fence: u64,
    /// Since when, by the monotonic clock.
    since: u64,
    /// Until when.
    until: u64,
    /// Whether the holder has requests to serve beside.
    serves: bool,
    /// Fence and serial of the newest meta that the holder knew.
    known: (u64, u64),
}

/// What a VM is to others.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) now: u64,
    pub(super) holder: Fingerprint,
    /// Whether it serves requests, and is not in the middle of a loading.
    pub(super) serves: bool,
    /// The greatest fence that it has seen.
    pub(super) fence: u64,
    /// Fence and serial of the newest meta that it has seen.
    pub(super) known: (u64, u64),
}

/// How the lease stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Standing {
    /// It is this VM's, under this fence; whoever had it last knew a meta of this fence and serial.
    Mine { fence: u64, known: (u64, u64) },
    /// It is another's, who knew a meta of this fence and serial.
    Others { fence: u64, known: (u64, u64) },
    /// Nobody has it.
    Vacant,
}

/// Takes, renews or leaves the lease, as is due.
pub(super) fn turn(memory: &dyn SharedMemory, vault: &Vault, candidate: Candidate) -> Standing {
    let (found, version) = read::<Lease>(memory, vault, LEASE);
    let Some(version) = version else {
        // Without a version to compare there is no taking: two that write at once would both
        // believe that they have it.
        let _ = memory.set(&vault.name(LEASE), b"-", None);
        return Standing::Vacant;
    };
    let Some(lease) = found else { return take(memory, vault, candidate, version, (0, (0, 0))) };
    let is_mine = lease.holder == candidate.holder;
    let is_live = lease.until > candidate.now;
    if is_mine && is_live {
        return renew(memory, vault, candidate, version, lease);
    }
    let gives_way = lease.serves
        && !candidate.serves
        && candidate.now >= lease.since.saturating_add(STAY_NANOSECONDS);
    let courtesy = if candidate.serves { COURTESY_NANOSECONDS } else { 0 };
    let is_over = candidate.now >= lease.until.saturating_add(courtesy);
    if is_over || gives_way {
        return take(memory, vault, candidate, version, (lease.fence, lease.known));
    }
    if is_live {
        Standing::Others { fence: lease.fence, known: lease.known }
    } else {
        Standing::Vacant
    }
}

/// Whether the lease of this fence is still this VM's: asked again before an answer is taken in.
pub(super) fn is_held(memory: &dyn SharedMemory, vault: &Vault, mine: Candidate) -> bool {
    let (found, _) = read::<Lease>(memory, vault, LEASE);
    found.is_some_and(|lease| {
        lease.holder == mine.holder && lease.fence == mine.fence && lease.until > mine.now
    })
}

fn take(
    memory: &dyn SharedMemory,
    vault: &Vault,
    candidate: Candidate,
    version: u32,
    (fence, known): (u64, (u64, u64)),
) -> Standing {
    let fence = fence.max(candidate.fence).saturating_add(1);
    let lease = Lease {
        holder: candidate.holder,
        fence,
        since: candidate.now,
        until: candidate.now.saturating_add(LEASE_NANOSECONDS),
        serves: candidate.serves,
        known: candidate.known,
    };
    if write(memory, vault, LEASE, &lease, Some(version)) {
        Standing::Mine { fence, known }
    } else {
        Standing::Vacant
    }
}

fn renew(
    memory: &dyn SharedMemory,
    vault: &Vault,
    candidate: Candidate,
    version: u32,
    lease: Lease,
) -> Standing {
    let mine = Standing::Mine { fence: lease.fence, known: lease.known };
    // Also when there is a newer meta: whoever puts an old one back is found out by the lease.
    let is_young = lease.until.saturating_sub(candidate.now) > RENEW_NANOSECONDS;
    if is_young && lease.known == candidate.known {
        return mine;
    }
    let renewed = Lease {
        until: candidate.now.saturating_add(LEASE_NANOSECONDS),
        serves: candidate.serves,
        known: lease.known.max(candidate.known),
        ..lease
    };
    if write(memory, vault, LEASE, &renewed, Some(version)) { mine } else { Standing::Vacant }
}

#[cfg(test)]
mod tests {
    use super::{Candidate, Standing, is_held, turn};
    use crate::feed::Fingerprint;
    use crate::feed::live::memory::{LocalMemory, SharedMemory as _};
    use crate::feed::live::vault::Vault;
    use crate::secret::Secret;

    const SECOND: u64 = 1_000_000_000;

    fn vault() -> Vault {
        Vault::new("c", &Secret::new(vec![1; 32]), [2; 32]).unwrap()
    }

    fn vm(number: u8, now: u64, serves: bool) -> Candidate {
        let holder = Fingerprint([number; 16]);
        Candidate { now, holder, serves, fence: 0, known: (0, 0) }
    }

    #[test]
    fn one_vm_has_the_lease_until_it_stops_renewing() {
        let (memory, vault) = (LocalMemory::default(), vault());
        assert_eq!(turn(&memory, &vault, vm(1, SECOND, false)), Standing::Vacant);
        assert_eq!(
            turn(&memory, &vault, vm(1, SECOND, false)),
            Standing::Mine { fence: 1, known: (0, 0) }
        );
        let others = Standing::Others { fence: 1, known: (0, 0) };
        for tick in 100..200 {
            let now = tick * SECOND / 100;
            let mine = Candidate { fence: 1, ..vm(1, now, false) };
            assert_eq!(turn(&memory, &vault, mine), Standing::Mine { fence: 1, known: (0, 0) });
            assert_eq!(turn(&memory, &vault, vm(2, now, false)), others);
            assert!(is_held(&memory, &vault, mine));
        }
        let now = 4 * SECOND;
        assert!(!is_held(&memory, &vault, Candidate { fence: 1, ..vm(1, now, false) }));
        assert_eq!(
            turn(&memory, &vault, vm(2, now, false)),
            Standing::Mine { fence: 2, known: (0, 0) }
        );
        assert_eq!(
            turn(&memory, &vault, vm(1, now, false)),
            Standing::Others { fence: 2, known: (0, 0) }
        );
    }

    #[test]
    fn a_vm_that_serves_waits_longer_and_gives_way_to_an_idle_one() {
        let (memory, vault) = (LocalMemory::default(), vault());
        turn(&memory, &vault, vm(1, 0, true));
        assert_eq!(
            turn(&memory, &vault, vm(1, 0, true)),
            Standing::Mine { fence: 1, known: (0, 0) }
        );
        let over = SECOND + SECOND / 10;
        assert_eq!(turn(&memory, &vault, vm(2, over, true)), Standing::Vacant);
        assert_eq!(
            turn(&memory, &vault, vm(2, 2 * SECOND, true)),
            Standing::Mine { fence: 2, known: (0, 0) }
        );
        let early = 2 * SECOND + SECOND / 2;
        assert!(matches!(turn(&memory, &vault, vm(3, early, false)), Standing::Others { .. }));
        for tenth in 20..40 {
            turn(&memory, &vault, vm(2, tenth * SECOND / 10, true));
        }
        assert_eq!(
            turn(&memory, &vault, vm(3, 4 * SECOND, false)),
            Standing::Mine { fence: 3, known: (0, 0) }
        );
        assert!(matches!(turn(&memory, &vault, vm(2, 4 * SECOND, true)), Standing::Others { .. }));
    }

    #[test]
    fn whatever_an_enemy_writes_is_no_lease_and_fences_still_grow() {
        let (memory, vault) = (LocalMemory::default(), vault());
        turn(&memory, &vault, vm(1, 0, false));
        assert_eq!(
            turn(&memory, &vault, vm(1, 0, false)),
            Standing::Mine { fence: 1, known: (0, 0) }
        );
        let (old, _) = memory.get(&vault.name("lease")).unwrap();
        memory.set(&vault.name("lease"), b"junk", None).unwrap();
        let mine = Candidate { fence: 1, ..vm(1, 1, false) };
        assert!(!is_held(&memory, &vault, mine));
        assert_eq!(turn(&memory, &vault, mine), Standing::Mine { fence: 2, known: (0, 0) });
        memory.set(&vault.name("lease"), &old, None).unwrap();
        let later = Candidate { fence: 2, ..vm(3, 2 * SECOND, false) };
        assert_eq!(turn(&memory, &vault, later), Standing::Mine { fence: 3, known: (0, 0) });
    }
}
