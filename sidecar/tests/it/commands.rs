//! Every command, its exit codes and what it prints.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use serde_json::{Map, Value, json};
use wardgate_core::base64url;

use crate::home::{Home, wardgate};

fn claims(token: &str) -> Map<String, Value> {
    let payload = token.trim().split('.').nth(1).unwrap();
    serde_json::from_slice(&base64url::decode(payload.as_bytes()).unwrap()).unwrap()
}

#[test]
fn init_writes_a_home_that_passes_its_own_check_and_overwrites_nothing() {
    let home = Home::new();
    home.done(&["check-config"]);
    for name in ["secrets/feed.secret", "secrets/store.keys"] {
        assert_eq!(fs::metadata(home.path(name)).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let before = fs::read(home.path("secrets/feed.secret")).unwrap();
    let again = wardgate().args(["init", "--dir"]).arg(home.path("")).output().unwrap();
    assert_eq!(again.status.code(), Some(1), "{again:?}");
    assert_eq!(fs::read(home.path("secrets/feed.secret")).unwrap(), before);
}

#[test]
fn init_writes_nothing_for_an_issuer_that_no_request_could_reach() {
    let directory = tempfile::tempdir().unwrap();
    for issuer in ["auth.example.com", "https://a.example/{x}", "https://a.example/a/../b"] {
        let mut command = wardgate();
        command.args(["init", "--issuer", issuer, "--dir"]).arg(directory.path().join("new"));
        let made = command.output().unwrap();
        let said = String::from_utf8(made.stderr).unwrap();
        assert_eq!((made.status.code(), said.contains("expected a")), (Some(2), true), "{said}");
        assert!(!directory.path().join("new").exists(), "{issuer}");
    }
}

#[test]
fn init_for_an_issuer_with_a_path_lets_requests_to_its_addresses_pass() {
    let directory = tempfile::tempdir().unwrap();
    let mut command = wardgate();
    command.args(["init", "--issuer", "https://a.example/tenant/", "--dir"]).arg(directory.path());
    let made = command.output().unwrap();
    assert!(made.status.success(), "{made:?}");
    let policy = std::fs::read_to_string(directory.path().join("policy.yaml")).unwrap();
    for piece in [
        "issuer: \"https://a.example/tenant/\"",
        "path: \"/tenant/oauth2/{rest...}\"",
        "path: \"/tenant/auth/{rest...}\"",
        "path: \"/tenant/.well-known/jwks.json\"",
        "path: \"/.well-known/oauth-authorization-server/tenant\"",
    ] {
        assert!(policy.contains(piece), "{piece}: {policy}");
    }
    assert!(!policy.contains('@'), "{policy}");
}

#[test]
fn init_puts_no_secret_where_somebody_else_has_a_say() {
    let parent = tempfile::tempdir().unwrap();
    let refused = |name: &str| {
        let home = parent.path().join(name);
        let made = wardgate().args(["init", "--dir"]).arg(&home).output().unwrap();
        assert_eq!(made.status.code(), Some(1), "{name}: {made:?}");
        assert!(!home.join("wardgate.yaml").exists() && !home.join("secrets/feed.secret").exists());
        String::from_utf8(made.stderr).unwrap()
    };
    let open = parent.path().join("open/secrets");
    fs::create_dir_all(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    assert!(refused("open").contains("can be written by others"));
    fs::create_dir_all(parent.path().join("link")).unwrap();
    std::os::unix::fs::symlink(parent.path(), parent.path().join("link/secrets")).unwrap();
    assert!(refused("link").contains("is no directory"));
    // Only root can give a directory away.
    if rustix::process::geteuid().is_root() {
        let given = parent.path().join("given/secrets");
        fs::create_dir_all(&given).unwrap();
        std::os::unix::fs::chown(&given, Some(65_534), None).unwrap();
        assert!(refused("given").contains("belongs to user 65534"));
    }
}

#[test]
fn exit_codes_tell_what_kind_of_failure_it_was() {
    let home = Home::new();
    assert_eq!(home.run(&["nonsense"]).status.code(), Some(2));
    assert_eq!(home.run(&["apikey", "show", "nobody"]).status.code(), Some(1));
    let _sidecar = home.serve();
    let second = home.run(&["serve"]);
    assert_eq!(second.status.code(), Some(4), "{second:?}");
    let message = String::from_utf8(second.stderr).unwrap();
    assert!(message.contains("is in use by another process"), "{message}");
}

#[test]
fn what_would_stop_the_start_is_found_by_the_check() {
    for (section, piece) in [
        (
            "passwords: {argon2_memory_kib: 262144, argon2_passes: 5}",
            "is 1310720, expected at most",
        ),
        ("passwords: {leaked_file: nothing.txt}", "`passwords.leaked_file`: "),
    ] {
        let home = Home::new();
        home.edit("listen: 127.0.0.1:0", &format!("listen: 127.0.0.1:0\n{section}"));
        for command in [&["check-config"][..], &["serve"]] {
            let output = home.run(command);
            assert!(!output.status.success(), "{output:?}");
            let text = String::from_utf8(output.stderr).unwrap();
            assert!(text.contains(piece), "{piece}: {text}");
        }
    }
}

#[test]
fn all_problems_of_configuration_and_policy_are_printed_with_their_lines() {
    let home = Home::new();
    home.edit("listen: 127.0.0.1:0", "listen: nowhere\nlisten_too: 1");
    home.edit("level: info", "level: loud");
    fs::write(home.path("policy.yaml"), "version: 2\nroutes: []\n").unwrap();
    fs::set_permissions(home.path("secrets/feed.secret"), fs::Permissions::from_mode(0o640))
        .unwrap();
    for command in [&["check-config"][..], &["serve"], &["apikey", "list"]] {
        let output = home.run(command);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let text = String::from_utf8(output.stderr).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        for (line, piece) in lines.iter().zip([
            "wardgate.yaml:6:1: listen: expected an IP address and port",
            "wardgate.yaml:7:1: listen_too: unknown key",
            "secrets.feed_secret_file: ",
            "log.level: expected one of error, warn, info, debug",
            "policy.yaml:1:1: version: expected whole number from 1 to 1, found 2",
            "5 problems",
        ]) {
            assert!(line.contains(piece), "{piece}: {text}");
        }
        assert_eq!(lines.len(), 6, "{text}");
    }
}

#[test]
fn a_policy_is_checked_alone() {
    let home = Home::new();
    let path = home.path("policy.yaml");
    home.done(&["policy", "check", path.to_str().unwrap()]);
    fs::write(&path, "version: 1\nroutes: []\nroutes: []\n").unwrap();
    let output = home.run(&["policy", "check", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(text.contains("policy.yaml:3:"), "{text}");
}

#[test]
fn an_api_key_is_shown_once_and_lives_its_life_with_and_without_a_sidecar() {
    let home = Home::new();
    let created = home.json(&["apikey", "create", "--name", "ci", "--role", "viewer"]);
    let key = created["api_key"].as_str().unwrap();
    assert!(key.starts_with("wg_live_"), "{key}");
    let sidecar = home.serve();
    let through = home.run(&["apikey", "disable", "ci", "--output", "json"]);
    assert!(String::from_utf8_lossy(&through.stderr).contains("through the running sidecar"));
    assert_eq!(serde_json::from_slice::<Value>(&through.stdout).unwrap()["state"], "disabled");
    let taken = home.run(&["apikey", "create", "--name", "ci"]);
    assert_eq!(taken.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&taken.stderr).contains("another API key has this name"));
    sidecar.terminate();
    let (status, log) = sidecar.exit();
    assert!(status.success(), "{log}");
    let direct = home.run(&["apikey", "list"]);
    assert!(String::from_utf8_lossy(&direct.stderr).contains("the store was opened directly"));
    let table = String::from_utf8(direct.stdout).unwrap();
    assert!(table.contains("disabled") && !table.contains('\u{1b}'), "{table}");
    assert_eq!(home.json(&["apikey", "enable", "ci"])["state"], "active");
    assert_eq!(home.json(&["apikey", "revoke", "ci"])["state"], "revoked");
    let id = created["id"].as_str().unwrap();
    assert_eq!(home.json(&["apikey", "show", id])["state"], "revoked");
    assert_eq!(home.run(&["apikey", "enable", id]).status.code(), Some(1));
    let secret = &key[key.len() - 39..key.len() - 7];
    assert!(!log.contains(secret), "{log}");
    let store = fs::read(home.path("data/wardgate.redb")).unwrap();
    assert!(!store.windows(secret.len()).any(|bytes| bytes == secret.as_bytes()));
}

#[test]
fn a_role_or_scope_that_the_policy_does_not_know_is_warned_of() {
    let home = Home::new();
    let create = |name: &str, role: &str, scope: &str| {
        let made =
            home.run(&["apikey", "create", "--name", name, "--role", role, "--scope", scope]);
        assert!(made.status.success(), "{made:?}");
        String::from_utf8(made.stderr).unwrap()
    };
    let right = create("right", "editor", "api:read");
    assert!(!right.contains("warning"), "{right}");
    let wrong = create("wrong", "edditor", "read");
    for piece in ["the policy knows no role `edditor`", "the policy knows no scope `read`"] {
        assert!(wrong.contains(piece), "{wrong}");
    }
}

#[test]
fn a_token_is_alone_on_its_line_and_the_same_key_signs_with_and_without_a_sidecar() {
    let home = Home::new();
    let token = home.done(&[
        "token",
        "issue",
        "--subject",
        "alice",
        "--audience",
        "a",
        "--audience",
        "b",
        "--role",
        "viewer",
        "--scope",
        "read write",
        "--claim",
        "tenant=blue",
        "--claim",
        "level=3",
        "--expires-in",
        "60",
        "--algorithm",
        "EdDSA",
    ]);
    let found = claims(&token);
    assert_eq!(found["exp"].as_u64().unwrap() - found["iat"].as_u64().unwrap(), 60);
    let expected = json!({
        "iss": "http://127.0.0.1:8180", "sub": "alice", "aud": ["a", "b"], "exp": found["exp"],
        "iat": found["iat"], "jti": found["jti"], "client_id": "wardgate-cli",
        "scope": "read write", "roles": ["viewer"], "tenant": "blue", "level": 3,
    });
    assert_eq!(Value::Object(found), expected);
    let keys = home.json(&["keys", "list"]);
    let _sidecar = home.serve();
    assert_eq!(home.json(&["keys", "list"]), keys);
    let issued = home.json(&["token", "issue", "--subject", "alice", "--expires-in", "-5"]);
    assert_eq!((&issued["token_type"], &issued["algorithm"]), (&json!("Bearer"), &json!("ES256")));
    let forged = home.run(&["token", "issue", "--subject", "a", "--claim", "iss=other"]);
    assert_eq!(forged.status.code(), Some(1), "{forged:?}");
}

#[test]
fn the_envoy_configuration_has_the_filter_and_the_socket_and_the_policy_if_asked() {
    let home = Home::new();
    let text = home.done(&["envoy", "config", "--wasm", "/w.wasm", "--upstream", "127.0.0.1:1"]);
    let document = wardgate::config::yaml::Document::parse(&text).unwrap().value;
    let manager = &document["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"];
    let filter = &manager["http_filters"][0]["typed_config"]["config"];
    assert_eq!(filter["failure_policy"], "FAIL_RELOAD");
    assert_eq!(filter["vm_config"]["code"]["local"]["filename"], "/w.wasm");
    let names = &filter["vm_config"]["environment_variables"]["host_env_keys"];
    assert_eq!(names, &json!(["WARDGATE_FEED_SECRET"]));
    let plugin = |text: &str| {
        let document = wardgate::config::yaml::Document::parse(text).unwrap().value;
        let filters =
            "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/http_filters/0";
        let filter = document.pointer(filters).unwrap();
        let plugin = &filter["typed_config"]["config"]["configuration"]["value"];
        serde_json::from_str::<Value>(plugin.as_str().unwrap()).unwrap()
    };
    assert_eq!(plugin(&text)["policy"], Value::Null);
    let inline = plugin(&home.done(&["envoy", "config", "--inline-policy"]));
    assert_eq!(inline["policy"]["issuers"][0]["issuer"], "http://127.0.0.1:8180");
    assert_eq!(manager["path_with_escaped_slashes_action"], "REJECT_REQUEST");
    let address = &document["static_resources"]["clusters"][1]["load_assignment"]["endpoints"][0]["lb_endpoints"]
        [0]["endpoint"]["address"]["pipe"]["path"];
    assert_eq!(address, home.path("run/internal.sock").to_str().unwrap());
}

#[test]
fn every_command_has_help() {
    for command in [
        "serve",
        "init",
        "check-config",
        "policy",
        "token",
        "apikey",
        "keys",
        "audit",
        "envoy",
        "social",
    ] {
        let output = wardgate().args([command, "--help"]).output().unwrap();
        assert!(output.status.success() && output.stdout.len() > 100, "{command}");
    }
    let help = wardgate().arg("--help").output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("Exit codes:"));
}
