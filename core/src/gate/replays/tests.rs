use std::cell::RefCell;

use serde_json::json;

use super::{Refusal, Replays, SET_ENTRIES};
use crate::dpop::tests::Signer;
use crate::dpop::{DEFAULT_ALGORITHMS, Expected, HttpUri, NonceRule, VerifiedProof, verify};
use crate::feed::live::{Collision, LocalMemory, SharedMemory};
use crate::secret::Secret;
use crate::time::UnixSeconds;
use crate::token::SoftwareSignatures;

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
const MAX_AGE: u64 = 60;

/// A worker with one set, so that all proofs meet.
fn worker() -> Replays {
    Replays::new(&Secret::new(vec![3; 32])).with_sets(1)
}

fn proof(signer: &Signer, token_id: &str, issued_at: UnixSeconds) -> VerifiedProof {
    let uris: Vec<HttpUri> = HttpUri::parse("https://a.example/").into_iter().collect();
    let expected = Expected {
        method: "GET",
        uris: &uris,
        access_token: None,
        thumbprint: None,
        algorithms: DEFAULT_ALGORITHMS,
        max_age_seconds: MAX_AGE,
        clock_skew_seconds: 10,
        nonce: NonceRule::Ignored,
        now: issued_at,
    };
    let claims = json!({
        "jti": token_id, "htm": "GET", "htu": "https://a.example/", "iat": issued_at.0,
    });
    verify(signer.proof(&claims).as_bytes(), &expected, &SoftwareSignatures).unwrap()
}

fn key_of(memory: &LocalMemory) -> String {
    memory.keys().pop().unwrap()
}

#[test]
fn a_proof_is_used_once_whichever_worker_gets_it() {
    let (signer, memory) = (Signer::ed25519(), LocalMemory::default());
    let used = proof(&signer, "1", NOW);
    let (mut one, mut other) = (worker(), worker());
    assert_eq!(one.take(&used, NOW, &memory), Ok(()));
    assert_eq!(one.take(&used, NOW, &memory), Err(Refusal::Replayed));
    assert_eq!(other.take(&used, NOW, &memory), Err(Refusal::Replayed));
    assert_eq!(other.take(&used, NOW.plus(MAX_AGE), &memory), Err(Refusal::Replayed));
    assert_eq!(other.take(&proof(&signer, "2", NOW), NOW, &memory), Ok(()));
    let another_key = proof(&Signer::ed25519(), "1", NOW);
    assert_eq!(other.take(&another_key, NOW, &memory), Ok(()), "nobody uses up ids of others");
}

#[test]
fn proofs_fall_into_different_sets() {
    let (signer, memory) = (Signer::ed25519(), LocalMemory::default());
    let mut worker = Replays::new(&Secret::new(vec![3; 32]));
    for number in 0..20 {
        let proof = proof(&signer, &number.to_string(), NOW);
        assert_eq!(worker.take(&proof, NOW, &memory), Ok(()));
        assert_eq!(worker.take(&proof, NOW, &memory), Err(Refusal::Replayed));
    }
    assert!(memory.keys().len() > 15, "{:?}", memory.keys());
}

#[test]
fn a_full_set_takes_no_more_until_what_it_remembers_has_ended() {
    let (signer, memory) = (Signer::ed25519(), LocalMemory::default());
    let mut worker = worker();
    for number in 0..SET_ENTRIES {
        let proof = proof(&signer, &number.to_string(), NOW);
        assert_eq!(worker.take(&proof, NOW, &memory), Ok(()));
    }
    let one_more = proof(&signer, "one more", NOW);
    assert_eq!(worker.take(&one_more, NOW, &memory), Err(Refusal::Full));
    let first = proof(&signer, "0", NOW);
    assert_eq!(worker.take(&first, NOW, &memory), Err(Refusal::Replayed));
    let bytes = memory.bytes();
    let later = NOW.plus(MAX_AGE + 1);
    for number in 0..SET_ENTRIES {
        let proof = proof(&signer, &format!("later {number}"), later);
        assert_eq!(worker.take(&proof, later, &memory), Ok(()));
    }
    assert_eq!(memory.bytes(), bytes, "it never grows beyond its size");
}

#[test]
fn a_clock_that_is_set_back_makes_no_used_proof_good_again() {
    let (signer, memory) = (Signer::ed25519(), LocalMemory::default());
    let mut worker = worker();
    let used = proof(&signer, "used", NOW);
    assert_eq!(worker.take(&used, NOW, &memory), Ok(()));
    // Long after it has ended it is forgotten.
    let later = NOW.plus(3600);
    assert_eq!(worker.take(&proof(&signer, "later", later), later, &memory), Ok(()));
    let back = NOW.plus(30);
    assert_eq!(worker.take(&used, back, &memory), Err(Refusal::Forgotten));
    // New ones are good at once.
    assert_eq!(worker.take(&proof(&signer, "new", back), back, &memory), Ok(()));
}

#[test]
fn a_value_that_somebody_changed_refuses() {
    let (signer, memory) = (Signer::ed25519(), LocalMemory::default());
    worker().take(&proof(&signer, "1", NOW), NOW, &memory).unwrap();
    let key = key_of(&memory);
    let (value, _) = memory.get(&key).unwrap();
    let other = proof(&signer, "2", NOW);
    for index in 0..value.len() {
        let mut changed = value.clone();
        changed[index] ^= 1;
        memory.set(&key, &changed, None).unwrap();
        let result = worker().take(&other, NOW, &memory);
        assert_eq!(result, Err(Refusal::Unreadable), "byte {index}");
    }
    for changed in [&b""[..], &value[..16], &[value.as_slice(), &value].concat()] {
        memory.set(&key, changed, None).unwrap();
        assert_eq!(worker().take(&other, NOW, &memory), Err(Refusal::Unreadable));
    }
    // Nor is the set of another place, or of another secret, believed here.
    memory.set(&key, &value, None).unwrap();
    let moved = LocalMemory::default();
    let two = Replays::new(&Secret::new(vec![3; 32])).with_sets(2);
    let place = two.place_of(&other).0;
    moved.set(&format!("{}.{}", two.table.prefix(), 1), &value, None).unwrap();
    moved.set(&format!("{}.{}", two.table.prefix(), 0), &value, None).unwrap();
    let mut two = two;
    let expected = if place == 0 { Ok(()) } else { Err(Refusal::Unreadable) };
    assert_eq!(two.take(&other, NOW, &moved), expected);
}

#[test]
fn an_older_state_that_somebody_put_back_refuses_where_a_newer_one_was_seen() {
    let (signer, memory) = (Signer::ed25519(), LocalMemory::default());
    let mut worker = worker();
    worker.take(&proof(&signer, "1", NOW), NOW, &memory).unwrap();
    let key = key_of(&memory);
    let (older, _) = memory.get(&key).unwrap();
    let used = proof(&signer, "2", NOW);
    worker.take(&used, NOW, &memory).unwrap();
    memory.set(&key, &older, None).unwrap();
    assert_eq!(worker.take(&used, NOW, &memory), Err(Refusal::Unreadable));
    // Gone is older than anything.
    let empty = LocalMemory::default();
    assert_eq!(worker.take(&used, NOW, &empty), Err(Refusal::Unreadable));
}

#[test]
fn memory_that_cannot_be_written_refuses() {
    struct Broken(LocalMemory);
    impl SharedMemory for Broken {
        fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
            self.0.get(key)
        }
        fn set(&self, _key: &str, _value: &[u8], _cas: Option<u32>) -> Result<(), Collision> {
            Err(Collision)
        }
    }
    let signer = Signer::ed25519();
    let used = proof(&signer, "1", NOW);
    let broken = Broken(LocalMemory::default());
    assert_eq!(worker().take(&used, NOW, &broken), Err(Refusal::Unreadable));
    worker().take(&proof(&signer, "2", NOW), NOW, &broken.0).unwrap();
    assert_eq!(worker().take(&used, NOW, &broken), Err(Refusal::Unreadable));
}

/// Lets another worker write whenever one is about to.
struct Interleaved {
    memory: LocalMemory,
    rivals: RefCell<Vec<(Replays, VerifiedProof)>>,
}

impl Interleaved {
    fn let_rival_write(&self) {
        let rival = self.rivals.borrow_mut().pop();
        if let Some((mut rival, proof)) = rival {
            rival.take(&proof, NOW, &self.memory).unwrap();
        }
    }
}

impl SharedMemory for Interleaved {
    fn get(&self, key: &str) -> Option<(Vec<u8>, u32)> {
        self.memory.get(key)
    }

    fn set(&self, key: &str, value: &[u8], version: Option<u32>) -> Result<(), Collision> {
        self.let_rival_write();
        self.memory.set(key, value, version)
    }

    fn create(&self, key: &str, value: &[u8]) -> Result<(), Collision> {
        self.let_rival_write();
        self.memory.create(key, value)
    }
}

#[test]
fn of_two_workers_that_get_the_same_proof_at_once_one_refuses_it() {
    let signer = Signer::ed25519();
    let used = proof(&signer, "1", NOW);
    // The very first value, and a later one.
    for is_first in [true, false] {
        let memory = LocalMemory::default();
        if !is_first {
            worker().take(&proof(&signer, "0", NOW), NOW, &memory).unwrap();
        }
        let rivals = RefCell::new(vec![(worker(), used.clone())]);
        let memory = Interleaved { memory, rivals };
        assert_eq!(worker().take(&used, NOW, &memory), Err(Refusal::Replayed));
    }
}

#[test]
fn of_two_workers_that_write_at_once_neither_loses_what_the_other_remembers() {
    let signer = Signer::ed25519();
    let (mine, theirs) = (proof(&signer, "mine", NOW), proof(&signer, "theirs", NOW));
    let rivals = RefCell::new(vec![(worker(), theirs.clone())]);
    let memory = Interleaved { memory: LocalMemory::default(), rivals };
    let mut worker = worker();
    assert_eq!(worker.take(&mine, NOW, &memory), Ok(()));
    for used in [mine, theirs] {
        assert_eq!(worker.take(&used, NOW, &memory), Err(Refusal::Replayed));
    }
}

#[test]
fn a_worker_that_never_gets_its_turn_refuses() {
    let signer = Signer::ed25519();
    let rival = |number: u32| (worker(), proof(&signer, &format!("rival {number}"), NOW));
    let rivals = RefCell::new((0..40).map(rival).collect());
    let memory = Interleaved { memory: LocalMemory::default(), rivals };
    assert_eq!(worker().take(&proof(&signer, "1", NOW), NOW, &memory), Err(Refusal::Unreadable));
}
