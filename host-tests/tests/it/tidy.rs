//! The tree keeps its own rules: what documents name exists, the arrows between crates point one
//! way, files stay readable.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use wardgate_host_tests::wasm::wasm_bytes;

use crate::wasm_support::shipped_capabilities;

/// Code lines of one file; a longer one holds more than one thing.
const MAX_CODE_LINES: usize = 400;
/// Folders that hold what was built or downloaded, not what was written.
const NOT_OURS: &[&str] =
    &[".git", ".tools", "target", "demo-state", "node_modules", "corpus", "artifacts"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// All files that were written by hand or committed, as paths from the root.
fn files() -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name();
            let kind = entry.file_type().unwrap();
            // In a second work tree `.git` is a file.
            let is_ours = !NOT_OURS.iter().any(|not| name == *not);
            if kind.is_dir() && is_ours {
                folders.push(entry.path());
            } else if kind.is_file() && is_ours {
                let path = entry.path().strip_prefix(root()).unwrap().to_owned();
                found.push(path.to_str().expect("a UTF-8 path").to_owned());
            }
        }
    }
    found.sort();
    found
}

fn files_with(extension: &str) -> Vec<String> {
    let is_one = |path: &String| Path::new(path).extension().is_some_and(|it| it == extension);
    files().into_iter().filter(is_one).collect()
}

/// The texts between single backticks of a Markdown file, code blocks left out.
fn code_spans(markdown: &str) -> Vec<String> {
    let mut spans = Vec::new();
    let mut in_block = false;
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    spans
}

/// The targets of links to files, without their anchors.
fn links(markdown: &str) -> Vec<String> {
    let targets = markdown.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let files = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    files.map(|target| target.split('#').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn every_test_that_the_features_name_exists() {
    for document in ["docs/features.md", "docs/security-guide.md"] {
        let spans = code_spans(&read(document));
        let named: Vec<_> = spans.iter().filter_map(|span| span.split_once(".rs::")).collect();
        assert!(named.len() > 50, "{} tests are named in {document}", named.len());
        for (file, test) in named {
            let text = read(&format!("{file}.rs"));
            assert!(text.contains(&format!("fn {test}(")), "{file}.rs has no test `{test}`");
        }
    }
}

#[test]
fn what_is_locked_comes_from_any_registry_and_by_its_hash() {
    let npm: Value =
        serde_json::from_str(&read("host-tests/javascript/package-lock.json")).unwrap();
    for (name, package) in npm["packages"].as_object().unwrap() {
        assert!(package["resolved"].is_null(), "{name} names a registry");
        assert!(name.is_empty() || package["integrity"].is_string(), "{name} has no hash");
    }
    let python = read("host-tests/python/requirements.txt");
    assert!(!python.contains("://"), "requirements.txt names a registry");
    for package in python.lines().filter(|line| line.contains("==")) {
        assert!(package.ends_with('\\'), "`{package}` has no hash");
    }
}

#[test]
fn every_path_that_a_document_names_exists() {
    let mut missing = Vec::new();
    for document in files_with("md") {
        let text = read(&document);
        let folder = Path::new(&document).parent().unwrap();
        for link in links(&text) {
            if !root().join(folder).join(&link).exists() {
                missing.push(format!("{document}: {link}"));
            }
        }
        let tops = [
            "core/",
            "plugin/",
            "sidecar/",
            "host-tests/",
            "policies/",
            "envoy/",
            "docs/",
            "fuzz/",
        ];
        for span in code_spans(&text) {
            let path = span.split("::").next().unwrap_or_default();
            let is_path = tops.iter().any(|top| path.starts_with(top))
                && path.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/._-".contains(&byte));
            if is_path && !root().join(path).exists() {
                missing.push(format!("{document}: {path}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

/// Normal dependencies of our packages, as their manifests have them. Asks for nothing that a machine
/// without a network lacks.
fn our_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--no-deps"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let name = |value: &Value| value["name"].as_str().unwrap().to_owned();
    let packages = metadata["packages"].as_array().unwrap().iter();
    packages
        .map(|package| {
            let dependencies = package["dependencies"].as_array().unwrap().iter();
            let normal = dependencies.filter(|dependency| dependency["kind"].is_null());
            (name(package), normal.map(name).collect())
        })
        .collect()
}

/// What each package of `Cargo.lock` depends on, on whatever platform.
fn locked_dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let lock = read("Cargo.lock");
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let name = package.split('"').nth(1).unwrap();
        let list = package.split("dependencies = [").nth(1).unwrap_or_default();
        let list = list.split(']').next().unwrap_or_default().split('"').skip(1).step_by(2);
        // A version follows the name where several are locked.
        let names = list.map(|text| text.split(' ').next().unwrap_or_default().to_owned());
        graph.entry(name.to_owned()).or_default().extend(names);
    }
    graph
}

#[test]
fn arrows_between_crates_point_one_way() {
    let graph = our_dependencies();
    let ours = ["wardgate-core", "wardgate-plugin", "wardgate", "wardgate-host-tests"];
    let arrows = |from: &str| -> Vec<&str> {
        ours.into_iter().filter(|to| graph[from].contains(*to)).collect()
    };
    assert_eq!(arrows("wardgate-core"), [""; 0]);
    assert_eq!(arrows("wardgate-plugin"), ["wardgate-core"]);
    assert_eq!(arrows("wardgate"), ["wardgate-core"]);
    assert_eq!(arrows("wardgate-host-tests"), ["wardgate-core", "wardgate"]);
}

#[test]
fn core_depends_on_nothing_that_has_a_clock_a_network_or_randomness() {
    let mut open: Vec<String> = our_dependencies()["wardgate-core"].iter().cloned().collect();
    // Ring brings getrandom for keys that core never makes; core itself must not name it.
    assert!(!open.iter().any(|name| name == "getrandom"));
    let locked = locked_dependencies();
    let mut reached = BTreeSet::new();
    while let Some(name) = open.pop() {
        open.extend(locked[&name].iter().filter(|next| !reached.contains(*next)).cloned());
        reached.insert(name);
    }
    assert!(reached.len() > 20, "{reached:?}");
    for banned in ["tokio", "axum", "hyper", "reqwest", "redis", "proxy-wasm", "tracing-subscriber"]
    {
        assert!(!reached.contains(banned), "core reaches {banned}");
    }
}

/// Lines with code, before the tests of the file.
fn code_lines(source: &str) -> usize {
    let code = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let is_code = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with("//");
    code.lines().filter(is_code).count()
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let is_test = |path: &str| path.ends_with("/tests.rs") || path.contains("/tests/");
    for path in files_with("rs").iter().filter(|path| !is_test(path)) {
        let lines = code_lines(&read(path));
        assert!(lines <= MAX_CODE_LINES, "{path} has {lines} lines of code");
    }
}

#[test]
fn every_dependency_says_what_it_is_for() {
    let manifest = read("Cargo.toml");
    let section = manifest.split("[workspace.dependencies]").nth(1).unwrap();
    let section = section.split("\n[").next().unwrap();
    let mut above = "";
    let mut count = 0;
    for line in section.lines() {
        let is_outside =
            line.contains(" = ") && !line.starts_with('#') && !line.contains("path = ");
        if is_outside {
            assert!(above.starts_with("# "), "no reason stands above `{line}`");
            count += 1;
        }
        above = line;
    }
    assert!(count > 20, "{count} dependencies found");
}

fn number(bytes: &[u8], at: &mut usize) -> usize {
    let (mut value, mut shift) = (0, 0);
    loop {
        let byte = usize::from(bytes[*at]);
        *at += 1;
        value |= (byte & 0x7f) << shift;
        shift += 7;
        if byte < 0x80 {
            return value;
        }
    }
}

/// The names in the export section (7) of a wasm file.
fn exports(wasm: &[u8]) -> Vec<String> {
    let mut at = 8;
    while at < wasm.len() {
        let id = wasm[at];
        at += 1;
        let end = number(wasm, &mut at) + at;
        if id == 7 {
            let count = number(wasm, &mut at);
            let names = (0..count).map(|_| {
                let length = number(wasm, &mut at);
                let name = String::from_utf8(wasm[at..at + length].to_vec()).unwrap();
                at += length + 1;
                number(wasm, &mut at);
                name
            });
            return names.collect();
        }
        at = end;
    }
    Vec::new()
}

#[test]
fn every_callback_that_the_shipped_configuration_allows_is_exported() {
    let exported = exports(&wasm_bytes().unwrap());
    assert!(exported.iter().any(|name| name == "proxy_on_request_headers"), "{exported:?}");
    let allowed = shipped_capabilities();
    for callback in allowed.iter().filter(|name| name.starts_with("proxy_on_")) {
        assert!(exported.contains(callback), "{callback} is allowed and not exported");
    }
}

#[test]
fn nothing_unfinished_and_nothing_of_one_machine_is_in_the_tree() {
    // In pieces, or this file would be the first to be found.
    let words = [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("/wo", "rk/")];
    for path in files() {
        let Ok(text) = fs::read_to_string(root().join(&path)) else { continue };
        for (index, line) in text.lines().enumerate() {
            for word in words {
                assert!(!line.contains(word), "{path}:{}: `{word}`", index + 1);
            }
        }
    }
}
