//! What `envoy/` has for Kubernetes and for Compose: every file is read, and what is said in two
//! places is the same in both.

use std::{collections::BTreeMap, fs, process::Command};

use serde_json::{Value, json};
use wardgate::config::{Config, yaml::Document};
use wardgate_core::{
    config::{At, Problems, Read as _},
    policy::Policy,
};
use wardgate_host_tests::envoy::{repository, sidecar::binary};

use crate::{docker_support::run, wasm_support::Gate};

const SOCKET: &str = "/run/wardgate/internal.sock";

/// The files of a folder of `envoy/` by their names without ending.
fn folder(name: &str) -> BTreeMap<String, Value> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(repository().join("envoy").join(name)).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "yaml") {
            let stem = path.file_stem().unwrap().to_str().unwrap().to_owned();
            files.insert(stem, yaml(&fs::read_to_string(&path).unwrap()));
        }
    }
    files
}

#[track_caller]
fn yaml(text: &str) -> Value {
    Document::parse(text).unwrap_or_else(|problems| panic!("{problems:#?}")).value
}

/// What `wardgate envoy config` prints for a fresh sidecar.
fn shipped() -> Value {
    let directory = tempfile::tempdir().unwrap();
    run(Command::new(binary().unwrap()).arg("init").arg("--dir").arg(directory.path())).unwrap();
    let mut config = Command::new(binary().unwrap());
    let config = config.args(["envoy", "config", "--config"]);
    yaml(&run(config.arg(directory.path().join("wardgate.yaml"))).unwrap())
}

fn shipped_cluster() -> Value {
    let mut cluster = shipped()["static_resources"]["clusters"][1].clone();
    assert_eq!(cluster["name"], "wardgate_sidecar");
    let path = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/pipe/path";
    *cluster.pointer_mut(path).unwrap() = json!(SOCKET);
    cluster
}

/// The sidecar's configuration; it is refused with all its problems.
#[track_caller]
fn sidecar(text: &str) -> Config {
    let mut problems = Problems::new();
    let config = Config::read(&yaml(text), &At::ROOT, &mut problems);
    config.unwrap_or_else(|| panic!("{problems:#?}"))
}

/// The filter takes the configuration, and the sidecar beside it has the same policy and socket.
#[track_caller]
fn check_pair(plugin: &Value, config_map: &Value) {
    // The filter itself judges, in the wasm file.
    Gate::unheard(plugin);
    assert_eq!(plugin["feed"]["cluster"], "wardgate_sidecar");
    assert_eq!(plugin["feed"]["secret_env"], "WARDGATE_FEED_SECRET");
    let text = |key: &str| config_map["data"][key].as_str().unwrap();
    assert_eq!(plugin["policy"], yaml(text("policy.yaml")));
    assert_eq!(sidecar(text("wardgate.yaml")).internal.socket.0, SOCKET);
}

/// The containers run without privileges, and get the secret from the Secret.
#[track_caller]
fn check_pod(pod: &Value) {
    let all = ["initContainers", "containers"].map(|kind| pod[kind].as_array());
    let all: Vec<_> = all.into_iter().flatten().flatten().collect();
    let ours = ["wardgate", "wardgate-keys"]
        .map(|name| *all.iter().find(|container| container["name"] == name).unwrap());
    for container in ours {
        let confined = &container["securityContext"];
        assert_eq!(confined["readOnlyRootFilesystem"], true);
        assert_eq!(confined["runAsNonRoot"], true);
        assert_eq!(confined["allowPrivilegeEscalation"], false);
        assert_eq!(confined["capabilities"]["drop"], json!(["ALL"]));
    }
    check_feed(ours[0]);
}

/// The feed secret in the environment, by reference, and the folder of the socket.
#[track_caller]
fn check_feed(container: &Value) {
    let reference = json!({"secretKeyRef": {"name": "wardgate", "key": "feed.secret"}});
    assert_eq!(container["env"], json!([{"name": "WARDGATE_FEED_SECRET", "valueFrom": reference}]));
    let mounts = container["volumeMounts"].as_array().unwrap();
    assert!(mounts.contains(&json!({"name": "wardgate-run", "mountPath": "/run/wardgate"})));
}

#[test]
fn the_istio_manifests_fit_the_filter_and_each_other() {
    let files = folder("istio");
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    assert_eq!(names, ["config-map", "envoy-filter", "wasm-plugin", "workload"]);
    let plugin = &files["wasm-plugin"]["spec"];
    check_pair(&plugin["pluginConfig"], &files["config-map"]);
    assert_eq!(plugin["failStrategy"], "FAIL_RELOAD");
    let environment = json!([{"name": "WARDGATE_FEED_SECRET", "valueFrom": "HOST"}]);
    assert_eq!(plugin["vmConfig"]["env"], environment);

    let patches = &files["envoy-filter"]["spec"]["configPatches"];
    assert_eq!(patches[0]["patch"]["value"], shipped_cluster());
    let manager = patches[1]["patch"]["value"]["typed_config"].as_object().unwrap();
    assert!(manager.contains_key("stream_idle_timeout"));
    let shipped = shipped();
    let chain = &shipped["static_resources"]["listeners"][0]["filter_chains"][0];
    for (key, value) in manager {
        assert_eq!(&chain["filters"][0]["typed_config"][key], value, "{key}");
    }

    let pod = &files["workload"]["spec"]["template"]["spec"];
    check_pod(pod);
    let containers = pod["containers"].as_array().unwrap();
    check_feed(containers.iter().find(|container| container["name"] == "istio-proxy").unwrap());
    assert_eq!(files["workload"]["spec"]["replicas"], 1, "the store is one file");
}

#[test]
fn the_envoy_gateway_manifests_fit_the_filter_and_each_other() {
    let files = folder("gateway");
    let names: Vec<_> = files.keys().map(String::as_str).collect();
    let expected =
        ["client-traffic-policy", "config-map", "envoy-proxy", "extension-policy", "state"];
    assert_eq!(names, expected);
    let wasm = &files["extension-policy"]["spec"]["wasm"][0];
    check_pair(&wasm["config"], &files["config-map"]);
    assert_eq!(wasm["failOpen"], false);
    assert_eq!(wasm["env"]["hostKeys"], json!(["WARDGATE_FEED_SECRET"]));

    let bootstrap = files["envoy-proxy"]["spec"]["bootstrap"]["value"].as_str().unwrap();
    assert_eq!(yaml(bootstrap)["static_resources"]["clusters"], json!([shipped_cluster()]));
    let deployment = &files["envoy-proxy"]["spec"]["provider"]["kubernetes"]["envoyDeployment"];
    check_pod(deployment);
    check_feed(&deployment["container"]);
    assert_eq!(deployment["replicas"], 1, "the store is one file");
    let traffic = &files["client-traffic-policy"]["spec"];
    assert_eq!(traffic["path"]["escapedSlashesAction"], "RejectRequest");
    assert_eq!(traffic["headers"]["withUnderscoresAction"], "RejectRequest");
    assert_eq!(traffic["timeout"]["http"]["streamIdleTimeout"], "15s");
}

#[test]
fn the_files_of_compose_are_read_and_differ_in_the_network_only() {
    let read = |name: &str| {
        let file = repository().join("envoy").join(name);
        fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()))
    };
    Policy::read(&yaml(&read("compose/policy.yaml"))).unwrap();
    let bridge = sidecar(&read("compose/wardgate.yaml"));
    let host = sidecar(&read("compose/wardgate.host.yaml"));
    assert!(host.listen.0.ip().is_loopback());
    assert_eq!(Config { listen: host.listen, ..bridge }, host);
    assert_eq!(host.internal.socket.0, SOCKET);

    let services = &yaml(&read("compose/services.yaml"))["services"];
    for file in ["docker-compose.yaml", "docker-compose.host.yaml"] {
        let outer = yaml(&read(file));
        for (name, service) in services.as_object().unwrap() {
            let extended = json!({"file": "compose/services.yaml", "service": name});
            assert_eq!(outer["services"][name]["extends"], extended, "{file}");
            assert_eq!(service["read_only"], true, "{name}");
            assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        }
        let started = &outer["services"]["envoy"]["depends_on"]["sidecar"]["condition"];
        assert_eq!(started, "service_healthy", "{file}");
    }
}
