//! The short form of what `make soak` does with the OpenAPI document.

use wardgate_host_tests::schemathesis::{Effort, run};

#[test]
fn every_endpoint_answers_as_the_openapi_document_says_whatever_it_is_asked() {
    run(Effort { examples: 15, seconds: None, seed: 9068 }).unwrap();
}
