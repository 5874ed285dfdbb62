//! The short form of what `make soak` does with the OpenAPI document.

use wardgate_host_tests::schemathesis::{Effort, Store, run};

#[test]
fn every_endpoint_answers_as_the_openapi_document_says_whatever_it_is_asked() {
    run(Store::Embedded, Effort { examples: 15, seconds: None, seed: 9068 }).unwrap();
}

#[test]
fn every_endpoint_answers_so_on_a_redis_too() {
    // Fewer, of other kinds: what is the same on both stores has been asked above.
    run(Store::Redis, Effort { examples: 5, seconds: None, seed: 8414 }).unwrap();
}
