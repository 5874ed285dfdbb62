//! The endpoints as the OpenAPI document names them: the document is current, and whoever shows
//! nothing is refused.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;

use serde_json::Value;

use crate::home::{DEADLINE, Home, Sidecar};
use crate::http::{Answer, get, request};

/// One operation of the document.
struct Operation {
    method: String,
    path: String,
    requirement: String,
    listeners: Vec<String>,
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let tags = operation["tags"].as_array().unwrap();
            operations.push(Operation {
                method: method.to_ascii_uppercase(),
                // Any name will do: who may not ask is not told whether it exists.
                path: path.replace(['{', '}'], ""),
                requirement: operation["x-wardgate-requirement"].as_str().unwrap().to_owned(),
                listeners: tags.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect(),
            });
        }
    }
    operations
}

fn ask(home: &Home, sidecar: &Sidecar, listener: &str, operation: &Operation) -> Answer {
    // Of the right type, so that it is for want of what is required that it is refused.
    let headers = [("content-type", "application/json")];
    let asked = request(&operation.method, &operation.path, &headers, b"");
    if listener == "public" {
        let mut stream = TcpStream::connect(sidecar.public).unwrap();
        stream.write_all(&asked).unwrap();
        return Answer::read(&mut stream);
    }
    let mut stream = UnixStream::connect(home.path(&format!("run/{listener}.sock"))).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.write_all(&asked).unwrap();
    Answer::read(&mut stream)
}

#[test]
fn every_endpoint_is_refused_to_whoever_does_not_show_what_it_requires() {
    let home = Home::new();
    let sidecar = home.serve();
    let operations = operations(&get(&sidecar, "/openapi.json").json());
    assert!(operations.len() > 25);
    for operation in &operations {
        for listener in ["public", "internal", "admin"] {
            let answer = ask(&home, &sidecar, listener, operation);
            let name = format!("{listener}: {} {}", operation.method, operation.path);
            if !operation.listeners.iter().any(|it| it == listener) {
                assert_eq!(answer.status, 404, "{name}");
                assert_eq!(answer.json()["reason"], "not-found", "{name}");
                continue;
            }
            match operation.requirement.as_str() {
                // Another status is as good: it was let in.
                "open" | "admin-socket" => assert!(![401, 403].contains(&answer.status), "{name}"),
                "feed-mac" => assert_eq!(answer.status, 401, "{name}"),
                // 400 where what is missing is a parameter of the form.
                "client-authentication" | "user-password" | "token-itself" => {
                    assert!([400, 401].contains(&answer.status), "{name}");
                }
                other => panic!("{name}: how is {other} refused?"),
            }
        }
    }
}

#[test]
fn the_document_is_the_same_for_anyone_and_for_operators() {
    let home = Home::new();
    let sidecar = home.serve();
    let public = get(&sidecar, "/openapi.json");
    assert_eq!(public.header("content-type"), Some("application/json"));
    let operation = Operation {
        method: "GET".to_owned(),
        path: "/openapi.json".to_owned(),
        requirement: String::new(),
        listeners: Vec::new(),
    };
    assert_eq!(ask(&home, &sidecar, "admin", &operation).body, public.body);
}

/// `make generate` rewrites the file; a test that finds another text fails.
#[track_caller]
fn check(path: &str, expected: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    if std::env::var_os("WARDGATE_UPDATE").is_some() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(found == expected, "{path} is out of date: run `make generate` and commit it");
}

#[test]
fn generated_openapi_document_is_current() {
    let text = serde_json::to_string_pretty(&wardgate::http::openapi()).unwrap();
    check("docs/openapi.json", &format!("{text}\n"));
}

#[test]
fn generated_table_of_requirements_is_current() {
    check("docs/authorization.md", &wardgate::http::authorization_page());
}
