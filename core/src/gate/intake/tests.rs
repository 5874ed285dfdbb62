use super::{Field, Intake, Presented, Scheme, check_letters, token};
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
    let intake = read(&[(b"dpop", b"a"), (b"dpop", b"b")]).unwrap();
    assert_eq!(intake.dpop, Presented::Repeated);
}

#[test]
fn own_names_are_forgeries_in_every_spelling() {
    let names: [&[u8]; 8] = [
        b"x-wardgate-subject",
        b"X-Wardgate-Subject",
        b"x_wardgate_subject",
        b"x-wardgate_anything",
        b"x.wardgate.subject",
        b"TXN_token",
        b"x_api_key",
        b"DPoP",
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
fn check_scheme(value: &str, expected: Result<Option<(Scheme, &str)>, Reason>) {
    let expected = expected.map(|shown| shown.map(|(scheme, token)| (scheme, token.as_bytes())));
    assert_eq!(token(value.as_bytes()), expected, "{value}");
}

#[test]
fn a_token_is_one_word_after_its_scheme() {
    let repeated = Err(Reason::CredentialRepeated);
    check_scheme("Basic abc, bEarer d.e.f", repeated);
    check_scheme("Basic abc, DPoP d.e.f", repeated);
    check_scheme("Bearer abc", Ok(Some((Scheme::Bearer, "abc"))));
    check_scheme("bEaReR   abc.d-e_f~g+h/i==", Ok(Some((Scheme::Bearer, "abc.d-e_f~g+h/i=="))));
    check_scheme("DPoP abc", Ok(Some((Scheme::Dpop, "abc"))));
    check_scheme("dpop  abc", Ok(Some((Scheme::Dpop, "abc"))));
    for other in ["Basic abc", "Bear", "Bearerx abc", "DPo", "DPoPx abc", "", "Basic Bearer x"] {
        check_scheme(other, Ok(None));
    }
    for malformed in ["Bearer", "Bearer ", "DPoP", "DPoP  "] {
        check_scheme(malformed, Err(Reason::CredentialMalformed));
    }
}

#[test]
fn a_token_is_one_word() {
    assert_eq!(check_letters(b"abc.d-e_f~g+h/i=="), Ok(()));
    for other in ["a b", "\u{e9}", "a\"", "a\0"] {
        assert_eq!(check_letters(other.as_bytes()), Err(Reason::CredentialMalformed), "{other}");
    }
    assert_eq!(check_letters(b"a.b.c,Bearer d.e.f"), Err(Reason::CredentialRepeated));
}
