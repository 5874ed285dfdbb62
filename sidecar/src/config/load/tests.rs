use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use super::{load, not_ours_alone};
use crate::config::StoreSettings;
use crate::random::Random;
use crate::seal::StoreKeys;

const GOOD: &str = "\
internal: {socket: internal.sock}
admin: {socket: admin.sock}
store: {path: wardgate.redb}
secrets: {feed_secret_file: feed.secret, store_keys_file: store.keys}
issuer: {issuer: \"https://auth.example.com\"}
policy: {file: policy.yaml}
audit: {file: audit.jsonl}
";

fn write(directory: &Path, name: &str, text: &str, mode: u32) {
    let file = directory.join(name);
    fs::write(&file, text).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
}

fn directory(config: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    write(directory.path(), "wardgate.yaml", config, 0o644);
    write(directory.path(), "feed.secret", &Random::system().text::<32>().unwrap(), 0o600);
    write(directory.path(), "store.keys", &StoreKeys::generate(Random::system()).unwrap(), 0o600);
    write(directory.path(), "policy.yaml", "version: 1\nroutes: []\n", 0o644);
    directory
}

/// The problems without the directory, which differs from run to run.
fn problems(directory: &Path) -> Vec<String> {
    let found = load(&directory.join("wardgate.yaml"), None).expect_err("accepted");
    let prefix = format!("{}/", directory.display());
    found.iter().map(|problem| problem.to_string().replace(&prefix, "")).collect()
}

#[test]
fn a_whole_configuration_is_read() {
    let directory = directory(GOOD);
    let loaded = load(&directory.path().join("wardgate.yaml"), None).unwrap();
    assert_eq!(loaded.config.listen.0.to_string(), "127.0.0.1:8180");
    assert_eq!(loaded.feed_secret.expose().len(), 32);
    assert_eq!(loaded.resolve("x"), directory.path().join("x"));
}

#[test]
fn many_problems_are_reported_at_once_in_order_with_their_lines() {
    let directory = directory(
        "listen: nowhere\n\
         internal:\n  socket: missing/internal.sock\n  socket_mode: \"0777\"\n\
         admin: {}\n\
         store: {path: wardgate.redb, compact: true}\n\
         secrets:\n  feed_secret_file: feed.secret\n  store_keys_file: none.keys\n\
         issuer: {issuer: \"ftp://x\", algorithms: [ES256, HS256]}\n\
         policy: {file: none.yaml}\n\
         audit: {file: audit.jsonl}\n",
    );
    write(directory.path(), "feed.secret", "hunter2", 0o644);
    assert_eq!(
        problems(directory.path()),
        [
            "wardgate.yaml:1:1: listen: expected an IP address and port, as 127.0.0.1:8180",
            "wardgate.yaml:3:3: internal.socket: the directory missing does not exist",
            "wardgate.yaml:4:3: internal.socket_mode: expected one of 0600, 0660, 0666",
            "wardgate.yaml:5:1: admin.socket: required key is missing",
            "wardgate.yaml:6:30: store.compact: unknown key; known here: path, redis, clean_up_interval_seconds",
            "wardgate.yaml:8:3: secrets.feed_secret_file: feed.secret has mode 0644: others may \
             read it; run chmod 600 on it",
            "wardgate.yaml:8:3: secrets.feed_secret_file: the feed secret is not at least 32 bytes \
             as base64url",
            "wardgate.yaml:9:3: secrets.store_keys_file: none.keys cannot be read: No such file or \
             directory (os error 2)",
            "wardgate.yaml:10:10: issuer.issuer: expected a URL without query and fragment, as \
             https://auth.example.com",
            "wardgate.yaml:10:49: issuer.algorithms[1]: expected one of ES256, EdDSA, RS256",
            "none.yaml: cannot be read: No such file or directory (os error 2)",
        ]
    );
}

#[test]
fn a_syntax_error_is_one_problem_with_its_line() {
    let directory = directory("listen: \"127.0.0.1:1\nadmin: {");
    let found = problems(directory.path());
    assert_eq!(found.len(), 1);
    assert!(found[0].starts_with("wardgate.yaml:"), "{found:?}");
}

#[test]
fn a_missing_file_is_named() {
    let directory = tempfile::tempdir().unwrap();
    let expected = "wardgate.yaml: cannot be read: No such file or directory (os error 2)";
    assert_eq!(problems(directory.path()), [expected]);
}

#[test]
fn problems_of_the_policy_have_their_lines_too() {
    let directory = directory(GOOD);
    let policy = "version: 1\nroles:\n  a: {inherits: [b]}\nroutes: []\nrules: []\n";
    write(directory.path(), "policy.yaml", policy, 0o644);
    let found = problems(directory.path());
    assert!(found[0].starts_with("policy.yaml:3:18: roles.a.inherits[0]: "), "{found:?}");
}

#[test]
fn a_socket_path_that_the_system_would_cut_is_a_problem() {
    let name = "s".repeat(104);
    let directory = directory(&GOOD.replace("admin.sock", &name));
    let found = problems(directory.path());
    assert!(found[0].contains("admin.socket: the path has "), "{found:?}");
}

#[test]
fn a_secret_belongs_to_this_user_or_to_root_and_to_nobody_else() {
    for (mode, owner, us, right) in [
        (0o100_600, 7, 7, true),
        (0o100_400, 0, 7, true),
        (0o100_600, 8, 7, false),
        (0o100_600, 8, 0, false),
        (0o100_640, 7, 7, false),
        (0o100_604, 0, 7, false),
    ] {
        assert_eq!(not_ours_alone(mode, owner, us).is_none(), right, "{mode:o} {owner} {us}");
    }
}

#[test]
fn a_secret_file_of_another_owner_is_a_problem() {
    // Only root can give a file away.
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = directory(GOOD);
    std::os::unix::fs::chown(directory.path().join("feed.secret"), Some(65_534), None).unwrap();
    let found = problems(directory.path());
    assert!(found[0].contains("feed.secret belongs to user 65534"), "{found:?}");
}

#[test]
fn a_redis_store_is_read_with_its_password() {
    let section = "store:\n  redis:\n    urls: [\"redis://a:1\", \"redis://b:2\"]\n    mode: sentinel\n    \
                   master_name: m\n    username: u\n    password_file: redis.password\n";
    let directory = directory(&GOOD.replace("store: {path: wardgate.redb}\n", section));
    write(directory.path(), "redis.password", "hunter2\n", 0o600);
    let loaded = load(&directory.path().join("wardgate.yaml"), None).unwrap();
    let StoreSettings::Redis(settings) = &loaded.store else { panic!("{:?}", loaded.store) };
    assert_eq!(settings.password.as_ref().unwrap().expose(), b"hunter2");
    assert_eq!((settings.urls.len(), settings.master_name.as_str()), (2, "m"));
    assert!(!format!("{loaded:?}").contains("hunter2"));
}

#[test]
fn all_problems_of_a_redis_store_are_reported_at_once_with_their_lines() {
    let section = "store:\n  redis:\n    urls:\n      - redis://a:1\n      - rediss://b:2\n    \
                   mode: cluster\n    master_name: m\n    username: u\n    \
                   tls: {certificate_file: none.pem}\n";
    let directory = directory(&GOOD.replace("store: {path: wardgate.redb}\n", section));
    assert_eq!(
        problems(directory.path()),
        [
            "wardgate.yaml:5:5: store.redis.urls: use redis:// or rediss:// for all, not both",
            "wardgate.yaml:9:5: store.redis.master_name: is for mode sentinel only",
            "wardgate.yaml:10:5: store.redis.username: a user needs password_file or password_env",
            "wardgate.yaml:11:5: store.redis.tls: certificate_file and key_file belong together",
            "wardgate.yaml:11:11: store.redis.tls.certificate_file: none.pem cannot be read: No such \
             file or directory (os error 2)",
        ]
    );
}

#[test]
fn exactly_one_store_must_be_there() {
    for (section, expected) in [
        ("store: {}", "wardgate.yaml:3:1: store: path or redis is missing"),
        (
            "store: {path: a, redis: {urls: [\"redis://a\"]}}",
            "wardgate.yaml:3:1: store: give path or redis, not both",
        ),
        (
            "store: {redis: {urls: [\"redis://u:hunter2@a\"]}}",
            "wardgate.yaml:3:24: store.redis.urls[0]: no user or password here: use username and \
             password_file or password_env",
        ),
    ] {
        let directory = directory(&GOOD.replace("store: {path: wardgate.redb}", section));
        assert_eq!(problems(directory.path()), [expected]);
    }
}
