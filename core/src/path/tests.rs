use core::cmp::Ordering;

use proptest::prelude::*;

use super::{Ambiguities, MAX_PATH_BYTES, PathError, Tolerance, judge};

#[track_caller]
fn check(path: &str, expected: &str) {
    let judged = judge(path.as_bytes()).unwrap();
    assert_eq!(judged.ambiguities().to_string(), expected, "{path}");
}

#[track_caller]
fn eager(path: &str, expected: &str) {
    let judged = judge(path.as_bytes()).unwrap();
    let readings = judged.eager_readings();
    assert!(readings.contains(&expected.as_bytes().to_vec()), "{path}");
}

#[test]
fn plain_paths_are_not_ambiguous() {
    for path in [
        "/",
        "/a",
        "/a/",
        "/a/b.c/d..e/...",
        "/a%20b",
        "/caf%C3%A9",
        "/a?x=/../%2f//;\\%zz",
        "/a~b!$&'()*+,=:@",
        "/100%25",
        "/100%25zz",
        "/.well-known/x",
    ] {
        check(path, "");
    }
}

#[test]
fn what_a_decoder_may_take_for_a_separator_is_ambiguous() {
    check("/a%2Fb", "encoded-slash");
    check("/a%2fb", "encoded-slash");
    check("/a\\b", "backslash");
    check("/a%5Cb", "backslash");
    check("/a%5cb", "backslash");
}

#[test]
fn dot_segments_are_found_in_every_spelling() {
    for path in
        ["/.", "/..", "/a/..", "/a/../b", "/a/./b", "/%2e", "/%2E%2e/b", "/.%2e/b", "/a/%2e."]
    {
        check(path, "dot-segments");
    }
    check("/..;x/b", "path-parameters, dot-segments");
    check("/..%3Bx/b", "path-parameters, dot-segments");
    check("/a%2F..%2Fb", "encoded-slash, dot-segments");
    check("/%252e%252e/b", "double-encoding, dot-segments");
}

#[test]
fn slashes_that_may_be_merged_are_ambiguous() {
    for path in ["//", "//a", "/a//b", "/a//"] {
        check(path, "empty-segments");
    }
    check("/%2Fa", "encoded-slash, empty-segments");
    check("/a%2F/b", "encoded-slash, empty-segments");
}

#[test]
fn parameters_are_ambiguous() {
    check("/a;v=1", "path-parameters");
    check("/a;v=1/b", "path-parameters");
    check("/a%3bv", "path-parameters");
}

#[test]
fn control_bytes_are_found_raw_and_encoded() {
    for path in
        ["/a\0", "/a\n", "/a b", "/a\u{7f}", "/a%00", "/a%0a", "/a%0D", "/a%7f", "/a?b\r", "/a? b"]
    {
        check(path, "control-bytes");
    }
}

#[test]
fn escapes_without_a_right_reading_are_bad() {
    for path in ["/%", "/a%", "/a%2", "/a%zz", "/%u002f", "/%c0%af", "/%ff", "/%e0%80%af", "/%C3"] {
        check(path, "bad-escape");
    }
}

#[test]
fn a_second_layer_of_encoding_is_found_however_it_is_built() {
    check("/%2541", "double-encoding");
    check("/%25%34%31", "double-encoding");
    check("/a%252fb", "encoded-slash, double-encoding");
    check("/%2500", "double-encoding, control-bytes");
    check("/%255c", "double-encoding, backslash");
    check("/a%25252f", "double-encoding, bad-escape");
    check("/a%%32fb", "encoded-slash, double-encoding, bad-escape");
}

#[test]
fn delimiters_in_the_wrong_place_are_ambiguous() {
    check("/a%3fb", "encoded-delimiter");
    check("/a%23b", "encoded-delimiter");
    check("/a#b", "fragment");
    check("/a#", "fragment");
    check("/a?b#c", "fragment");
}

#[test]
fn raw_bytes_above_127_are_ambiguous_and_must_be_utf8() {
    check("/café", "non-ascii");
    let judged = judge(b"/caf\xe9").unwrap();
    assert_eq!(judged.ambiguities(), Ambiguities::NON_ASCII.with(Ambiguities::BAD_ESCAPE));
}

#[test]
fn what_is_not_a_path_is_refused() {
    for raw in ["", "*", "a", "http://h/a", "?a", "%2fa"] {
        assert_eq!(judge(raw.as_bytes()).err(), Some(PathError::NotAbsolute), "{raw}");
    }
    let long = format!("/{}", "a".repeat(MAX_PATH_BYTES));
    assert_eq!(judge(long.as_bytes()).err(), Some(PathError::TooLong));
    assert!(judge(long.as_bytes().get(..MAX_PATH_BYTES).unwrap()).is_ok());
}

#[test]
fn the_query_is_cut_at_the_first_question_mark() {
    let judged = judge(b"/a?b?c").unwrap();
    assert_eq!((judged.path(), judged.query()), (&b"/a"[..], Some(&b"b?c"[..])));
    let judged = judge(b"/a?").unwrap();
    assert_eq!((judged.path(), judged.query()), (&b"/a"[..], Some(&b""[..])));
}

#[test]
fn segments_are_decoded_once_for_comparison() {
    let judged = judge(b"/a%20b/%2541/c/").unwrap();
    let expected: [&[u8]; 4] = [b"a b", b"%41", b"c", b""];
    let segments: Vec<_> = judged.segments().collect();
    assert_eq!(segments.len(), expected.len());
    for (segment, literal) in segments.iter().zip(expected) {
        assert_eq!(segment.compare(literal), Ordering::Equal, "{segment:?}");
    }
    assert_eq!(judge(b"/").unwrap().segments().count(), 1);
    assert_eq!(judge(b"/a").unwrap().segments().count(), 1);
    assert_eq!(judge(b"/a/").unwrap().segments().count(), 2);
}

#[test]
fn the_eager_reading_is_the_shortest_that_an_upstream_could_make() {
    eager("/a%2Fb", "/a/b");
    eager("/a%2F", "/a/");
    eager("//a//b", "/a/b");
    eager("/a;x=1/b;y", "/a/b");
    eager("/a%252Fb", "/a/b");
    eager("/a%3fb", "/a");
    eager("//", "/");
    eager("/;x", "/");
    assert!(judge(b"/a%20b").unwrap().eager_readings().is_empty());
}

#[test]
fn every_tolerance_has_the_word_of_its_flag_and_is_not_among_the_never_accepted() {
    for tolerance in Tolerance::ALL {
        let flag = Ambiguities::from(*tolerance);
        assert_eq!(flag.to_string(), tolerance.word());
        assert!(!flag.intersects(Ambiguities::NEVER_ACCEPTED));
    }
}

proptest! {
    #[test]
    fn judging_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..64)) {
        if let Ok(judged) = judge(&raw) {
            let _ = judged.eager_readings();
            let _ = judged.segments().count();
        }
    }

    #[test]
    fn an_unambiguous_path_has_no_dangerous_reading(raw in "/[a./%25eE;\\\\0]{0,12}") {
        let judged = judge(raw.as_bytes()).unwrap();
        if judged.ambiguities().is_empty() {
            // Decoded until nothing changes, as the laxest upstream does.
            let mut reading = raw.into_bytes();
            loop {
                let next: Vec<u8> = super::Decoded(&reading).collect();
                if next == reading { break; }
                reading = next;
            }
            let text = String::from_utf8(reading).unwrap();
            prop_assert!(!text.contains("//") && !text.contains('\\') && !text.contains('\0'), "{text}");
            prop_assert!(text.split('/').all(|segment| segment != "." && segment != ".."), "{text}");
        }
    }
}
