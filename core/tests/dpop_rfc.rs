//! The examples of RFC 9449: §4.1 and §5 (token requests), §5.1 (refresh), §7.1 (a protected
//! resource), with the thumbprint of §6.1 and the hash of §7.1.

use wardgate_core::dpop::{
    DEFAULT_ALGORITHMS, DpopError, Expected, HttpUri, NonceRule, VerifiedProof, verify,
};
use wardgate_core::time::UnixSeconds;
use wardgate_core::token::SoftwareSignatures;

const HEADER: &str = "eyJ0eXAiOiJkcG9wK2p3dCIsImFsZyI6IkVTMjU2IiwiandrIjp7Imt0eSI6IkVDIiwieCI6Imw4dEZyaHgtMzR0VjNoUklDUkRZOXpDa0RscEJoRjQyVVFVZldWQVdCRnMiLCJ5IjoiOVZFNGpmX09rX282NHpiVFRsY3VOSmFqSG10NnY5VERWclUwQ2R2R1JEQSIsImNydiI6IlAtMjU2In19";
const THUMBPRINT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";

/// §4.1 and §5: what follows the header.
const TOKEN_REQUEST: &str = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjYyNjE2fQ.2-GxA6T8lP4vfrg8v-FdWP0A0zdrj8igiMLvqRMUvwnQg4PtFLbdLXiOSsX0x7NVY-FNyJK70nfbV37xRZT3Lg";
/// §5.1.
const REFRESH_REQUEST: &str = "eyJqdGkiOiItQndDM0VTYzZhY2MybFRjIiwiaHRtIjoiUE9TVCIsImh0dSI6Imh0dHBzOi8vc2VydmVyLmV4YW1wbGUuY29tL3Rva2VuIiwiaWF0IjoxNTYyMjY1Mjk2fQ.pAqut2IRDm_De6PR93SYmGBPXpwrAk90e8cP2hjiaG5QsGSuKDYW7_X620BxqhvYC8ynrrvZLTk41mSRroapUA";
/// §7.1.
const RESOURCE_REQUEST: &str = "eyJqdGkiOiJlMWozVl9iS2ljOC1MQUVCIiwiaHRtIjoiR0VUIiwiaHR1IjoiaHR0cHM6Ly9yZXNvdXJjZS5leGFtcGxlLm9yZy9wcm90ZWN0ZWRyZXNvdXJjZSIsImlhdCI6MTU2MjI2MjYxOCwiYXRoIjoiZlVIeU8ycjJaM0RaNTNFc05yV0JiMHhXWG9hTnk1OUlpS0NBcWtzbVFFbyJ9.2oW9RP35yRqzhrtNP86L-Ey71EOptxRimPPToA1plemAgR6pxHF8y6-yqyVnmcw6Fy1dqd-jfxSYoMxhAJpLjA";
const ACCESS_TOKEN: &[u8] = b"Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";

struct Case {
    proof: &'static str,
    method: &'static str,
    uri: &'static str,
    issued_at: u64,
    access_token: Option<&'static [u8]>,
}

const CASES: [Case; 3] = [
    Case {
        proof: TOKEN_REQUEST,
        method: "POST",
        uri: "https://server.example.com/token",
        issued_at: 1_562_262_616,
        access_token: None,
    },
    Case {
        proof: REFRESH_REQUEST,
        method: "POST",
        uri: "https://server.example.com/token",
        issued_at: 1_562_265_296,
        access_token: None,
    },
    Case {
        proof: RESOURCE_REQUEST,
        method: "GET",
        uri: "https://resource.example.org/protectedresource",
        issued_at: 1_562_262_618,
        access_token: Some(ACCESS_TOKEN),
    },
];

fn judge(case: &Case, change: impl FnOnce(&mut Expected<'_>)) -> Result<VerifiedProof, DpopError> {
    let uris: Vec<HttpUri> = HttpUri::parse(case.uri).into_iter().collect();
    let mut expected = Expected {
        method: case.method,
        uris: &uris,
        access_token: case.access_token,
        thumbprint: Some(THUMBPRINT),
        algorithms: DEFAULT_ALGORITHMS,
        max_age_seconds: 60,
        clock_skew_seconds: 0,
        nonce: NonceRule::Ignored,
        now: UnixSeconds(case.issued_at),
    };
    change(&mut expected);
    verify(format!("{HEADER}.{}", case.proof).as_bytes(), &expected, &SoftwareSignatures)
}

#[test]
fn the_examples_of_the_rfc_are_accepted() {
    for case in &CASES {
        let ids = judge(case, |_| ()).map(|proof| {
            (proof.thumbprint().to_owned(), proof.token_id().len(), proof.issued_at().0)
        });
        assert_eq!(ids, Ok((THUMBPRINT.to_owned(), 16, case.issued_at)));
    }
}

#[test]
fn the_examples_of_the_rfc_are_refused_for_anything_else() {
    for case in &CASES {
        let error = |change: fn(&mut Expected<'_>)| judge(case, change).err();
        assert_eq!(error(|it| it.method = "PUT"), Some(DpopError::MethodMismatch));
        assert_eq!(error(|it| it.uris = &[]), Some(DpopError::UriMismatch));
        assert_eq!(error(|it| it.now = it.now.plus(61)), Some(DpopError::TooOld));
        assert_eq!(error(|it| it.now = it.now.minus(1)), Some(DpopError::IssuedInFuture));
        assert_eq!(error(|it| it.thumbprint = Some("x")), Some(DpopError::KeyMismatch));
        let other = error(|it| it.access_token = Some(b"another"));
        assert_eq!(other, Some(DpopError::TokenHashMismatch));
    }
}
