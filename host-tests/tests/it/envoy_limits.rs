//! A global limit over four real Envoys that are offered ten times as much.

use std::{
    net::SocketAddr,
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
/// How long an Envoy that is not held up has no word of the sidecar: two workers ask for the first
/// time, one after the other.
const FIRST_WORD: f64 = 0.1;
/// An answer that takes longer shows that the Envoy was held up, and for how long.
const HELD_UP: Duration = Duration::from_millis(50);
/// Each sends by the clock, whatever the answers take: few enough requests that a slow answer is over
/// when the next one is due.
const CONNECTIONS: u32 = 8;
const TURNS: u32 = 156;
/// Between two requests of one connection: 32 of them offer ten times the limit.
const TURN: Duration = Duration::from_millis(64);

/// What a connection saw.
#[derive(Clone, Copy, Default)]
struct Seen {
    admitted: u32,
    refused: u32,
    held_up: Duration,
}

fn offer(address: SocketAddr, request: &Request, start: Instant, first: Duration) -> Seen {
    let mut connection = Connection::open(address).unwrap();
    let mut seen = Seen::default();
    for turn in 0..TURNS {
        let due = first + TURN * turn;
        thread::sleep(due.saturating_sub(start.elapsed()));
        let sent = Instant::now();
        let answer = connection.exchange(request).unwrap();
        if sent.elapsed() > HELD_UP {
            seen.held_up += sent.elapsed();
        }
        match answer.status {
            200 => seen.admitted += 1,
            429 => {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                seen.refused += 1;
            }
            _ => panic!("{answer:?}"),
        }
    }
    seen
}

/// What all connections to one Envoy saw; it was held up for as long as any of them.
fn offer_by_all(address: SocketAddr, request: &Request, start: Instant) -> Seen {
    thread::scope(|scope| {
        let connection = |number| {
            let first = TURN * number / CONNECTIONS;
            scope.spawn(move || offer(address, request, start, first))
        };
        let all: Vec<_> = (0..CONNECTIONS).map(connection).collect();
        let all = all.into_iter().map(|connection| connection.join().unwrap());
        all.reduce(|all, one| Seen {
            admitted: all.admitted + one.admitted,
            refused: all.refused + one.refused,
            held_up: all.held_up.max(one.held_up),
        })
        .unwrap()
    })
}

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
    let start = Instant::now();
    let seen: Vec<_> = thread::scope(|scope| {
        let offered = |address| {
            let request = &request;
            scope.spawn(move || offer_by_all(address, request, start))
        };
        let envoys: Vec<_> = system.addresses().into_iter().map(offered).collect();
        envoys.into_iter().map(|envoy| envoy.join().unwrap()).collect()
    });
    let time = start.elapsed().as_secs_f64();
    let admitted = f64::from(seen.iter().map(|it| it.admitted).sum::<u32>());
    let refused = f64::from(seen.iter().map(|it| it.refused).sum::<u32>());
    // The formula of docs/rate-limits.md. Each answer of the sidecar holds for a second, so being
    // held up takes less from an Envoy than is reckoned here.
    let without_a_word = |it: &Seen| FIRST_WORD + it.held_up.as_secs_f64();
    let shares: f64 = seen.iter().map(|it| FALLBACK * RATE * (1.0 + without_a_word(it))).sum();
    let bound = RATE + RATE * (time + 1.0) + shares;
    let longest = seen.iter().map(without_a_word).fold(0.0, f64::max);
    let times = (admitted + refused) / (RATE * time);
    println!(
        "{admitted} of {} in {time:.1} s ({times:.1} times the limit), at most {bound:.0}; \
         without a word at most {longest:.2} s",
        admitted + refused
    );
    assert!(times > 9.5, "only {times:.1} times the limit was offered: the machine is too slow");
    assert!(admitted <= bound, "{admitted} admitted, at most {bound}");
    assert!(admitted >= RATE * time * 0.8, "only {admitted} of {} were admitted", RATE * time);
    for envoy in system.envoys() {
        assert_eq!(envoy.traps().unwrap(), 0);
    }
}
