//! What browsers let scripts of other origins ask (CORS), by the headers that they go by.

use std::io::Write as _;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;

use serde_json::json;

use crate::home::{DEADLINE, Home, Sidecar};
use crate::http::{Answer, request};

const ORIGIN: &str = "https://app.example.com";
/// What applications may ask.
const APPLICATIONS: [&str; 5] =
    ["/oauth2/token", "/oauth2/revoke", "/auth/login", "/auth/logout", "/auth/password"];
/// What everybody may know.
const PUBLIC: [&str; 2] = ["/.well-known/jwks.json", "/.well-known/oauth-authorization-server"];
/// Those that are not on the list, however much they look like it.
const OTHERS: [&str; 10] = [
    "https://other.example.com",
    "null",
    "*",
    "",
    "http://app.example.com",
    "https://app.example.com:8443",
    "https://app.example.com.evil.example",
    "https://app.example.com/",
    "HTTPS://APP.EXAMPLE.COM",
    "https://app.example.com https://evil.example",
];

/// A home whose sidecar knows two applications.
fn home() -> Home {
    let home = Home::new();
    let origins = format!("[\"{ORIGIN}\", \"http://localhost:5173\"]");
    home.edit("log:", &format!("oauth: {{allowed_origins: {origins}}}\nlog:"));
    home
}

fn ask(sidecar: &Sidecar, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut stream = TcpStream::connect(sidecar.public).unwrap();
    stream.write_all(&request(method, path, headers, b"")).unwrap();
    Answer::read(&mut stream)
}

/// What a browser asks before it sends.
fn preflight(sidecar: &Sidecar, path: &str, origin: &str, method: &str) -> Answer {
    let headers = [
        ("origin", origin),
        ("access-control-request-method", method),
        ("access-control-request-headers", "authorization,content-type,dpop"),
    ];
    ask(sidecar, "OPTIONS", path, &headers)
}

fn names(answer: &Answer) -> Vec<&str> {
    let names = answer.headers.iter().map(|(name, _)| name.as_str());
    names.filter(|name| name.starts_with("access-control-")).collect()
}

#[test]
fn an_application_of_an_allowed_origin_asks_and_reads() {
    let home = home();
    let sidecar = home.serve();
    for path in APPLICATIONS {
        for origin in [ORIGIN, "http://localhost:5173"] {
            let allowed = preflight(&sidecar, path, origin, "POST");
            assert_eq!((allowed.status, allowed.body.len()), (200, 0), "{path}");
            for (name, value) in [
                ("access-control-allow-origin", origin),
                ("access-control-allow-methods", "POST"),
                ("access-control-allow-headers", "authorization,content-type,dpop"),
                ("access-control-max-age", "600"),
                ("vary", "origin"),
            ] {
                assert_eq!(allowed.header(name), Some(value), "{path} {name}");
            }
            // Refused for want of everything, in a way that the application can read.
            let json = ("content-type", "application/json");
            let answer = ask(&sidecar, "POST", path, &[("origin", origin), json]);
            assert!([400, 401].contains(&answer.status), "{path}");
            let exposed = "dpop-nonce,www-authenticate,retry-after,ratelimit,ratelimit-policy";
            for (name, value) in [
                ("access-control-allow-origin", origin),
                ("access-control-expose-headers", exposed),
                ("vary", "origin"),
            ] {
                assert_eq!(answer.header(name), Some(value), "{path} {name}");
            }
            for answer in [allowed, answer] {
                assert_eq!(answer.header("access-control-allow-credentials"), None, "{path}");
            }
        }
    }
}

#[test]
fn no_other_origin_reads_what_applications_ask() {
    let home = home();
    let sidecar = home.serve();
    for path in APPLICATIONS {
        for origin in OTHERS {
            let asked = preflight(&sidecar, path, origin, "POST");
            let sent = ask(&sidecar, "POST", path, &[("origin", origin)]);
            for answer in [asked, sent] {
                let allowed = answer.header("access-control-allow-origin");
                assert_eq!(allowed, None, "{path} {origin}");
                assert_eq!(answer.header("access-control-allow-credentials"), None);
                // A cache must not hand it to an origin that is on the list, either.
                assert_eq!(answer.header("vary"), Some("origin"), "{path} {origin}");
            }
        }
        // Who is no browser asks as ever.
        let plain = ask(&sidecar, "POST", path, &[]);
        assert_eq!(plain.header("access-control-allow-origin"), None, "{path}");
    }
}

#[test]
fn what_is_for_services_and_operators_is_for_no_script() {
    let home = home();
    let sidecar = home.serve();
    for path in
        ["/oauth2/introspect", "/auth/social-tokens", "/metrics", "/healthz", "/openapi.json"]
    {
        let asked = preflight(&sidecar, path, ORIGIN, "POST");
        assert_eq!(asked.status, 405, "{path}");
        assert_eq!(names(&asked), [""; 0], "{path}");
        for method in ["GET", "POST"] {
            let sent = ask(&sidecar, method, path, &[("origin", ORIGIN)]);
            assert_eq!(names(&sent), [""; 0], "{method} {path}");
        }
    }
    let asked = preflight(&sidecar, "/nothing", ORIGIN, "POST");
    assert_eq!((asked.status, names(&asked)), (404, vec![]));
    for method in ["OPTIONS", "GET"] {
        let mut stream = UnixStream::connect(home.path("run/admin.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let headers = [("origin", ORIGIN), ("access-control-request-method", "GET")];
        stream.write_all(&request(method, "/admin/v1/clients", &headers, b"")).unwrap();
        assert_eq!(names(&Answer::read(&mut stream)), [""; 0], "{method}");
    }
}

#[test]
fn keys_and_metadata_are_for_every_origin_and_without_credentials() {
    // Whatever is configured.
    for home in [home(), Home::new()] {
        let sidecar = home.serve();
        for path in PUBLIC {
            for origin in [ORIGIN, "https://other.example.com", "null"] {
                let asked = preflight(&sidecar, path, origin, "GET");
                let got = ask(&sidecar, "GET", path, &[("origin", origin)]);
                assert_eq!((asked.status, got.status), (200, 200), "{path}");
                assert!(!got.body.is_empty(), "{path}");
                let methods = asked.header("access-control-allow-methods");
                assert_eq!(methods, Some("GET,HEAD"), "{path}");
                for answer in [asked, got] {
                    let allowed = answer.header("access-control-allow-origin");
                    assert_eq!(allowed, Some("*"), "{path} {origin}");
                    assert_eq!(answer.header("access-control-allow-credentials"), None);
                    // It is the same for all: a cache may keep one.
                    assert_eq!(answer.header("vary"), None, "{path}");
                }
            }
        }
    }
}

#[test]
fn without_allowed_origins_no_script_of_another_origin_asks() {
    let home = Home::new();
    let sidecar = home.serve();
    for path in APPLICATIONS {
        let asked = preflight(&sidecar, path, ORIGIN, "POST");
        assert_eq!((asked.status, names(&asked)), (405, vec![]), "{path}");
        let sent = ask(&sidecar, "POST", path, &[("origin", ORIGIN)]);
        assert_eq!(names(&sent), [""; 0], "{path}");
    }
}

#[test]
fn an_application_that_asks_too_often_can_read_when_to_come_back() {
    let home = home();
    home.edit("log:", "limits: {requests_per_minute_per_address: 2}\nlog:");
    let sidecar = home.serve();
    let send = || ask(&sidecar, "POST", "/oauth2/token", &[("origin", ORIGIN)]);
    // Preflights are of the browser's making and are not counted.
    for _ in 0..5 {
        assert_eq!(preflight(&sidecar, "/oauth2/token", ORIGIN, "POST").status, 200);
    }
    assert_eq!([send().status, send().status], [400, 400]);
    let refused = send();
    assert_eq!((refused.status, &refused.json()["reason"]), (429, &json!("rate-limited")));
    assert_eq!(refused.header("access-control-allow-origin"), Some(ORIGIN));
    let exposed = refused.header("access-control-expose-headers").unwrap();
    for name in ["retry-after", "ratelimit", "ratelimit-policy"] {
        assert!(refused.header(name).is_some(), "{name}");
        assert!(exposed.split(',').any(|it| it == name), "{name}");
    }
}

#[test]
fn all_origins_that_are_wrong_are_told_at_once_with_their_places() {
    let home = Home::new();
    let origins = "[\"*\", \"https://app.example.com\", \"http://app.example.com\", \"null\"]";
    home.edit("log:", &format!("oauth: {{allowed_origins: {origins}, dpop_nonce: x}}\nlog:"));
    let output = home.run(&["check-config"]);
    assert!(!output.status.success());
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    for piece in [
        "oauth.allowed_origins[0]: expected the origin of an application",
        "oauth.allowed_origins[2]: expected `https://`, or `http://` on loopback",
        "oauth.allowed_origins[3]: expected the origin of an application",
        "oauth.dpop_nonce: expected one of",
    ] {
        assert!(told.contains(piece), "{piece} in {told}");
    }
    assert!(!told.contains("allowed_origins[1]"), "{told}");
}
