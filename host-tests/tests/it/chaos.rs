//! The short form of the chaos of `make soak`: real sidecars on a Redis with Sentinels, real Envoys,
//! and one thing after the other broken under load.

use std::time::Duration;

use wardgate_host_tests::chaos::{Fault, run};

#[test]
fn nothing_revoked_passes_and_nothing_acknowledged_is_lost_whatever_is_broken() {
    match run(&Fault::SOME, Duration::ZERO) {
        Ok(report) => println!("{report}"),
        Err(error) => panic!("{error:#}"),
    }
}
