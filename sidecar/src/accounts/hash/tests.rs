use super::{HashParameters, ParseHashError, PasswordHash};
use crate::random::Random;

/// Hashes by passlib 1.7.4 of three passwords: plain, beyond ASCII, beyond the 72 bytes of bcrypt.
const PASSLIB: [(&str, [&str; 11]); 3] = [
    (
        "correct horse",
        [
            "$2b$04$B5ZJyTflNU4v.eSN8pYwX.DupHdgYnvm4OiVW1jYaHJpm7o5kOrn2",
            "$2a$04$3k5FEIpe0TMOGVF5ikT8FeFI00gkkHnPuxYUEeCc17ChnOXD4Jy/6",
            "$2y$04$F1qNbIOpaUjm3HCildZMn.Xiyfg6LGzDQr4Mlf1GoBOnB0OB..Dfm",
            "$bcrypt-sha256$v=2,t=2b,r=4$uw07FhPhGLGDpQjfqJpXNO$xkEi84zpAXELkWbP6slNaaer0YLBJ5K",
            "$bcrypt-sha256$2b,4$1cweC22hGjI2mgUiqBzs6O$xcgdAiEQmZ91E/jVlQ8fzrZqzaNoEUW",
            "$pbkdf2-sha256$1000$YWwNgRAixNhbS2kt5VyrtQ$k.zXoQo91AUpBHM28d0NGrwp4pt6fIBY8W6lIPmKkqw",
            "$pbkdf2-sha512$1000$v1cqpTQGoBQCACAEIETI.Q$Y3SkJcKVqik3DuaUL3.IJIsvQxqb8GS/wAAxgNgVQz.SCOFBecTCrZ4OZiyKE0U42nfRtp5Uw7g5vVganOYMKw",
            "$scrypt$ln=4,r=8,p=1$SKnVOsfYm3POeW8NAeA8pw$YplLfvjy1P7dVZ5gYSgfsx3vfwfeDYomJLN3RfiY6VY",
            "$argon2id$v=19$m=64,t=1,p=2$9z5n7L1XKsX431sLobQWYg$ZleAnG6KF/mvo5vsCE/l8ptkiqTUGFfhzBIDG/v5euE",
            "$argon2i$v=19$m=64,t=3,p=1$Vqr1HuOcc04pJQSgtJZyzg$niOGuBxC5UqoD9ZzWtFjULaVF+IDXbQ5eGokPnv/QgQ",
            "$argon2d$v=19$m=64,t=1,p=1$WGtNCcHYm1PqXQshhPBeqw$OX8vC7s1b+n0II8y1OOre9E2YGbfppAjJj98ywHmNUk",
        ],
    ),
    (
        "pässwörd-密码",
        [
            "$2b$04$7JaXNgl7vhWEOvSe2pQGK.P0ZHHRxMC1pSjGJThZSxI1l5CgzQoN6",
            "$2a$04$1lqlOG0cz17MH4MslMijOuR6tAyDYS2HCEjv6WqtCMdSNOsR/5YIC",
            "$2y$04$BInff7YOUqbG98cSnRKpvuZJQHrNCtxaf5qqEihWAIAPCfJKm4Psa",
            "$bcrypt-sha256$v=2,t=2b,r=4$Ita95mTVOiYfbdhr82KG3e$BUob/C7a6scsLI5syWzRozjM4AjH8SO",
            "$bcrypt-sha256$2b,4$IrizMinbzs4riNrJbY5zaO$aNf5mZjqvjrCxwDITJPYbPfLPxDO3CO",
            "$pbkdf2-sha256$1000$0ToHgNB67713TklJSWltjQ$p6k0FGyouhPaVS6sBWpOErCJU8CCEBTtRC8nD/biRnI",
            "$pbkdf2-sha512$1000$7b13jhHCWAvhXOt9j3EOIQ$0a5UJwdiUZkf.fGuRlSip2p2YnvRaFIMTmwIGf1deOXHHxBU0u/0E3njUF2HPdl88CmKkZzwh6/vfMJYCru7iQ",
            "$scrypt$ln=4,r=8,p=1$uHdOCYFwLiXkHEMIAaC01g$YwvyRihKjOHNJC+CupkbkLB7z2jJbXQpRM6rToMwIz8",
            "$argon2id$v=19$m=64,t=1,p=2$ljJGaC0FoLS2VsqZc+59rw$GPGjIFAMLJCGM9OhdGC3++F0aV3VQXi+jynrTKuSpT4",
            "$argon2i$v=19$m=64,t=3,p=1$653zHoMQgnAupTQmxDjnvA$Hd/EsUNnG03kUWZMr47xB4fLDuWv3y97IdH7pxca8tA",
            "$argon2d$v=19$m=64,t=1,p=1$cA5B6B1jLGXs/R/jfI9xzg$NLlW+QfWBNigdkUxZBrLXMefkybcx3gvuWGTAuYs0Ng",
        ],
    ),
    (
        "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
        [
            "$2b$04$QFoF0s8TnDEWOLg/WvhPR..RBOArHSyp5RjDV7U8oBD/xKKtLOlua",
            "$2a$04$1TP4eUJfzAAEOWkLGOVFZ.ekBqBn5FFZ1J2jgLL6GETxJ5R50VvwC",
            "$2y$04$AtPXetVuqgX5DbpWMbGMRuaczsHNAzoUrDe75tNINvA5XPiyMay6.",
            "$bcrypt-sha256$v=2,t=2b,r=4$whixLdSIjMqh4zNS4nB20O$9rpYm8D82Wo9WrFsexJQq1vQ7DvCePe",
            "$bcrypt-sha256$2b,4$STS3KGk/aMo.6Zwwu271hu$mLVjOoKRaeWyLvVWvGL1PZCjLhSCpLa",
            "$pbkdf2-sha256$1000$Z6z1/v9f6z0nxHiPMQag1A$YSf748ytylb12paaRtvfObHY4lWQt8T4gj2wg4BQPNA",
            "$pbkdf2-sha512$1000$YOwdgzAmpHRubU1pTWlNyQ$WZGEAH63rP.SsDjkohLH2drWQy0D8OUeIC5wh5d7UemCLJbpw8Yk.yvWjnY8uvyETJAAHyrBhxQaBEJx2nkKRg",
            "$scrypt$ln=4,r=8,p=1$HcNYy5mzFsKYU+qdEyLknA$28H9+zdGBXdGDDXPSuNfzKWXtbcwsI4vdjLpv1j/+Pc",
            "$argon2id$v=19$m=64,t=1,p=2$qXUOoXROqdVaCwFgbA3hHA$0G5URO8MHtRE+SnOxTCrxcHDsWGWwsdvU9A/E/+1P6M",
            "$argon2i$v=19$m=64,t=3,p=1$lNLaO+ec837vfU8JoTQGoA$d5PA4poZ9btTtFMzoANfvnX5ImbHLioGJZcMxhauyl4",
            "$argon2d$v=19$m=64,t=1,p=1$VGqN0do7B6B0znmPUWptzQ$pq1s0ZYCcBayRKqGoFVyJQ5wqpkRRfrYB/sgKp05/Dw",
        ],
    ),
];

/// Published ones: the documents of passlib, `crypt_blowfish`'s tests, the reference of Argon2.
const PUBLISHED: [(&str, &str); 8] = [
    ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
    ("U*U*U", "$2a$05$XXXXXXXXXXXXXXXXXXXXXOAcXxm9kjPGEMsLznoKqmqw7tc8WCx4a"),
    ("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
    ("password", "$pbkdf2-sha256$8000$XAuBMIYQQogxRg$tRRlz8hYn63B9LYiCd6PRo6FMiunY9ozmMMI3srxeRE"),
    (
        "password",
        "$scrypt$ln=16,r=8,p=1$aM15713r3Xsvxbi31lqr1Q$nFNh2CVHVjNldFVKDHDlm4CbdRSCdEBsjjJxD+iCs5E",
    ),
    (
        "password",
        "$argon2i$v=19$m=256,t=2,p=1$c29tZXNhbHQ$iekCn0Y3spW+sCcFanM2xBT63UP2sghkUoHLIUpWRS8",
    ),
    ("password", "$argon2i$m=256,t=2,p=1$c29tZXNhbHQ$/U3YPXYsSb3q9XxHvc0MLxur+GP960kN9j7emXX8zwY"),
    (
        "password",
        "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4",
    ),
];

#[track_caller]
fn is_of(hash: &str, password: &str) -> bool {
    PasswordHash::parse(hash).unwrap().verify(password.as_bytes()).unwrap()
}

#[test]
fn what_passlib_hashed_is_verified() {
    for (password, hashes) in PASSLIB {
        for hash in hashes {
            assert!(is_of(hash, password), "{hash}");
            assert!(!is_of(hash, &format!("X{password}")), "{hash}");
        }
    }
}

#[test]
fn published_hashes_are_verified() {
    for (password, hash) in PUBLISHED {
        assert!(is_of(hash, password), "{hash}");
    }
}

#[test]
fn beyond_72_bytes_bcrypt_cuts_and_its_variant_after_sha_256_does_not() {
    let (password, hashes) = &PASSLIB[2];
    let (cut, other) = (&password[..72], format!("{}y", &password[..99]));
    for hash in &hashes[..3] {
        assert!(is_of(hash, cut) && is_of(hash, &other), "{hash}");
    }
    for hash in &hashes[3..] {
        assert!(!is_of(hash, cut) && !is_of(hash, &other), "{hash}");
    }
}

#[test]
fn a_hash_that_would_take_the_sidecar_down_is_refused() {
    let salt_and_digest = "AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let of = |head: &str| PasswordHash::parse(&format!("{head}${salt_and_digest}")).err();
    let costs = |problem| matches!(problem, Some(ParseHashError::Cost(_)));
    for right in [
        "$argon2id$v=19$m=262144,t=4,p=1",
        "$argon2id$v=19$m=102400,t=2,p=8",
        "$pbkdf2-sha256$4000000",
        "$scrypt$ln=17,r=8,p=4",
    ] {
        assert_eq!(of(right), None, "{right}");
    }
    for dear in [
        "$argon2id$v=19$m=262145,t=1,p=1",
        "$argon2id$v=19$m=4294967295,t=4294967295,p=1",
        "$argon2id$v=19$m=99999999999,t=1,p=1",
        "$argon2id$v=19$m=1024,t=1025,p=1",
        "$argon2id$v=19$m=8192,t=1,p=65",
        "$argon2i$m=262145,t=1,p=1",
        "$pbkdf2-sha256$4000001",
        "$scrypt$ln=31,r=8,p=1",
        "$scrypt$ln=63,r=4294967295,p=1",
        "$scrypt$ln=64,r=8,p=1",
        "$scrypt$ln=16,r=8,p=4294967295",
    ] {
        assert!(costs(of(dear)), "{dear}: {:?}", of(dear));
    }
    let bcrypt = |cost: &str| {
        let rest = "CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
        PasswordHash::parse(&format!("$2b${cost}${rest}")).err()
    };
    assert_eq!(bcrypt("15"), None);
    assert!(costs(bcrypt("16")) && costs(bcrypt("31")) && costs(bcrypt("99")));
    assert_eq!(bcrypt("03"), Some(ParseHashError::Form));
    let digest = "E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let text = format!("$bcrypt-sha256$v=2,t=2b,r=31$CCCCCCCCCCCCCCCCCCCCC.${digest}");
    assert!(costs(PasswordHash::parse(&text).err()));
}

#[test]
fn what_is_malformed_is_refused_and_never_shown() {
    let long = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let salt = "AAAAAAAAAAAAAAAAAAAAAA";
    for text in [
        String::new(),
        "hunter2".to_owned(),
        "$".to_owned(),
        "$1$abc$def".to_owned(),
        "$6$rounds=5000$abc$def".to_owned(),
        "pbkdf2_sha256$1000$abc$def".to_owned(),
        "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        "$2b$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOe".to_owned(),
        "$2b$+5$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW".to_owned(),
        format!("$argon2id$v=19$m=64,t=1${salt}${long}"),
        format!("$argon2id$v=19$t=1,m=64,p=1${salt}${long}"),
        format!("$argon2id$v=19$m=64,t=1,p=1,keyid=a${salt}${long}"),
        format!("$argon2id$v=19$m=064,t=1,p=1${salt}${long}"),
        format!("$argon2id$v=17$m=64,t=1,p=1${salt}${long}"),
        format!("$argon2id$v=19$m=64,t=0,p=1${salt}${long}"),
        format!("$argon2id$v=19$m=64,t=1,p=9${salt}${long}"),
        format!("$argon2id$v=19$m=64,t=1,p=1$AAAA${long}"),
        format!("$argon2id$v=19$m=64,t=1,p=1${salt}$AAAAAAAAAAA"),
        format!("$argon2id$v=19$m=64,t=1,p=1${salt}=${long}"),
        format!("$argon2id$v=19$m=64,t=1,p=1${salt}${long}$"),
        format!("$pbkdf2-sha256$1000${salt}${salt}"),
        format!("$pbkdf2-sha256$0${salt}${long}"),
        format!("$scrypt$ln=0,r=8,p=1${salt}${long}"),
        format!("$scrypt$ln=4,r=0,p=1${salt}${long}"),
        format!("$scrypt$ln=4,r=8,p=1${salt}${}", "A".repeat(600)),
    ] {
        let error = PasswordHash::parse(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(text.len() < 7 || !shown.contains(&text[text.len() - 7..]), "{text}: {shown}");
    }
    let hash = PasswordHash::parse(PASSLIB[0].1[0]).unwrap();
    assert_eq!(format!("{hash:?}"), "PasswordHash(bcrypt)");
}

const ARGON2: HashParameters = HashParameters::Argon2id { memory_kib: 128, passes: 2, lanes: 1 };
const BCRYPT: HashParameters = HashParameters::Bcrypt { cost: 5 };

#[test]
fn a_new_hash_is_salted_verifies_and_is_as_good_as_asked() {
    for parameters in [ARGON2, BCRYPT] {
        let make = || parameters.make(b"secret", Random::system()).unwrap();
        let (one, other) = (make(), make());
        assert_ne!(one.expose(), other.expose());
        assert!(one.verify(b"secret").unwrap() && !one.verify(b"Secret").unwrap());
        assert!(!parameters.are_better_than(&one, 6));
    }
    let dummy = ARGON2.dummy(Random::system()).unwrap();
    assert_eq!(dummy.cost(), ARGON2.make(b"x", Random::system()).unwrap().cost());
    assert!(!dummy.verify(b"").unwrap());
    let dummy = BCRYPT.dummy(Random::system()).unwrap();
    assert_eq!((dummy.cost().as_str(), dummy.verify(b"")), ("bcrypt 5", Ok(false)));
}

#[test]
fn a_hash_is_only_replaced_by_a_better_one() {
    let long = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let argon2 = |head: &str| format!("{head}$AAAAAAAAAAAAAAAAAAAAAA${long}");
    let better = |parameters: HashParameters, hash: &str, bytes| {
        parameters.are_better_than(&PasswordHash::parse(hash).unwrap(), bytes)
    };
    for (head, expected) in [
        ("$argon2id$v=19$m=128,t=2,p=1", false),
        ("$argon2id$v=19$m=256,t=2,p=4", false),
        ("$argon2id$v=19$m=127,t=2,p=1", true),
        ("$argon2id$v=19$m=256,t=1,p=1", true),
        ("$argon2i$v=19$m=256,t=3,p=1", true),
        ("$argon2id$v=16$m=256,t=3,p=1", true),
    ] {
        assert_eq!(better(ARGON2, &argon2(head), 8), expected, "{head}");
    }
    for hash in &PASSLIB[0].1[..8] {
        assert!(better(ARGON2, hash, 100), "{hash}");
    }
    assert!(better(BCRYPT, PASSLIB[0].1[0], 72), "four is less than five");
    assert!(!better(BCRYPT, PASSLIB[0].1[0], 73), "bcrypt would cut it");
    assert!(!better(HashParameters::Bcrypt { cost: 4 }, PASSLIB[0].1[0], 8));
    assert!(!better(BCRYPT, PASSLIB[0].1[8], 8), "argon2id stays");
}
