//! Lists of the admin API, asked for a page that begins nowhere, and for what no page has.

use std::io::Write as _;
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::home::{DEADLINE, Home};
use crate::http::{Answer, request};
use crate::servers::Server;
use crate::store::on_redis;

/// Entries that make a list of more than one page on each store.
const MANY: usize = 3000;
/// What nobody handed out, as it stands in a query.
const GARBAGE: [&str; 14] = [
    "",
    "0",
    "1",
    "-1",
    "x",
    "usr_1",
    "99999999999999999999",
    "1e400",
    "%00",
    "%0d%0a",
    "%F0%9F%92%A9",
    "..%2F..",
    "%7B%7D",
    "*",
];

fn ask(home: &Home, method: &str, target: &str, body: &[u8]) -> Answer {
    let mut stream = UnixStream::connect(home.path("run/admin.sock")).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    let json = [("content-type", "application/json")];
    stream.write_all(&request(method, target, &json, body)).unwrap();
    Answer::read(&mut stream)
}

/// The paths that operators may `GET`, each with the names and types of its query.
fn queries(home: &Home) -> Vec<(String, Vec<(String, Value)>)> {
    let document = ask(home, "GET", "/openapi.json", b"").json();
    let mut found = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        let parameters = methods["get"]["parameters"].as_array().into_iter().flatten();
        let of_query = parameters.filter(|it| it["in"] == "query");
        let named = |it: &Value| (it["name"].as_str().unwrap().to_owned(), it["schema"].clone());
        let query: Vec<_> = of_query.map(named).collect();
        if path.starts_with("/admin/") && !query.is_empty() {
            // Of the one API key that there is.
            found.push((path.replace("{key}", "ci"), query));
        }
    }
    found
}

/// Those that have pages.
fn lists(home: &Home) -> Vec<String> {
    let has_pages = |query: &[(String, Value)]| query.iter().any(|(name, _)| name == "cursor");
    let found = queries(home).into_iter().filter(|(_, query)| has_pages(query));
    found.map(|(path, _)| path).collect()
}

#[track_caller]
fn refused(home: &Home, target: &str) {
    let answer = ask(home, "GET", target, b"");
    let shown: String = target.chars().take(100).collect();
    assert_eq!(answer.status, 400, "{shown}");
    assert_eq!(answer.json()["reason"], "cursor-unknown", "{shown}");
    let detail = answer.json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains("`next`"), "{shown}: {detail}");
}

/// Revokes so much that the list of it has several pages; the cursor of the second.
fn second_page(home: &Home) -> String {
    let numbers: Vec<usize> = (0..MANY).collect();
    for part in numbers.chunks(1000) {
        let one = |number: &usize| {
            let token_id = format!("token {number}");
            json!({"target": {"kind": "token", "issuer": "https://a.example", "token_id": token_id}})
        };
        let body = json!({"revocations": part.iter().map(one).collect::<Vec<_>>()}).to_string();
        let answer = ask(home, "POST", "/admin/v1/revocations/batch", body.as_bytes());
        assert_eq!(answer.status, 200);
    }
    let first = ask(home, "GET", "/admin/v1/revocations", b"").json();
    first["next"].as_str().unwrap().to_owned()
}

/// Asks each list of a home for pages that begin nowhere; `foreign` is a cursor of another store.
#[track_caller]
fn lists_begin_only_where_a_page_has_ended(home: &Home, foreign: &str) -> String {
    let own = second_page(home);
    let lists = lists(home);
    assert_eq!(lists.len(), 5, "{lists:?}");
    let long = "A".repeat(20_000);
    for list in &lists {
        for wrong in GARBAGE.into_iter().chain([&*long, foreign]) {
            refused(home, &format!("{list}?cursor={wrong}"));
        }
        let with_own = format!("{list}?cursor={own}");
        if list.ends_with("/revocations") {
            let page = ask(home, "GET", &with_own, b"");
            assert_eq!(page.status, 200);
            assert!(!page.json()["revocations"].as_array().unwrap().is_empty());
        } else {
            refused(home, &with_own);
        }
    }
    own
}

#[test]
fn on_either_store_a_list_begins_only_where_a_page_of_it_has_ended() {
    let embedded = Home::new();
    let _sidecar = embedded.serve();
    let of_embedded = lists_begin_only_where_a_page_has_ended(&embedded, "made-up");
    let server = Server::start(&[]);
    let redis = Home::new();
    on_redis(&redis, &server);
    let _other = redis.serve();
    let of_redis = lists_begin_only_where_a_page_has_ended(&redis, &of_embedded);
    refused(&embedded, &format!("/admin/v1/revocations?cursor={of_redis}"));
}

/// Asks everything that has a query what it has no answer to.
#[track_caller]
fn no_query_makes_the_sidecar_fail(home: &Home) {
    home.done(&["apikey", "create", "--name", "ci"]);
    let long = "a".repeat(20_000);
    let queries = queries(home);
    assert!(queries.len() >= 7, "{queries:?}");
    for (path, query) in &queries {
        // There is none: a page has the size that it has.
        for limit in ["0", "-1", "1", "18446744073709551615", "99999999999999999999", "x", ""] {
            let answer = ask(home, "GET", &format!("{path}?limit={limit}"), b"");
            assert_eq!((answer.status, &answer.json()["reason"]), (400, &json!("malformed")));
        }
        for (name, schema) in query {
            let numbers = ["18446744073709551615", "18446744073709551616", "9223372036854775808"];
            for value in GARBAGE.into_iter().chain(numbers).chain([&*long]) {
                let answer = ask(home, "GET", &format!("{path}?{name}={value}"), b"");
                let shown: String = value.chars().take(100).collect();
                assert!(answer.status < 500, "{path} {name}={shown}: {}", answer.status);
                if schema["type"] == "integer" && value.parse::<u64>().is_err() {
                    assert_eq!(answer.status, 400, "{path} {name}={shown}");
                    assert_eq!(answer.json()["reason"], "malformed", "{path} {name}={shown}");
                }
            }
        }
    }
}

#[test]
fn no_query_makes_a_sidecar_with_an_embedded_store_fail() {
    let home = Home::new();
    let _sidecar = home.serve();
    no_query_makes_the_sidecar_fail(&home);
}

#[test]
fn no_query_makes_a_sidecar_with_a_redis_fail() {
    let server = Server::start(&[]);
    let home = Home::new();
    on_redis(&home, &server);
    let _sidecar = home.serve();
    no_query_makes_the_sidecar_fail(&home);
}
