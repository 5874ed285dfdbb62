//! The short form of `make soak`.

use std::time::Duration;

use wardgate_host_tests::soak::{Amount, Arena, attack};

#[test]
fn twenty_thousand_hostile_requests_trap_nothing() {
    let arena = Arena::start(2).unwrap();
    let at_most = Duration::from_mins(3);
    let amount = Amount { requests: 20_000, at_most, connections: 6, seed: 20_000 };
    let tally = attack(&arena, amount).unwrap();
    assert!(tally.sent >= amount.requests, "{tally:?}");
    // The attacks reach everything that the gate can say, not only its doorstep.
    for expected in [
        "200 without reason",
        "401 token-signature-invalid",
        "403 permission-missing",
        "401 api-key-unknown",
        "429 too-many-failures",
        "400 path-ambiguous",
    ] {
        assert!(tally.answers.contains_key(expected), "no `{expected}` in {tally:#?}");
    }
}
