//! Others' libraries judge the tokens that we judge.

use wardgate_host_tests::oracle;

/// In `make test`; `make soak` shows a million.
const TOKENS: usize = 12_000;

#[test]
fn every_disagreement_with_others_libraries_is_explained_and_every_explanation_is_needed() {
    let report = oracle::judge(TOKENS, 20_260_101);
    println!("{}", report.unwrap_or_else(|error| panic!("{error:#}")));
}
