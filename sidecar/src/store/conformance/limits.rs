//! Rate limits across proxies, kept by two sidecars.

use std::sync::Arc;

use wardgate_core::base64url;
use wardgate_core::time::UnixSeconds;
use wardgate_core::wire::mac::Nonce;
use wardgate_core::wire::rate::{RateAsk, RateLeases};

use super::Two;
use crate::clock::Clock;
use crate::limits::{LeaseServer, Ledger};
use crate::store::Table;

pub(in crate::store) async fn two_sidecars_hand_out_no_more_of_a_limit_than_there_is(two: &Two) {
    // Far ahead, so that no store finds that the accounts have ended.
    let clock = Clock::manual(UnixSeconds(4_000_000_000));
    let server = |store| Arc::new(LeaseServer::new(Ledger::in_store(store), clock.clone(), 30));
    let servers = [server(Arc::clone(&two.one)), server(Arc::clone(&two.other))];
    let ask = RateAsk {
        account: base64url::encode(&[7; 16]),
        interval_nanoseconds: 1_000_000_000,
        burst: 100,
        used: 0,
        returned: 0,
        wanted: 10,
    };
    let mut tasks = tokio::task::JoinSet::new();
    for number in 0..16_u8 {
        let (server, ask) = (Arc::clone(&servers[usize::from(number % 2)]), ask.clone());
        tasks.spawn(async move {
            let mut granted = 0;
            for round in 0..4_u8 {
                let nonce = Nonce([number * 4 + round; 16]);
                let question = RateLeases { asks: vec![ask.clone()] };
                let answer = server.answer(&question, nonce).await.unwrap();
                granted += answer.grants[0].granted;
            }
            granted
        });
    }
    let granted: u64 = tasks.join_all().await.iter().sum();
    assert_eq!(granted, 100, "the whole burst, once");
    let key = base64url::encode(&[7; 16]);
    assert!(two.other.get(Table::RateLimits, &key).await.unwrap().is_some());
    clock.advance(10);
    let question = RateLeases { asks: vec![RateAsk { wanted: 100, ..ask }] };
    let answer = servers[0].answer(&question, Nonce([255; 16])).await.unwrap();
    assert_eq!((answer.grants[0].granted, answer.grants[0].limited), (5, true));
}
