//! This VM's part in the feed, shared by its configurations.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use wardgate_core::config::Problems;
use wardgate_core::config::plugin::Feed;
use wardgate_core::feed::Fingerprint;
use wardgate_core::feed::live::{Member, MemberLimits, Now};
use wardgate_core::gate::SharedMember;
use wardgate_core::secret::Secret;

use crate::host;
use crate::memory::HostMemory;
use crate::root::{problem, random};

thread_local! {
    /// One member for each feed. A new configuration in the same VM takes over what the old one
    /// knew, and is ready at once.
    static MEMBERS: RefCell<HashMap<Fingerprint, SharedMember>> = RefCell::default();
}

/// The part of this VM in `feed`, under the feed secret.
pub(crate) fn shared(feed: &Feed, secret: &Secret) -> Result<SharedMember, Problems> {
    let max_stale_nanoseconds = feed.max_stale_seconds.0.saturating_mul(1_000_000_000);
    let limits = MemberLimits { max_stale_nanoseconds };
    let name = Fingerprint::of("member", &[feed.cluster.as_bytes(), secret.expose()]);
    let known = MEMBERS.with(|members| members.try_borrow().ok()?.get(&name).map(Rc::clone));
    if let Some(member) = known {
        if let Ok(mut member) = member.try_borrow_mut() {
            member.set_limits(limits);
        }
        return Ok(member);
    }
    let member = Member::new(&feed.cluster, secret, limits, random()?)
        .ok_or_else(|| problem("feed", "the cryptography of the feed does not work"))?;
    let member = Rc::new(RefCell::new(member));
    MEMBERS.with(|members| {
        if let Ok(mut members) = members.try_borrow_mut() {
            members.insert(name, Rc::clone(&member));
        }
    });
    Ok(member)
}

/// Has a member that has just begun read all that others have left for it.
pub(crate) fn catch_up(member: &SharedMember) {
    if let (Some(now), Ok(mut member)) = (now(), member.try_borrow_mut()) {
        member.catch_up(&HostMemory, now);
    }
}

/// The time, by both clocks.
pub(crate) fn now() -> Option<Now> {
    let monotonic = host::monotonic_nanoseconds().ok()?;
    let wall_seconds = host::now_nanoseconds().ok()? / 1_000_000_000;
    Some(Now { monotonic, wall_seconds })
}
