use std::net::IpAddr;

use wardgate_core::base64url;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::mac::Nonce;
use wardgate_core::wire::rate::{RateAsk, RateGrant, RateLeases};

use super::seen::{Heard, Seen};
use super::{AddressLimit, LeaseServer, Ledger};
use crate::clock::Clock;
use crate::config::LimitsSection;

fn server(clock: &Clock) -> LeaseServer {
    LeaseServer::new(Ledger::in_memory(), clock.clone(), 30)
}

fn ask(account: u8, used: u64, returned: u64, wanted: u64) -> RateAsk {
    RateAsk {
        account: base64url::encode(&[account; 16]),
        interval_nanoseconds: 1_000_000_000,
        burst: 100,
        used,
        returned,
        wanted,
    }
}

async fn settle(server: &LeaseServer, nonce: u8, ask: RateAsk) -> RateGrant {
    let question = RateLeases { asks: vec![ask] };
    server.answer(&question, Nonce([nonce; 16])).await.unwrap().grants[0]
}

#[tokio::test]
async fn filters_share_a_limit_and_get_back_what_others_give_back() {
    let clock = Clock::manual(UnixSeconds(1000));
    let server = server(&clock);
    assert_eq!(settle(&server, 1, ask(1, 0, 0, 80)).await.granted, 50);
    assert_eq!(settle(&server, 2, ask(1, 40, 0, 80)).await.granted, 5);
    assert_eq!(settle(&server, 3, ask(2, 0, 0, 80)).await.granted, 50, "another account");
    assert_eq!(settle(&server, 4, ask(1, 0, 50, 0)).await.remaining, 55);
    clock.advance(100);
    assert_eq!(settle(&server, 5, ask(1, 0, 0, 0)).await.remaining, 100);
}

#[tokio::test]
async fn a_message_that_is_played_again_counts_for_nothing() {
    let clock = Clock::manual(UnixSeconds(1000));
    let server = server(&clock);
    settle(&server, 1, ask(1, 0, 0, 200)).await;
    let first = settle(&server, 2, ask(1, 0, 10, 0)).await;
    assert_eq!(first.remaining, 60);
    for _ in 0..10 {
        let again = settle(&server, 2, ask(1, 0, 10, 0)).await;
        assert_eq!((again.granted, again.limited), (0, false));
    }
    assert_eq!(settle(&server, 3, ask(1, 0, 0, 0)).await.remaining, 60);
}

#[tokio::test]
async fn a_question_that_is_none_is_refused_whole() {
    let clock = Clock::manual(UnixSeconds(1000));
    let server = server(&clock);
    let short = RateAsk { account: "AAAA".to_owned(), ..ask(1, 0, 0, 1) };
    for asks in [vec![short], vec![ask(1, 0, 0, 1); 2], vec![ask(1, 0, 0, 1); 257]] {
        assert!(server.answer(&RateLeases { asks }, Nonce([1; 16])).await.is_err());
    }
    let extreme = RateAsk {
        interval_nanoseconds: u64::MAX,
        burst: u64::MAX,
        ..ask(1, u64::MAX, u64::MAX, u64::MAX)
    };
    assert_eq!(settle(&server, 2, extreme).await.granted, 0);
}

#[test]
fn a_message_is_known_as_long_as_it_would_be_believed() {
    let mut seen = Seen::default();
    let nonce = |number: u8| Nonce([number; 16]);
    assert_eq!(seen.hear(nonce(1), 1000, 30), Heard::First);
    for now in [1000, 1030, 1060] {
        assert_eq!(seen.hear(nonce(1), now, 30), Heard::Again, "{now}");
    }
    for now in 1061..1300 {
        seen.hear(Nonce([u8::try_from(now % 200).unwrap(); 16]), now, 30);
    }
    let last = Nonce([99; 16]);
    assert_eq!(seen.hear(last, 1299, 30), Heard::Again);
    assert_eq!(seen.hear(nonce(255), 10_000, 30), Heard::First);
    assert_eq!(seen.hear(last, 10_000, 30), Heard::First, "long over");
}

#[test]
fn an_address_is_held_to_its_limit_and_no_other_pays_for_it() {
    let clock = Clock::manual(UnixSeconds(1000));
    let limits = LimitsSection::default();
    let secret = Secret::new(vec![7; 32]);
    let limit = AddressLimit::new("public", 3, &limits, clock.clone(), &secret);
    let address = |text: &str| Some(text.parse::<IpAddr>().unwrap());
    for _ in 0..3 {
        assert!(limit.take(address("192.0.2.1")).is_ok());
    }
    let refused = limit.take(address("::ffff:192.0.2.1")).unwrap_err();
    assert_eq!(refused.retry_nanoseconds, 20_000_000_000);
    assert!(limit.take(address("192.0.2.2")).is_ok());
    for suffix in 1..=3 {
        assert!(limit.take(address(&format!("2001:db8::{suffix}"))).is_ok());
    }
    assert!(limit.take(address("2001:db8::ffff")).is_err(), "one network");
    assert!(limit.take(None).is_ok(), "a Unix socket has no address");
    clock.advance(20);
    assert!(limit.take(address("192.0.2.1")).is_ok());
    let off = AddressLimit::new("public", 0, &limits, clock, &secret);
    assert!((0..100).all(|_| off.take(address("192.0.2.1")).is_ok()));
}
