//! Clients of others get, use, refresh, exchange, inspect and revoke tokens, through Envoy.

use std::path::Path;

use wardgate_host_tests::python;

use crate::oauth_support::Service;

#[track_caller]
fn check(program: &Path, script: &str) {
    let service = Service::start();
    let wrong = service.run(program, script);
    assert!(wrong.is_empty(), "{wrong:#?}\n{}", service.sidecar.log());
    assert_eq!(service.envoy.traps().unwrap(), 0, "{}", service.envoy.log());
}

#[test]
fn openid_client_drives_every_grant() {
    check(Path::new("node"), "javascript/openid-client.mjs");
}

#[test]
fn oauth4webapi_drives_every_grant() {
    check(Path::new("node"), "javascript/oauth4webapi.mjs");
}

#[test]
fn authlib_drives_every_grant() {
    check(&python::interpreter().unwrap(), "python/authlib_client.py");
}
