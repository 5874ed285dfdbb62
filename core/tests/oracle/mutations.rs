//! What is done to tokens, and where it is right to be stricter than the oracle.

use aws_lc_rs::hmac;
use serde_json::{Value, json};
use wardgate_core::reason::Reason;

use super::{Draft, Forger, ISSUER, Random, SKEW, Signer};

pub(crate) struct Mutation {
    pub(crate) name: &'static str,
    pub(crate) apply: fn(&mut Draft, &mut Random),
    /// The refusals that the oracle does not share, each with why it is right.
    pub(crate) stricter: &'static [(Reason, &'static str)],
}

const fn both(name: &'static str, apply: fn(&mut Draft, &mut Random)) -> Mutation {
    Mutation { name, apply, stricter: &[] }
}

const fn stricter(
    name: &'static str,
    stricter: &'static [(Reason, &'static str)],
    apply: fn(&mut Draft, &mut Random),
) -> Mutation {
    Mutation { name, apply, stricter }
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

/// Where the dots are, for texts that still have two.
fn dots(text: &str) -> (usize, usize) {
    (text.find('.').unwrap_or(0), text.rfind('.').unwrap_or(0))
}

const WRONG_TYPES: [fn() -> Value; 5] =
    [|| json!("1"), || json!(true), || json!([1]), || json!({}), || json!(-1)];

pub(crate) const MUTATIONS: &[Mutation] = &[
    stricter(
        "exp around now",
        &[(Reason::TokenExpired, "RFC 7519 §4.1.4: not to be accepted on or after `exp`")],
        |draft, random| claim(draft, "exp", around(draft.now - SKEW, random).into()),
    ),
    stricter(
        "exp with a fraction",
        &[(Reason::TokenExpired, "rounded down; the oracle rounds to the nearest second")],
        |draft, random| claim(draft, "exp", around_in_eighths(draft.now - SKEW, random).into()),
    ),
    stricter(
        "exp beyond the year 9999",
        &[(Reason::TokenClaimInvalid, "most often milliseconds: a token that lives for ever")],
        |draft, random| {
            let choices = [json!(253_402_300_800_u64), json!(1e15), json!(u64::MAX), json!(1e300)];
            claim(draft, "exp", random.pick(&choices));
        },
    ),
    both("exp far away", |draft, random| {
        claim(draft, "exp", random.pick(&[json!(0), json!(draft.now * 2), json!(1.5)]));
    }),
    both("exp of the wrong type", |draft, random| claim(draft, "exp", random.pick(&WRONG_TYPES)())),
    both("exp null", |draft, _| claim(draft, "exp", Value::Null)),
    both("nbf around now", |draft, random| {
        claim(draft, "nbf", around(draft.now + SKEW, random).into());
    }),
    stricter(
        "nbf with a fraction",
        &[(Reason::TokenNotYetValid, "rounded up; the oracle rounds to the nearest second")],
        |draft, random| claim(draft, "nbf", around_in_eighths(draft.now + SKEW, random).into()),
    ),
    both("nbf of the wrong type", |draft, random| claim(draft, "nbf", random.pick(&WRONG_TYPES)())),
    both("nbf null", |draft, _| claim(draft, "nbf", Value::Null)),
    stricter(
        "iat around now",
        &[(Reason::TokenIssuedInFuture, "the clock of the issuer is wrong, or the token forged")],
        |draft, random| claim(draft, "iat", around(draft.now + SKEW, random).into()),
    ),
    stricter(
        "iat of the wrong type",
        &[(Reason::TokenClaimInvalid, "RFC 7519 §4.1.6: a number; the oracle does not read it")],
        |draft, random| claim(draft, "iat", random.pick(&WRONG_TYPES)()),
    ),
    stricter(
        "jti of the wrong type or length",
        &[(Reason::TokenClaimInvalid, "RFC 7519 §4.1.7: a string; it is what is revoked")],
        |draft, random| {
            claim(draft, "jti", random.pick(&[json!(1), json!(null), json!("j".repeat(513))]));
        },
    ),
    both("jti", |draft, _| claim(draft, "jti", json!("t-1"))),
    stricter(
        "sub empty or endless",
        &[(Reason::TokenClaimInvalid, "nobody, or a name that is a payload")],
        |draft, random| claim(draft, "sub", random.pick(&[json!(""), json!("s".repeat(2049))])),
    ),
    both("sub of the wrong type", |draft, random| {
        claim(draft, "sub", random.pick(&[json!(42), json!(["alice"]), json!(null), json!({})]));
    }),
    both("a required claim is missing", |draft, random| {
        draft.claims.shift_remove(random.pick(&["iss", "sub", "aud", "exp"]));
    }),
    both("iss of others", |draft, random| {
        let others = ["https://issuer.example/", "https://ISSUER.example", "", "evil"];
        claim(draft, "iss", random.pick(&others).into());
    }),
    both("iss of the wrong type", |draft, random| {
        claim(draft, "iss", random.pick(&[json!(1), json!(null), json!(["other"]), json!([1])]));
    }),
    stricter(
        "iss in a list",
        &[(
            Reason::TokenClaimInvalid,
            "RFC 7519 §4.1.1: one string; two issuers vouch for nothing",
        )],
        |draft, _| claim(draft, "iss", json!(["https://evil.example", ISSUER])),
    ),
    both("aud in its forms", |draft, random| {
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
    both("aud of the wrong type", |draft, random| {
        let wrong = [json!(1), json!(null), json!({"api": 1}), json!(["api", 1]), json!([["api"]])];
        claim(draft, "aud", random.pick(&wrong));
    }),
    both("other claims", |draft, random| {
        let values = [json!({"a": [{"b": null}]}), json!("\u{0}\u{1f600}\""), json!(1e308)];
        claim(draft, "x", random.pick(&values));
    }),
    both("a registered claim twice", |draft, random| {
        let twice = [r#""sub":"mallory","#, r#""exp":9999999999,"#, r#""aud":"api","#];
        draft.raw_claims.push_str(random.pick(&twice));
    }),
    stricter(
        "another claim twice",
        &[(Reason::TokenMalformed, "two readers would see two tokens; the oracle takes the last")],
        |draft, random| {
            let twice = [r#""roles":["admin"],"#, r#""x":{"a":1,"\u0061":2},"#];
            draft.raw_claims.push_str(random.pick(&twice));
        },
    ),
    both("payload that is no JSON", |draft, random| {
        let broken =
            ["}", r#""a":,"#, r#""a":01,"#, r#""a":1e999,"#, "\"a\":\"\n\",", r#""\ud800":1,"#];
        draft.raw_claims.push_str(random.pick(&broken));
    }),
    both("payload nested too deep", |draft, _| {
        draft.raw_claims += r#""deep":"#;
        draft.raw_claims += &["[".repeat(200), "]".repeat(200), ",".to_owned()].concat();
    }),
    both("white space in the JSON", |draft, _| {
        draft.raw_claims.insert_str(0, " \r\n\t");
        draft.raw_header.insert(0, '\n');
    }),
    stricter(
        "a token over the limit",
        &[(Reason::TokenOversize, "every input has a limit")],
        |draft, _| claim(draft, "x", json!("x".repeat(7000))),
    ),
    stricter(
        "typ",
        &[(Reason::TokenTypeRefused, "RFC 8725 §3.11: one kind of token is not another")],
        |draft, random| {
            let types = ["JWT", "jwt", "at+jwt", "application/at+jwt", "id+jwt", "JOSE", ""];
            header(draft, "typ", random.pick(&types).into());
        },
    ),
    stricter(
        "a header of the wrong type",
        &[(Reason::TokenMalformed, "RFC 7515 §4.1: a string; the oracle reads null as absent")],
        |draft, random| {
            let name = random.pick(&["typ", "kid", "cty", "x5t", "x5t#S256"]);
            header(draft, name, random.pick(&[json!(1), json!(null), json!([])]));
        },
    ),
    both("no typ, no kid", |draft, random| {
        draft.header.shift_remove(random.pick(&["typ", "kid"]));
    }),
    stricter(
        "another kid",
        &[
            (Reason::TokenKeyUnknown, "the oracle is given one key and never reads `kid`"),
            (Reason::TokenMalformed, "no key has so long a `kid`"),
        ],
        |draft, random| {
            let ids = ["key-2", "", "KEY-1", "../key-1", &"k".repeat(257)];
            header(draft, "kid", random.pick(&ids).into());
        },
    ),
    stricter(
        "a critical header",
        &[(Reason::TokenCriticalHeader, "RFC 7515 §4.1.11: what is not understood is refused")],
        |draft, random| {
            let lists = [json!(["exp"]), json!([]), json!(["b64"]), json!("b64"), json!(null)];
            header(draft, "crit", random.pick(&lists));
        },
    ),
    stricter(
        "b64",
        &[(Reason::TokenCriticalHeader, "RFC 7797 §3: it changes what is signed")],
        |draft, random| header(draft, "b64", random.pick(&[json!(false), json!(true)])),
    ),
    stricter(
        "an embedded key",
        &[(Reason::TokenKeyEmbedded, "RFC 8725 §3.10: a key from the token is the attacker's")],
        |draft, random| match random.below(4) {
            0 => header(draft, "jku", json!("https://evil.example/keys")),
            1 => header(draft, "x5u", json!("https://evil.example/certificate")),
            2 => header(draft, "x5c", json!(["AQAB"])),
            _ => header(draft, "jwk", json!({"kty": "oct", "k": "AQAB"})),
        },
    ),
    stricter(
        "headers of encrypted and nested tokens",
        &[(Reason::TokenMalformed, "RFC 7519 §5.2, RFC 7516 §4.1: the claims are not these")],
        |draft, random| match random.below(3) {
            0 => header(draft, "zip", json!("DEF")),
            1 => header(draft, "enc", json!("A256GCM")),
            _ => header(draft, "cty", json!("JWT")),
        },
    ),
    stricter(
        "an unknown header twice",
        &[(Reason::TokenMalformed, "two readers would see two headers")],
        |draft, _| draft.raw_header.push_str(r#""x":1,"x":2,"#),
    ),
    both("alg twice", |draft, random| {
        draft.raw_header.push_str(random.pick(&[r#""alg":"none","#, r#""alg":"HS256","#]));
    }),
    stricter(
        "a header over the limit",
        &[(Reason::TokenOversize, "every input has a limit")],
        |draft, _| header(draft, "x", json!("x".repeat(2048))),
    ),
    both("other header members", |draft, random| {
        header(draft, "x", random.pick(&[json!(1), json!({"a": []}), json!(null)]));
    }),
    both("header that is no JSON", |draft, random| {
        draft.raw_header.push_str(random.pick(&["}", r#""a":,"#, r#""a":'b',"#]));
    }),
    both("alg swapped", |draft, random| {
        let names = [
            "none", "None", "NONE", "", "rs256", "RS256", "RS384", "RS512", "PS256", "PS512",
            "ES256", "ES384", "ES512", "ES256K", "EdDSA", "Ed25519", "HS256", "HS384", "HS512",
        ];
        // The swap to its own name is no change, and is accepted by both.
        header(draft, "alg", random.pick(&names).into());
    }),
    both("rightly signed by an algorithm that is not allowed", |draft, _| {
        if let Some(unlisted) = draft.unlisted {
            header(draft, "alg", unlisted.word().into());
            draft.forger = Some(|_, signer, input| signer.sign_unlisted(input));
        }
    }),
    both("alg of the wrong type", |draft, random| {
        header(draft, "alg", random.pick(&[json!(null), json!(256), json!(["RS256"])]));
    }),
    both("no alg", |draft, _| {
        draft.header.shift_remove("alg");
    }),
    both("signed by a stranger", |draft, _| {
        draft.forger = Some(|signers, signer, input| {
            let of_same_kind = |one: &&Signer| one.algorithm == signer.algorithm;
            signers.strangers.iter().find(of_same_kind).unwrap().sign(input)
        });
    }),
    both("signed with another kind of key", |draft, random| {
        header(draft, "alg", random.pick(&["RS256", "PS256", "ES256", "ES384", "EdDSA"]).into());
        draft.forger = Some(|signers, signer, input| {
            let of_other_kind = |one: &&Signer| one.allowed != signer.allowed;
            signers.all.iter().find(of_other_kind).unwrap().sign(input)
        });
    }),
    both("the public key as HMAC secret", |draft, random| {
        header(draft, "alg", random.pick(&["HS256", "HS384"]).into());
        draft.forger = Some(|_, signer, input| {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &signer.public), input).as_ref().to_vec()
        });
    }),
    both("signature of zeros", |draft, _| {
        draft.forger = Some(|_, signer, input| vec![0; signer.sign(input).len()]);
    }),
    both("signature cut or lengthened", |draft, random| {
        let forgers: [Forger; 5] = [
            |_, signer, input| signer.sign(input).split_last().unwrap().1.to_vec(),
            |_, signer, input| signer.sign(input).split_first().unwrap().1.to_vec(),
            |_, signer, input| [signer.sign(input), vec![0]].concat(),
            |_, signer, input| [vec![0], signer.sign(input)].concat(),
            |_, _, _| Vec::new(),
        ];
        draft.forger = Some(random.pick(&forgers));
    }),
    both("ECDSA signature as DER", |draft, _| {
        draft.forger = Some(|_, signer, input| {
            let raw = signer.sign(input);
            wardgate_core::token::ecdsa_der(&raw).unwrap_or(raw)
        });
    }),
    both("one letter of the header", |draft, _| {
        draft.cuts.push(|text, random| {
            let (first, _) = dots(&text);
            change_letter(text, 0, first, random)
        });
    }),
    both("one letter of the payload", |draft, _| {
        draft.cuts.push(|text, random| {
            let (first, last) = dots(&text);
            change_letter(text, first + 1, last, random)
        });
    }),
    both("one letter of the signature", |draft, _| {
        draft.cuts.push(|text, random| {
            let (from, to) = (dots(&text).1 + 1, text.len());
            change_letter(text, from, to, random)
        });
    }),
    both("last letter of the signature", |draft, _| {
        draft.cuts.push(|text, random| {
            let length = text.len();
            change_letter(text, length.saturating_sub(1), length, random)
        });
    }),
    both("padding", |draft, random| {
        draft.cuts.push(random.pick(&[
            |text, _| format!("{text}="),
            |text, _| format!("{text}=="),
            |text, _| text.replacen('.', "=.", 1),
        ]));
    }),
    both("the other alphabet", |draft, _| {
        draft.cuts.push(|text, _| text.replace('-', "+").replace('_', "/"));
    }),
    both("white space in the token", |draft, random| {
        draft.cuts.push(random.pick(&[
            |text, _| format!(" {text}"),
            |text, _| format!("{text}\n"),
            |text, _| text.replacen('.', ". ", 1),
        ]));
    }),
    both("more or fewer parts", |draft, random| {
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
    both("cut anywhere", |draft, _| {
        draft.cuts.push(|text, random| {
            let end = random.below(text.len().max(1));
            text.get(..end).unwrap_or_default().to_owned()
        });
    }),
];
