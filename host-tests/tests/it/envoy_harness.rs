//! The harness itself: without the filter, an Envoy that passes requests on.

use wardgate_host_tests::{
    envoy::{
        Envoy,
        bootstrap::{Listener, bootstrap, cluster, http2_cluster},
        client::{Connection, Request},
        grpc,
    },
    upstream::{Seen, Upstream},
};

struct Plain {
    envoy: Envoy,
    upstream: Upstream,
}

fn plain() -> Plain {
    let upstream = Upstream::start().unwrap();
    let clusters = [
        cluster("upstream", upstream.address()),
        http2_cluster("upstream_http2", upstream.address()),
    ];
    let listeners = ["upstream", "upstream_http2"].map(|name| {
        Listener { name, filters: vec![], cluster: name, access_log: None, hardened: true }
            .to_json()
    });
    let envoy = Envoy::builder(&bootstrap(&listeners, &clusters)).start().unwrap();
    Plain { envoy, upstream }
}

#[test]
fn the_upstream_reports_what_reached_it() {
    let plain = plain();
    let address = plain.envoy.listener("upstream").unwrap();
    let mut connection = Connection::open(address).unwrap();
    let request = Request::new("POST", "/a?b=c").header("X-Odd", b"\xff").header("x-odd", "2");
    let answer = connection.exchange(&request.body("hello")).unwrap();
    assert_eq!(answer.status, 200);
    let seen: Seen = serde_json::from_value(answer.json()).unwrap();
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str(), seen.body_bytes),
        ("POST", "/a?b=c", 5)
    );
    assert_eq!(seen.header("x-odd"), ["base64:/w==", "2"]);

    let answer = connection.exchange(&Request::get("/a%2fb")).unwrap();
    assert_eq!(answer.status, 400, "escaped slashes are refused by the shipped settings");
    assert_eq!(plain.upstream.requests(), 1);
    assert!(
        plain.envoy.stats("http.upstream.downstream_rq_total").unwrap().values().sum::<u64>() >= 2
    );
}

#[test]
fn trailers_pass_over_http2_and_in_chunks() {
    let plain = plain();
    let address = plain.envoy.listener("upstream_http2").unwrap();
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = grpc::call(address, "/a.B/C", &headers, &[("x-trailer", "1")]).unwrap();
    let seen: Seen = serde_json::from_value(answer.json()).unwrap();
    assert_eq!(seen.trailers, [("x-trailer".to_owned(), "1".to_owned())]);

    let request = Request::new("POST", "/").body("x").trailer("x-trailer", "2");
    let seen: Seen = serde_json::from_value(request.send(address).unwrap().json()).unwrap();
    assert_eq!(seen.trailers, [("x-trailer".to_owned(), "2".to_owned())]);
}

#[test]
fn a_bad_configuration_is_refused_with_what_envoy_says() {
    let configuration = serde_json::json!({"admin": {"no_such_key": 1}});
    let error = Envoy::builder(&configuration).validate().unwrap_err().to_string();
    assert!(error.contains("no_such_key"), "{error}");
    let error = format!("{:#}", Envoy::builder(&configuration).start().err().unwrap());
    assert!(error.contains("no_such_key"), "{error}");
}
