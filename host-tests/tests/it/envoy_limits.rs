//! A global limit over four real Envoys that are offered ten times as much.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use wardgate_host_tests::{
    envoy::client::{Connection, Request},
    mesh::{Layout, System},
};

const ENVOYS: usize = 4;
/// The limit: so many at once, and so many a second.
const RATE: f64 = 50.0;
/// The part of the limit that each Envoy has while it has no word of the sidecar.
const FALLBACK: f64 = 0.25;
/// How long an Envoy may be without a word on a machine with much else to do; some 30 ms otherwise.
const WITHOUT_A_WORD: f64 = 1.0;
const OFFERED_FOR: Duration = Duration::from_secs(10);
/// Between two requests at one Envoy: four of them offer ten times the limit.
const PAUSE: Duration = Duration::from_millis(8);

#[test]
fn a_global_limit_over_four_envoys_keeps_its_bound_at_ten_times_the_load() {
    let layout = Layout {
        sidecars: 1,
        redis: false,
        envoys: ENVOYS,
        workers: 2,
        max_stale_seconds: 600,
        links: false,
    };
    let system = System::start_with(layout, |policy| {
        policy["routes"][0]["rate_limit"] = json!({
            "per": "principal", "requests": 50, "period": "1s", "scope": "global",
        });
    })
    .unwrap();
    let token = system.token("busy", &json!({})).unwrap();
    let request = Request::get("/things/1").bearer(&token);
    let (admitted, refused) = (AtomicU32::new(0), AtomicU32::new(0));
    let start = Instant::now();
    thread::scope(|scope| {
        for address in system.addresses() {
            let (request, admitted, refused) = (&request, &admitted, &refused);
            scope.spawn(move || {
                let mut connections: Vec<_> =
                    (0..4).map(|_| Connection::open(address).unwrap()).collect();
                for turn in 0_u32.. {
                    if start.elapsed() > OFFERED_FOR {
                        return;
                    }
                    let connection = &mut connections[turn as usize % 4];
                    let answer = connection.exchange(request).unwrap();
                    match answer.status {
                        200 => admitted.fetch_add(1, Ordering::Relaxed),
                        429 => {
                            assert!(answer.header("retry-after").is_some(), "{answer:?}");
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        _ => panic!("{answer:?}"),
                    };
                    thread::sleep(PAUSE);
                }
            });
        }
    });
    let time = start.elapsed().as_secs_f64();
    let (admitted, refused) = (f64::from(admitted.into_inner()), f64::from(refused.into_inner()));
    // The formula of docs/rate-limits.md.
    let envoys = f64::from(u32::try_from(ENVOYS).unwrap());
    let shares = envoys * FALLBACK * (RATE + RATE * WITHOUT_A_WORD);
    let bound = RATE + RATE * (time + 1.0) + shares;
    println!("{admitted} of {} in {time:.1} s, at most {bound:.0}", admitted + refused);
    assert!(admitted + refused > 4.0 * bound, "too little was offered: {admitted} and {refused}");
    assert!(admitted <= bound, "{admitted} admitted, at most {bound}");
    assert!(admitted >= RATE * time * 0.8, "only {admitted} of {} were admitted", RATE * time);
    for envoy in system.envoys() {
        assert_eq!(envoy.traps().unwrap(), 0);
    }
}
