//! What is generated from the types and committed: schemas and reference pages. `make generate`
//! rewrites them; a test that finds another text fails.

use std::path::Path;

use wardgate::config::Config;
use wardgate_core::config::plugin::PluginConfig;
use wardgate_core::config::{reference, schema_of};
use wardgate_core::policy::PolicyDocument;
use wardgate_core::reason::Reason;

#[track_caller]
fn check(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("WARDGATE_UPDATE").is_some() {
        std::fs::create_dir_all(file.parent().expect("a parent")).expect("a folder");
        std::fs::write(&file, expected).expect("a file that can be written");
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is out of date: run `make generate` and commit it");
}

#[track_caller]
fn check_schema(path: &str, schema: &serde_json::Value) {
    let text = serde_json::to_string_pretty(schema).expect("a schema");
    check(path, &format!("{text}\n"));
}

#[test]
fn generated_schema_of_the_plugin_configuration_is_current() {
    check_schema("policies/schema/plugin.json", &schema_of::<PluginConfig>("Wardgate filter"));
}

#[test]
fn generated_schema_of_the_sidecar_configuration_is_current() {
    check_schema("policies/schema/sidecar.json", &schema_of::<Config>("Wardgate sidecar"));
}

#[test]
fn generated_configuration_reference_is_current() {
    let page = format!(
        "# Configuration\n\n\
         <!-- Generated from the types by `make generate`; changes here are lost. -->\n\n\
         Three things are configured: the filter (JSON in Envoy's listener configuration), the policy \
         (YAML or JSON) and the sidecar (YAML).\n\
         Unknown keys are errors, and all problems are reported at once, each with its path.\n\
         JSON Schemas for editors stand in `policies/schema/`.\n\n\
         - [The filter](#the-filter)\n- [The policy](#the-policy)\n- [The sidecar](#the-sidecar)\n\n\
         ## The filter\n\n\
         The value of `configuration` in Envoy's `PluginConfig`, as a `google.protobuf.StringValue`.\n\
         `wardgate envoy config` prints a whole Envoy configuration with it.\n\n{}\
         ## The policy\n\n\
         A file of its own for the sidecar, and the key `policy` of the filter.\n\
         `wardgate policy check FILE` checks one.\n\n{}\
         ## The sidecar\n\n\
         The file that `wardgate serve --config FILE` takes; `wardgate init` writes a first one.\n\n{}",
        reference::<PluginConfig>(),
        reference::<PolicyDocument>(),
        reference::<Config>(),
    );
    check("docs/configuration.md", &format!("{}\n", page.trim_end()));
}

#[test]
fn generated_list_of_reasons_is_current() {
    let mut page = String::from(
        "# Reasons\n\n\
         <!-- Generated from the types by `make generate`; changes here are lost. -->\n\n\
         Why a request is denied.\n\
         The code stands in the `reason` of the answer (`application/problem+json`), in audit events, \
         in the filter state `wasm.wardgate.decision`, in Envoy's response code details, and in the \
         name of the metric `wardgate.requests.denied.<code>`.\n\
         Codes are stable.\n\n\
         | code | status | meaning |\n| --- | --- | --- |\n",
    );
    for reason in Reason::ALL {
        page.push_str(&format!(
            "| `{}` | {} | {} |\n",
            reason.code(),
            reason.status(),
            reason.title()
        ));
    }
    check("docs/reasons.md", &page);
}
