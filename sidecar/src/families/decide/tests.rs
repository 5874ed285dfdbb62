use super::{Decision, EndCause, Moment, Presented, Refusal, decide};
use crate::random::Random;
use crate::seal::{Sealed, StoreKeys};
use crate::store::records::StoredFamily;
use crate::store::records::families::{Confirmation, UsedToken};
use serde_json::Map;
use wardgate_core::secret::Secret;
use wardgate_core::time::UnixSeconds;

/// When the token before the current one was used, in milliseconds.
const USED: u64 = 1_000_000;
const GRACE: u64 = 10_000;
/// Whole seconds after that use until the family is over, unused and at all.
const IDLE: u64 = 600;
const END: u64 = 5000;

fn sealed() -> Sealed {
    let keys = StoreKeys::parse(&StoreKeys::generate(Random::system()).unwrap()).unwrap();
    keys.seal("test", &Secret::new(Vec::new()), UnixSeconds(1)).unwrap()
}

fn key(name: &str) -> Confirmation {
    Confirmation::KeyThumbprint(name.to_owned())
}

/// In its fifth generation.
fn family(binding: Option<Confirmation>, shown: Option<Confirmation>) -> StoredFamily {
    StoredFamily {
        subject: "alice".to_owned(),
        client_id: "app".to_owned(),
        audiences: Vec::new(),
        scope: None,
        binding,
        claims: Map::new(),
        device: None,
        begun_at: 10,
        used_at: USED / 1000,
        ends_at: USED / 1000 + END,
        idle_seconds: IDLE,
        generation: 5,
        digest: "fifth".to_owned(),
        previous: Some(UsedToken {
            digest: "fourth".to_owned(),
            used_at_milliseconds: USED,
            shown,
        }),
        answer: Some(sealed()),
    }
}

const TOKENS: [(u32, &str); 8] = [
    (5, "fifth"),
    (4, "fourth"),
    // Made by a sidecar that was slower, or forgotten by a store that went back.
    (4, "another fourth"),
    (3, "third"),
    (0, "first"),
    (5, "another fifth"),
    (6, "sixth"),
    (u32::MAX, "last"),
];

/// Milliseconds after the last use.
const TIMES: [u64; 7] =
    [0, GRACE - 1, GRACE, IDLE * 1000 - 1, IDLE * 1000, END * 1000 - 1, END * 1000];

/// What should become of each token, in the words of the documents and not of the code.
fn expected(token: &str, right_client: bool, right_key: bool, after: u64) -> Decision {
    if after >= END * 1000 {
        return Decision::Refuse(Refusal::Over);
    }
    if after >= IDLE * 1000 {
        return Decision::Refuse(Refusal::Idle);
    }
    match (token, right_client, right_key) {
        ("fifth", true, true) => Decision::Rotate,
        ("fifth", true, false) => Decision::Refuse(Refusal::OtherKey),
        ("fifth", false, _) => Decision::Refuse(Refusal::OtherClient),
        ("fourth", true, true) if after < GRACE => Decision::Repeat,
        ("fourth" | "another fourth" | "third" | "first", ..) => Decision::End(EndCause::Reuse),
        _ => Decision::End(EndCause::Forgotten),
    }
}

#[test]
fn every_token_of_every_client_with_every_key_at_every_time_is_decided_as_it_should() {
    let keys = [None, Some(key("own")), Some(key("other"))];
    let families = [(None, None), (None, Some(key("own"))), (Some(key("own")), Some(key("own")))];
    let mut seen = Vec::new();
    for (binding, first_shown) in families {
        let family = family(binding.clone(), first_shown.clone());
        for (generation, digest) in TOKENS {
            for client_id in ["app", "other"] {
                for shown in &keys {
                    for after in TIMES {
                        let shown = shown.as_ref();
                        let presented = Presented { generation, digest, client_id, shown };
                        let moment =
                            Moment { now_milliseconds: USED + after, grace_milliseconds: GRACE };
                        // The current token of a family without a key is anyone's who is the client;
                        // an answer is for whoever got it first.
                        let right_key = match digest {
                            "fifth" => binding.is_none() || shown == binding.as_ref(),
                            _ => shown == first_shown.as_ref(),
                        };
                        let decision = decide(&family, presented, moment);
                        let expected = expected(digest, client_id == "app", right_key, after);
                        assert_eq!(decision, expected, "{presented:?} {binding:?} {after}");
                        seen.push(decision);
                    }
                }
            }
        }
    }
    assert_eq!(seen.len(), 3 * 8 * 2 * 3 * 7);
    for decision in [
        Decision::Rotate,
        Decision::Repeat,
        Decision::Refuse(Refusal::OtherClient),
        Decision::Refuse(Refusal::OtherKey),
        Decision::Refuse(Refusal::Idle),
        Decision::Refuse(Refusal::Over),
        Decision::End(EndCause::Reuse),
        Decision::End(EndCause::Forgotten),
    ] {
        assert!(seen.contains(&decision), "{decision:?}");
    }
}

#[track_caller]
fn check(family: &StoredFamily, token: (u32, &str), moment: (u64, u64), expected: Decision) {
    let (now_milliseconds, grace_milliseconds) = moment;
    let (generation, digest) = token;
    let presented = Presented { generation, digest, client_id: "app", shown: None };
    assert_eq!(
        decide(family, presented, Moment { now_milliseconds, grace_milliseconds }),
        expected
    );
}

#[test]
fn without_a_grace_nothing_is_repeated() {
    let family = family(None, None);
    check(&family, (4, "fourth"), (USED, 0), Decision::End(EndCause::Reuse));
}

#[test]
fn a_clock_that_was_set_back_does_not_make_a_retry_a_theft() {
    let family = family(None, None);
    check(&family, (4, "fourth"), (USED - 5000, GRACE), Decision::Repeat);
}

#[test]
fn an_answer_that_is_not_kept_is_not_repeated() {
    let family = StoredFamily { answer: None, ..family(None, None) };
    check(&family, (4, "fourth"), (USED, GRACE), Decision::End(EndCause::Reuse));
}

#[test]
fn a_family_without_another_number_is_over() {
    let family = StoredFamily { generation: u32::MAX, ..family(None, None) };
    check(&family, (u32::MAX, "fifth"), (USED, GRACE), Decision::Refuse(Refusal::Over));
}

#[test]
fn a_new_family_has_no_token_but_its_first() {
    let new = StoredFamily {
        generation: 0,
        digest: "first".to_owned(),
        previous: None,
        answer: None,
        ..family(None, None)
    };
    check(&new, (0, "first"), (USED, GRACE), Decision::Rotate);
    check(&new, (0, "another"), (USED, GRACE), Decision::End(EndCause::Forgotten));
    check(&new, (1, "second"), (USED, GRACE), Decision::End(EndCause::Forgotten));
}
