use super::{Field, Intake, Presented, bearer, check_letters};
use crate::reason::Reason;

fn own(name: &[u8]) -> bool {
    name.starts_with(b"x-wardgate-") || name == b"txn-token"
}

fn read<'a>(more: &[Field<'a>]) -> Result<Intake<'a>, Reason> {
    let mut fields: Vec<Field<'a>> =
        vec![(b":method", b"GET"), (b":path", b"/a?b"), (b":authority", b"example.com")];
    fields.extend_from_slice(more);
    Intake::read(&fields, own)
}

#[test]
fn the_request_line_is_found() {
    let intake = read(&[]).unwrap();
    assert_eq!(
        (intake.method, intake.path, intake.authority),
        ("GET", &b"/a?b"[..], "example.com")
    );
}

#[test]
fn a_missing_repeated_or_binary_request_line_is_malformed() {
    let malformed = Some(Reason::RequestMalformed);
    assert_eq!(Intake::read(&[(b":method", b"GET")], own).err(), malformed);
    assert_eq!(read(&[(b":path", b"/b")]).err(), malformed);
    assert_eq!(read(&[(b":authority", b"b")]).err(), malformed);
    let binary: [Field<'_>; 2] = [(b":method", b"\xff"), (b":path", b"/")];
    assert_eq!(Intake::read(&binary, own).err(), malformed);
}

#[test]
fn too_many_fields_are_malformed() {
    let many = vec![(&b"a"[..], &b"b"[..]); 2000];
    assert_eq!(read(&many).err(), Some(Reason::RequestMalformed));
}

#[test]
fn a_repeated_credential_is_seen() {
    let intake = read(&[(b"authorization", b"a"), (b"authorization", b"a")]).unwrap();
    assert_eq!(intake.authorization, Presented::Repeated);
    assert_eq!(intake.api_key, Presented::Absent);
}

#[test]
fn own_names_are_forgeries_in_every_spelling() {
    let names: [&[u8]; 7] = [
        b"x-wardgate-subject",
        b"X-Wardgate-Subject",
        b"x_wardgate_subject",
        b"x-wardgate_anything",
        b"x.wardgate.subject",
        b"TXN_token",
        b"x_api_key",
    ];
    for name in names {
        assert_eq!(read(&[(name, b"v")]).unwrap().forged, [name]);
    }
    let harmless = read(&[(b"x-wardgat", b"v"), (b"x-request-id", b"v"), (b"accept", b"v")]);
    assert!(harmless.unwrap().forged.is_empty());
}

#[test]
fn a_preflight_needs_an_origin() {
    let method: Field<'_> = (b"access-control-request-method", b"PUT");
    assert_eq!(read(&[method]).unwrap().preflight_method, None);
    assert_eq!(read(&[method, (b"origin", b"https://a")]).unwrap().preflight_method, Some("PUT"));
}

#[test]
fn grpc_is_told_by_the_content_type() {
    for (value, expected) in [
        ("application/grpc", true),
        ("application/grpc+proto", true),
        ("application/grpc; a=b", true),
        ("application/grpc-web", false),
        ("application/json", false),
    ] {
        let intake = read(&[(b"content-type", value.as_bytes())]).unwrap();
        assert_eq!(intake.is_grpc, expected, "{value}");
    }
}

#[track_caller]
fn check_bearer(value: &str, expected: Result<Option<&str>, Reason>) {
    assert_eq!(bearer(value.as_bytes()), expected.map(|token| token.map(str::as_bytes)));
}

#[test]
fn a_bearer_token_is_one_word_after_the_scheme() {
    check_bearer("Basic abc, bEarer d.e.f", Err(Reason::CredentialRepeated));
    check_bearer("Bearer abc", Ok(Some("abc")));
    check_bearer("bEaReR   abc.d-e_f~g+h/i==", Ok(Some("abc.d-e_f~g+h/i==")));
    check_bearer("Basic abc", Ok(None));
    check_bearer("Bear", Ok(None));
    check_bearer("Bearerx abc", Ok(None));
    let malformed = Err(Reason::CredentialMalformed);
    check_bearer("Bearer", malformed);
    check_bearer("Bearer ", malformed);
}

#[test]
fn a_token_is_one_word() {
    assert_eq!(check_letters(b"abc.d-e_f~g+h/i=="), Ok(()));
    for other in ["a b", "\u{e9}", "a\"", "a\0"] {
        assert_eq!(check_letters(other.as_bytes()), Err(Reason::CredentialMalformed), "{other}");
    }
    assert_eq!(check_letters(b"a.b.c,Bearer d.e.f"), Err(Reason::CredentialRepeated));
}
