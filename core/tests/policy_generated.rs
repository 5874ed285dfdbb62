//! The schema of policies, for editors: generated from the types and committed. `make generate`
//! (which sets `WARDGATE_UPDATE=1`) rewrites it.

use std::path::Path;

use wardgate_core::config::schema_of;
use wardgate_core::policy::PolicyDocument;

#[test]
fn generated_schema_of_the_policy_is_current() {
    let schema = serde_json::to_string_pretty(&schema_of::<PolicyDocument>("Wardgate policy"));
    let expected = format!("{}\n", schema.unwrap());
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../policies/schema/policy.json");
    if std::env::var_os("WARDGATE_UPDATE").is_some() {
        std::fs::write(&file, &expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "policies/schema/policy.json is out of date: run `make generate`");
}
