mod claims;
mod header;
mod signer;

use serde_json::{Value, json};

use super::{DEFAULT_ALGORITHMS, DpopError, Expected, HttpUri, NonceRule, VerifiedProof, verify};
use crate::base64url;
use crate::time::UnixSeconds;
use crate::token::{Algorithm, SoftwareSignatures};

pub(crate) use signer::Signer;

const NOW: UnixSeconds = UnixSeconds(1_700_000_000);
const TOKEN: &[u8] = b"an.access.token";

/// `value` with the members of `changes`; null takes a member away.
fn with(mut value: Value, changes: &Value) -> Value {
    let members = value.as_object_mut().unwrap();
    for (name, member) in changes.as_object().unwrap() {
        members.shift_remove(name);
        if !member.is_null() {
            members.insert(name.clone(), member.clone());
        }
    }
    value
}

fn claims() -> Value {
    json!({
        "jti": "a-unique-id",
        "htm": "GET",
        "htu": "https://api.example.com/a",
        "iat": NOW.0,
        "ath": "UkM2b42E54u4hWzuKV_B3zyulUA6vtNYjJUv_ru2Qck",
    })
}

fn uris() -> Vec<HttpUri> {
    let uris = ["https://api.example.com/a", "https://www.example.com/api/a"];
    uris.into_iter().map(|uri| HttpUri::parse(uri).unwrap()).collect()
}

fn expected(uris: &[HttpUri]) -> Expected<'_> {
    Expected {
        method: "GET",
        uris,
        access_token: Some(TOKEN),
        thumbprint: None,
        algorithms: DEFAULT_ALGORITHMS,
        max_age_seconds: 60,
        clock_skew_seconds: 10,
        nonce: NonceRule::Ignored,
        now: NOW,
    }
}

fn judge(proof: &str, expected: &Expected<'_>) -> Result<VerifiedProof, DpopError> {
    verify(proof.as_bytes(), expected, &SoftwareSignatures)
}

#[track_caller]
fn check(proof: &str, result: Result<(), DpopError>) {
    assert_eq!(judge(proof, &expected(&uris())).map(|_| ()), result);
}

#[test]
fn a_right_proof_is_accepted_and_says_which_key_it_is() {
    for signer in Signer::all() {
        let (uris, algorithms) = (uris(), [signer.algorithm]);
        let expected = Expected {
            thumbprint: Some(&signer.thumbprint),
            algorithms: &algorithms,
            ..expected(&uris)
        };
        let proof = judge(&signer.proof(&claims()), &expected).unwrap();
        assert_eq!(proof.thumbprint(), signer.thumbprint);
        assert_eq!(proof.token_id(), "a-unique-id");
        assert_eq!((proof.issued_at(), proof.nonce()), (NOW, None));
        assert_eq!(proof.valid_until(), NOW.plus(60));
    }
}

#[test]
fn only_accepted_algorithms_are() {
    for signer in Signer::all() {
        let others: Vec<Algorithm> =
            Algorithm::ALL.iter().copied().filter(|other| *other != signer.algorithm).collect();
        let uris = uris();
        let expected = Expected { algorithms: &others, ..expected(&uris) };
        let result = judge(&signer.proof(&claims()), &expected);
        assert_eq!(result, Err(DpopError::AlgorithmRefused));
    }
}

#[test]
fn a_proof_with_another_key_than_that_of_the_token_is_refused_before_its_signature_is_checked() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    let uris = uris();
    let expected = Expected { thumbprint: Some(&other.thumbprint), ..expected(&uris) };
    let mut proof = signer.proof(&claims());
    assert_eq!(judge(&proof, &expected), Err(DpopError::KeyMismatch));
    proof.truncate(proof.rfind('.').unwrap() + 1);
    assert_eq!(judge(&proof, &expected), Err(DpopError::KeyMismatch));
}

#[test]
fn a_signature_of_another_key_or_over_another_text_is_refused() {
    let (signer, other) = (Signer::p256(), Signer::p256());
    let (good, stranger) = (signer.proof(&claims()), other.proof(&claims()));
    let (input, _) = good.rsplit_once('.').unwrap();
    let (_, signature) = stranger.rsplit_once('.').unwrap();
    check(&format!("{input}.{signature}"), Err(DpopError::SignatureInvalid));
    check(&format!("{input}."), Err(DpopError::SignatureInvalid));
    let zero = base64url::encode(&[0; 64]);
    check(&format!("{input}.{zero}"), Err(DpopError::SignatureInvalid));
    let changed = signer.proof(&with(claims(), &json!({"jti": "another"})));
    let (changed, _) = changed.rsplit_once('.').unwrap();
    let (_, signature) = good.rsplit_once('.').unwrap();
    check(&format!("{changed}.{signature}"), Err(DpopError::SignatureInvalid));
}

#[test]
fn what_is_no_jws_in_compact_form_is_malformed() {
    let good = Signer::p256().proof(&claims());
    let (input, signature) = good.rsplit_once('.').unwrap();
    for proof in [
        "",
        ".",
        "..",
        "a.b.c",
        input,
        &format!("{good}.e30"),
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{input}.{signature}.{signature}.{signature}"),
        &format!("{good},{good}"),
        "bnVsbA.bnVsbA.AA",
    ] {
        check(proof, Err(DpopError::Malformed));
    }
}

#[test]
fn a_proof_over_the_limit_is_not_read() {
    let long = with(claims(), &json!({"x": "y".repeat(4096)}));
    check(&Signer::p256().proof(&long), Err(DpopError::Oversize));
}

#[test]
fn errors_say_what_the_client_must_do() {
    assert_eq!(DpopError::NonceMissing.oauth_error(), "use_dpop_nonce");
    assert_eq!(DpopError::NonceRefused.oauth_error(), "use_dpop_nonce");
    assert_eq!(DpopError::TooOld.oauth_error(), "invalid_dpop_proof");
}

#[test]
fn a_dump_of_a_proof_does_not_show_its_ids() {
    let uris = uris();
    let claims = with(claims(), &json!({"nonce": "secret-nonce"}));
    let proof = judge(&Signer::p256().proof(&claims), &expected(&uris)).unwrap();
    let dump = format!("{proof:?}");
    assert!(!dump.contains("a-unique-id") && !dump.contains("secret-nonce"), "{dump}");
}
