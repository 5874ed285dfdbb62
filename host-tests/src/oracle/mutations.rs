//! What is done to tokens.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use wardgate_core::token::Algorithm;

use super::draft::{Draft, Forger, Random};
use super::signers::Signer;
use super::{ISSUER, SKEW};

pub(super) struct Mutation {
    /// Says what is done; the list of disagreements names it.
    pub(super) name: &'static str,
    pub(super) apply: fn(&mut Draft, &mut Random),
}

const fn mutation(name: &'static str, apply: fn(&mut Draft, &mut Random)) -> Mutation {
    Mutation { name, apply }
}

fn claim(draft: &mut Draft, name: &str, value: Value) {
    draft.claims.insert(name.to_owned(), value);
}

fn header(draft: &mut Draft, name: &str, value: Value) {
    draft.header.insert(name.to_owned(), value);
}

/// A second from two before `middle` to two after it.
fn around(middle: u64, random: &mut Random) -> u64 {
    middle - 2 + random.next() % 5
}

/// The same, in eighths of a second.
#[expect(clippy::cast_precision_loss, reason = "the seconds of this century are exact")]
fn around_in_eighths(middle: u64, random: &mut Random) -> f64 {
    middle as f64 - 2.0 + (random.next() % 33) as f64 / 8.0
}

fn letter(random: &mut Random) -> char {
    let letters: Vec<char> = ('A'..='Z').chain('a'..='z').chain('0'..='9').collect();
    random.pick(&letters)
}

fn change_letter(text: String, from: usize, to: usize, random: &mut Random) -> String {
    if from >= to {
        return text;
    }
    let at = from + random.below(to - from);
    text.char_indices().map(|(index, old)| if index == at { letter(random) } else { old }).collect()
}

fn hmac_sha256(secret: &[u8], input: &[u8]) -> Vec<u8> {
    hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), input).as_ref().to_vec()
}

/// A signature; one that is another one each time begins with a zero or does not.
fn beginning(with_zero: bool, signer: &Signer, input: &[u8]) -> Vec<u8> {
    loop {
        let signature = signer.sign(input);
        let is_random =
            matches!(signer.algorithm, Algorithm::Es256 | Algorithm::Es384 | Algorithm::Ps256);
        if !is_random || (signature[0] == 0) == with_zero {
            return signature;
        }
    }
}

/// Where the dots are, for texts that still have two.
fn dots(text: &str) -> (usize, usize) {
    (text.find('.').unwrap_or(0), text.rfind('.').unwrap_or(0))
}

const WRONG_TYPES: [fn() -> Value; 5] =
    [|| json!("1"), || json!(true), || json!([1]), || json!({}), || json!(-1)];

pub(super) const MUTATIONS: &[Mutation] = &[
    mutation("exp around now", |draft, random| {
        claim(draft, "exp", around(draft.now - SKEW, random).into());
    }),
    mutation("exp with a fraction", |draft, random| {
        claim(draft, "exp", around_in_eighths(draft.now - SKEW, random).into());
    }),
    mutation("exp beyond the year 9999", |draft, random| {
        let choices = [json!(253_402_300_800_u64), json!(1e15), json!(u64::MAX), json!(1e300)];
        claim(draft, "exp", random.pick(&choices));
    }),
    mutation("exp far away", |draft, random| {
        claim(draft, "exp", random.pick(&[json!(0), json!(draft.now * 2), json!(1.5)]));
    }),
    mutation("exp of the wrong type", |draft, random| {
        claim(draft, "exp", random.pick(&WRONG_TYPES)());
    }),
    mutation("exp as a text", |draft, _| {
        claim(draft, "exp", (draft.now + 600).to_string().into());
    }),
    mutation("exp null", |draft, _| claim(draft, "exp", Value::Null)),
    mutation("nbf around now", |draft, random| {
        claim(draft, "nbf", around(draft.now + SKEW, random).into());
    }),
    mutation("nbf with a fraction", |draft, random| {
        claim(draft, "nbf", around_in_eighths(draft.now + SKEW, random).into());
    }),
    mutation("nbf of the wrong type", |draft, random| {
        claim(draft, "nbf", random.pick(&WRONG_TYPES)());
    }),
    mutation("nbf null", |draft, _| claim(draft, "nbf", Value::Null)),
    mutation("iat around now", |draft, random| {
        claim(draft, "iat", around(draft.now + SKEW, random).into());
    }),
    mutation("iat of the wrong type", |draft, random| {
        claim(draft, "iat", random.pick(&WRONG_TYPES)());
    }),
    mutation("jti of the wrong type or length", |draft, random| {
        claim(draft, "jti", random.pick(&[json!(1), json!(null), json!("j".repeat(513))]));
    }),
    mutation("jti", |draft, _| claim(draft, "jti", json!("t-1"))),
    mutation("sub empty or endless", |draft, random| {
        claim(draft, "sub", random.pick(&[json!(""), json!("s".repeat(2049))]));
    }),
    mutation("sub of the wrong type", |draft, random| {
        claim(draft, "sub", random.pick(&[json!(42), json!(["alice"]), json!(null), json!({})]));
    }),
    mutation("a required claim is missing", |draft, random| {
        draft.claims.shift_remove(random.pick(&["iss", "sub", "aud", "exp"]));
    }),
    mutation("iss of others", |draft, random| {
        let others = ["https://issuer.example/", "https://ISSUER.example", "", "evil"];
        claim(draft, "iss", random.pick(&others).into());
    }),
    mutation("iss of the wrong type", |draft, random| {
        claim(draft, "iss", random.pick(&[json!(1), json!(null), json!(["other"]), json!([1])]));
    }),
    mutation("iss in a list", |draft, _| {
        claim(draft, "iss", json!(["https://evil.example", ISSUER]));
    }),
    mutation("aud in its forms", |draft, random| {
        let forms = [
            json!("api"),
            json!("api-two"),
            json!(["api"]),
            json!(["x", "api-two"]),
            json!(["api", "api"]),
            json!("API"),
            json!("api "),
            json!("api,api-two"),
            json!(["x"]),
            json!([]),
            json!(""),
        ];
        claim(draft, "aud", random.pick(&forms));
    }),
    mutation("aud of the wrong type", |draft, random| {
        let wrong = [json!(1), json!(null), json!({"api": 1}), json!(["api", 1]), json!([["api"]])];
        claim(draft, "aud", random.pick(&wrong));
    }),
    mutation("other claims", |draft, random| {
        let values = [json!({"a": [{"b": null}]}), json!("\u{0}\u{1f600}\""), json!(1e308)];
        claim(draft, "x", random.pick(&values));
    }),
    mutation("a registered claim twice", |draft, random| {
        let twice = [r#""sub":"mallory","#, r#""exp":9999999999,"#, r#""aud":"api","#];
        draft.raw_claims.push_str(random.pick(&twice));
    }),
    mutation("another claim twice", |draft, random| {
        let twice = [r#""roles":["admin"],"#, r#""x":{"a":1,"\u0061":2},"#];
        draft.raw_claims.push_str(random.pick(&twice));
    }),
    mutation("payload that is no JSON", |draft, random| {
        let broken =
            ["}", r#""a":,"#, r#""a":01,"#, r#""a":1e999,"#, "\"a\":\"\n\",", r#""\ud800":1,"#];
        draft.raw_claims.push_str(random.pick(&broken));
    }),
    mutation("numbers that JSON does not have", |draft, random| {
        draft.raw_claims.push_str(random.pick(&[r#""a":NaN,"#, r#""a":-Infinity,"#]));
    }),
    mutation("payload that is no UTF-8", |draft, random| {
        let encodings: [fn(&str) -> Vec<u8>; 4] = [
            |text| text.encode_utf16().flat_map(u16::to_le_bytes).collect(),
            |text| [&[0xef, 0xbb, 0xbf], text.as_bytes()].concat(),
            // A surrogate, and an overlong slash.
            |text| [b"{\"a\":\"\xed\xa0\x80\",", &text.as_bytes()[1..]].concat(),
            |text| [b"{\"a\":\"\xc0\xaf\",", &text.as_bytes()[1..]].concat(),
        ];
        draft.encode = random.pick(&encodings);
    }),
    mutation("payload nested too deep", |draft, _| {
        draft.raw_claims += r#""deep":"#;
        draft.raw_claims += &["[".repeat(200), "]".repeat(200), ",".to_owned()].concat();
    }),
    mutation("white space in the JSON", |draft, _| {
        draft.raw_claims.insert_str(0, " \r\n\t");
        draft.raw_header.insert(0, '\n');
    }),
    mutation("a token over the limit", |draft, _| claim(draft, "x", json!("x".repeat(7000)))),
    mutation("typ", |draft, random| {
        let types = ["JWT", "jwt", "at+jwt", "application/at+jwt", "id+jwt", "JOSE", ""];
        header(draft, "typ", random.pick(&types).into());
    }),
    mutation("a header of the wrong type", |draft, random| {
        let name = random.pick(&["typ", "kid", "cty", "x5t", "x5t#S256"]);
        header(draft, name, random.pick(&[json!(1), json!(null), json!([])]));
    }),
    mutation("no typ, no kid", |draft, random| {
        draft.header.shift_remove(random.pick(&["typ", "kid"]));
    }),
    mutation("another kid", |draft, random| {
        let ids = ["key-2", "", "KEY-1", "../key-1", &"k".repeat(257)];
        header(draft, "kid", random.pick(&ids).into());
    }),
    mutation("a critical header", |draft, random| {
        let lists = [json!(["exp"]), json!([]), json!(["b64"]), json!("b64"), json!(null)];
        header(draft, "crit", random.pick(&lists));
    }),
    mutation("b64", |draft, random| {
        header(draft, "b64", random.pick(&[json!(false), json!(true)]));
    }),
    mutation("an embedded key", |draft, random| match random.below(4) {
        0 => header(draft, "jku", json!("https://evil.example/keys")),
        1 => header(draft, "x5u", json!("https://evil.example/certificate")),
        2 => header(draft, "x5c", json!(["AQAB"])),
        _ => header(draft, "jwk", json!({"kty": "oct", "k": "AQAB"})),
    }),
    mutation("headers of encrypted and nested tokens", |draft, random| match random.below(3) {
        0 => header(draft, "zip", json!("DEF")),
        1 => header(draft, "enc", json!("A256GCM")),
        _ => header(draft, "cty", json!("JWT")),
    }),
    mutation("an unknown header twice", |draft, _| draft.raw_header.push_str(r#""x":1,"x":2,"#)),
    mutation("alg twice", |draft, random| {
        draft.raw_header.push_str(random.pick(&[r#""alg":"none","#, r#""alg":"HS256","#]));
    }),
    mutation("a header over the limit", |draft, _| header(draft, "x", json!("x".repeat(2048)))),
    mutation("other header members", |draft, random| {
        header(draft, "x", random.pick(&[json!(1), json!({"a": []}), json!(null)]));
    }),
    mutation("header that is no JSON", |draft, random| {
        draft.raw_header.push_str(random.pick(&["}", r#""a":,"#, r#""a":'b',"#]));
    }),
    mutation("alg swapped", |draft, random| {
        let names = [
            "none", "None", "NONE", "", "rs256", "RS256", "RS384", "RS512", "PS256", "PS512",
            "ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "HS256", "HS384", "HS512",
        ];
        // The swap to its own name is no change, and is accepted by both.
        header(draft, "alg", random.pick(&names).into());
    }),
    mutation("rightly signed by an algorithm that is not allowed", |draft, _| {
        if let Some(unlisted) = draft.unlisted {
            header(draft, "alg", unlisted.word().into());
            draft.forger = Some(|_, signer, input| signer.sign_unlisted(input));
        }
    }),
    mutation("alg of the wrong type", |draft, random| {
        header(draft, "alg", random.pick(&[json!(null), json!(256), json!(["RS256"])]));
    }),
    mutation("no alg", |draft, _| {
        draft.header.shift_remove("alg");
    }),
    mutation("signed by a stranger", |draft, _| {
        draft.forger = Some(|signers, signer, input| {
            let of_same_kind = |one: &&Signer| one.algorithm == signer.algorithm;
            signers.strangers.iter().find(of_same_kind).unwrap().sign(input)
        });
    }),
    mutation("signed with another kind of key", |draft, random| {
        header(draft, "alg", random.pick(&["RS256", "PS256", "ES256", "ES384", "EdDSA"]).into());
        draft.forger = Some(|signers, signer, input| {
            let of_other_kind = |one: &&Signer| one.allowed != signer.allowed;
            signers.all.iter().find(of_other_kind).unwrap().sign(input)
        });
    }),
    mutation("the public key as HMAC secret", |draft, random| {
        header(draft, "alg", random.pick(&["HS256", "HS384"]).into());
        let forgers: [Forger; 2] = [
            |_, signer, input| hmac_sha256(&signer.public, input),
            |_, signer, input| {
                hmac_sha256(signer.pem.as_deref().unwrap_or_default().as_bytes(), input)
            },
        ];
        draft.forger = Some(random.pick(&forgers));
    }),
    mutation("signature of zeros", |draft, _| {
        draft.forger = Some(|_, signer, input| vec![0; signer.sign(input).len()]);
    }),
    mutation("signature cut or lengthened", |draft, random| {
        let forgers: [Forger; 5] = [
            |_, signer, input| signer.sign(input).split_last().unwrap().1.to_vec(),
            |_, signer, input| beginning(false, signer, input).split_first().unwrap().1.to_vec(),
            |_, signer, input| [signer.sign(input), vec![0]].concat(),
            |_, signer, input| [vec![0], signer.sign(input)].concat(),
            |_, _, _| Vec::new(),
        ];
        draft.forger = Some(random.pick(&forgers));
    }),
    mutation("signature without a zero at its beginning", |draft, _| {
        draft.forger = Some(|_, signer, input| {
            beginning(true, signer, input).split_first().unwrap().1.to_vec()
        });
    }),
    mutation("ECDSA signature as DER", |draft, _| {
        draft.forger = Some(|_, signer, input| {
            let raw = signer.sign(input);
            wardgate_core::token::ecdsa_der(&raw).unwrap_or(raw)
        });
    }),
    // Not the last one: its unused bits are a mutation of their own, or they would be met by chance.
    mutation("one letter of the header", |draft, _| {
        draft.cuts.push(|text, random| {
            let (first, _) = dots(&text);
            change_letter(text, 0, first.saturating_sub(1), random)
        });
    }),
    mutation("one letter of the payload", |draft, _| {
        draft.cuts.push(|text, random| {
            let (first, last) = dots(&text);
            change_letter(text, first + 1, last.saturating_sub(1), random)
        });
    }),
    mutation("one letter of the signature", |draft, _| {
        draft.cuts.push(|text, random| {
            let (from, to) = (dots(&text).1 + 1, text.len().saturating_sub(1));
            change_letter(text, from, to, random)
        });
    }),
    mutation("last letter of a part", |draft, _| {
        draft.cuts.push(|text, random| {
            let (first, last) = dots(&text);
            let end = random.pick(&[first, last, text.len()]);
            change_letter(text, end.saturating_sub(1), end, random)
        });
    }),
    mutation("padding", |draft, random| {
        draft.cuts.push(random.pick(&[
            |text, _| format!("{text}="),
            |text, _| format!("{text}=="),
            |text, _| text.replacen('.', "=.", 1),
        ]));
    }),
    mutation("the other alphabet", |draft, _| {
        draft.cuts.push(|text, _| text.replace('-', "+").replace('_', "/"));
    }),
    mutation("white space in the token", |draft, random| {
        draft.cuts.push(random.pick(&[
            |text, _| format!(" {text}"),
            |text, _| format!("{text}\n"),
            |text, _| text.replacen('.', ". ", 1),
            // As many as leave the length of the part a sum of whole bytes.
            |text, _| text.replacen('.', ".    ", 1),
        ]));
    }),
    mutation("more or fewer parts", |draft, random| {
        draft.cuts.push(random.pick(&[
            |text, _| format!("{text}."),
            |text, _| format!(".{text}"),
            |text, _| format!("{text}.{text}"),
            |text, _| text.replacen('.', "..", 1),
            |text, _| text.replacen('.', "", 1),
            |text, _| text.split('.').take(2).collect::<Vec<_>>().join("."),
            |_, _| String::new(),
        ]));
    }),
    mutation("cut anywhere", |draft, _| {
        draft.cuts.push(|text, random| {
            let end = random.below(text.len().max(1));
            text.get(..end).unwrap_or_default().to_owned()
        });
    }),
];
