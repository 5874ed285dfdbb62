use super::{
    MacError, Nonce, RequestParts, sign_answer, sign_request, verify_answer, verify_request,
};
use crate::secret::Secret;
use crate::time::UnixSeconds;

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const NONCE: Nonce = Nonce([7; 16]);
const REQUEST: RequestParts<'static> =
    RequestParts { method: "POST", path: "/internal/v1/audit", body: b"{}" };

fn secret() -> Secret {
    Secret::new(vec![9; 32])
}

#[track_caller]
fn check(request: RequestParts<'_>, header: &str, now: u64, expected: Result<Nonce, MacError>) {
    let now = UnixSeconds(now);
    assert_eq!(verify_request(&secret(), request, header.as_bytes(), now, 30), expected);
}

#[test]
fn a_signed_request_is_believed_within_the_window() {
    let header = sign_request(&secret(), REQUEST, NOW, NONCE);
    check(REQUEST, &header, NOW.0, Ok(NONCE));
    check(REQUEST, &header, NOW.0 + 30, Ok(NONCE));
    check(REQUEST, &header, NOW.0 + 31, Err(MacError::Time));
    check(REQUEST, &header, NOW.0 - 31, Err(MacError::Time));
}

#[test]
fn a_changed_request_is_not_believed() {
    let header = sign_request(&secret(), REQUEST, NOW, NONCE);
    let wrong = Err(MacError::Mismatch);
    check(RequestParts { method: "GET", ..REQUEST }, &header, NOW.0, wrong);
    check(RequestParts { path: "/internal/v1/audi", ..REQUEST }, &header, NOW.0, wrong);
    check(RequestParts { body: b"{ }", ..REQUEST }, &header, NOW.0, wrong);
    // The same bytes, cut elsewhere.
    check(
        RequestParts { path: "/internal/v1/audit{}", body: b"", ..REQUEST },
        &header,
        NOW.0,
        wrong,
    );
    let later = header.replace("t=1800000000", "t=1800000001");
    check(REQUEST, &later, NOW.0, wrong);
}

#[test]
fn junk_in_place_of_the_header_is_refused() {
    let header = sign_request(&secret(), REQUEST, NOW, NONCE);
    let long = format!("{header}{}", "x".repeat(300));
    for junk in ["", "v1", "v2,t=1", "v1,t=x,n=,m=", &format!("{header},"), &long, "\u{fffd}"] {
        check(REQUEST, junk, NOW.0, Err(MacError::Header));
    }
}

#[test]
fn an_answer_is_believed_for_its_question_only() {
    let header = sign_answer(&secret(), NONCE, 200, b"body");
    let check = |nonce, status, body: &[u8], header: &str| {
        verify_answer(&secret(), nonce, status, body, header.as_bytes())
    };
    assert_eq!(check(NONCE, 200, b"body", &header), Ok(()));
    assert_eq!(check(Nonce([8; 16]), 200, b"body", &header), Err(MacError::Mismatch));
    assert_eq!(check(NONCE, 503, b"body", &header), Err(MacError::Mismatch));
    assert_eq!(check(NONCE, 200, b"Body", &header), Err(MacError::Mismatch));
    assert_eq!(check(NONCE, 200, b"body", ""), Err(MacError::Header));
}

#[test]
fn a_request_header_does_not_pass_as_that_of_an_answer() {
    let header = sign_request(&secret(), REQUEST, NOW, NONCE);
    let mac = header.rsplit(',').next().unwrap();
    let forged = format!("v1,{mac}");
    assert!(verify_answer(&secret(), NONCE, 200, b"{}", forged.as_bytes()).is_err());
}
