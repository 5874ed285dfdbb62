//! Envoy configurations made by tests and benches. The ones that people copy stand in `envoy/`.

use std::{net::SocketAddr, path::Path};

use serde_json::{Value, json};

/// The configuration that `wardgate envoy config` fills in: what the filter may do stands there.
const SHIPPED: &str = include_str!("../../../sidecar/src/cli/envoy/bootstrap.yaml");

/// The functions that Envoy may call in the filter, and the filter in Envoy, as shipped.
pub fn capabilities() -> impl Iterator<Item = &'static str> {
    let mut lines = SHIPPED.lines().skip_while(|line| !line.contains("allowed_capabilities:"));
    lines.next();
    lines.map_while(|line| line.trim().strip_suffix(": {}"))
}

/// A listener of a test.
pub struct Listener<'a> {
    /// The name, by which [`super::Envoy::listener`] finds its address.
    pub name: &'a str,
    /// Filters before the router.
    pub filters: Vec<Value>,
    /// The cluster that requests go to; if empty, Envoy answers 200 itself.
    pub cluster: &'a str,
    /// File and line format of the access log.
    pub access_log: Option<(&'a Path, &'a str)>,
    /// Whether Envoy refuses and normalizes on its own what it can, as in the shipped configurations;
    /// without it the gate sees what was sent.
    pub hardened: bool,
}

impl Listener<'_> {
    /// As Envoy wants it.
    pub fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "address": address(SocketAddr::from(([127, 0, 0, 1], 0))),
            "filter_chains": [{"filters": [{
                "name": "envoy.filters.network.http_connection_manager",
                "typed_config": self.connection_manager(),
            }]}],
        })
    }

    fn connection_manager(&self) -> Value {
        let mut filters = self.filters.clone();
        filters.push(json!({
            "name": "envoy.filters.http.router",
            "typed_config": {"@type": type_url("extensions.filters.http.router.v3.Router")},
        }));
        let access_log: Vec<_> =
            self.access_log.iter().map(|(file, format)| file_log(file, format)).collect();
        json!({
            "@type": type_url(
                "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
            ),
            "stat_prefix": self.name,
            "codec_type": "AUTO",
            "use_remote_address": true,
            "normalize_path": self.hardened,
            "merge_slashes": self.hardened,
            "path_with_escaped_slashes_action": if self.hardened { "REJECT_REQUEST" } else { "KEEP_UNCHANGED" },
            "common_http_protocol_options": {
                "headers_with_underscores_action": if self.hardened { "REJECT_REQUEST" } else { "ALLOW" },
            },
            "http_protocol_options": {"enable_trailers": true},
            "stream_idle_timeout": "15s",
            "access_log": access_log,
            "http_filters": filters,
            "route_config": {"name": "tests", "virtual_hosts": [{
                "name": "all",
                "domains": ["*"],
                "routes": [self.route()],
            }]},
        })
    }

    fn route(&self) -> Value {
        let mut route = json!({"name": "all", "match": {"prefix": "/"}});
        let (key, value) = if self.cluster.is_empty() {
            ("direct_response", json!({"status": 200, "body": {"inline_string": "ok"}}))
        } else {
            ("route", json!({"cluster": self.cluster}))
        };
        if let Some(route) = route.as_object_mut() {
            route.insert(key.to_owned(), value);
        }
        route
    }
}

fn file_log(file: &Path, format: &str) -> Value {
    json!({
        "name": "envoy.access_loggers.file",
        "typed_config": {
            "@type": type_url("extensions.access_loggers.file.v3.FileAccessLog"),
            "path": file,
            "log_format": {"text_format_source": {"inline_string": format}},
        },
    })
}

/// A whole configuration; the administration interface gets a free port.
pub fn bootstrap(listeners: &[Value], clusters: &[Value]) -> Value {
    json!({
        "admin": {"address": address(SocketAddr::from(([127, 0, 0, 1], 0)))},
        "static_resources": {"listeners": listeners, "clusters": clusters},
    })
}

/// A cluster of one address, spoken to by HTTP/1.1.
pub fn cluster(name: &str, target: SocketAddr) -> Value {
    endpoint_cluster(name, &address(target))
}

/// A cluster of one address that is spoken to by HTTP/2, as gRPC needs it.
pub fn http2_cluster(name: &str, target: SocketAddr) -> Value {
    over_http2(endpoint_cluster(name, &address(target)))
}

/// A cluster of several addresses in turn, spoken to by HTTP/2: the sidecars of a mesh.
pub fn balanced_cluster(name: &str, targets: &[SocketAddr]) -> Value {
    let endpoints: Vec<_> =
        targets.iter().map(|target| json!({"endpoint": {"address": address(*target)}})).collect();
    let mut cluster = endpoint_cluster(name, &Value::Null);
    if let Some(found) = cluster.pointer_mut("/load_assignment/endpoints/0/lb_endpoints") {
        *found = endpoints.into();
    }
    over_http2(cluster)
}

fn over_http2(mut cluster: Value) -> Value {
    if let Some(object) = cluster.as_object_mut() {
        let options = json!({
            "@type": type_url("extensions.upstreams.http.v3.HttpProtocolOptions"),
            "explicit_http_config": {"http2_protocol_options": {}},
        });
        let key = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions";
        object.insert("typed_extension_protocol_options".to_owned(), json!({key: options}));
    }
    cluster
}

/// A cluster behind a Unix socket, spoken to by HTTP/2, as the sidecar's internal listener is.
pub fn socket_cluster(name: &str, socket: &Path) -> Value {
    over_http2(endpoint_cluster(name, &json!({"pipe": {"path": socket}})))
}

/// A cluster behind a Unix socket, spoken to by HTTP/1.1.
pub fn unix_cluster(name: &str, socket: &Path) -> Value {
    endpoint_cluster(name, &json!({"pipe": {"path": socket}}))
}

fn endpoint_cluster(name: &str, address: &Value) -> Value {
    json!({
        "name": name,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": name, "endpoints": [{
            "lb_endpoints": [{"endpoint": {"address": address}}],
        }]},
    })
}

/// The filter: `configuration` is its JSON, `secret_env` the variable of the feed secret.
pub fn wardgate(wasm: &Path, configuration: &Value, secret_env: &[&str]) -> Value {
    let allowed = capabilities().map(|name| (name.to_owned(), json!({})));
    json!({
        "name": "envoy.filters.http.wasm",
        "typed_config": {
            "@type": type_url("extensions.filters.http.wasm.v3.Wasm"),
            "config": {
                "name": "wardgate",
                "root_id": "wardgate",
                "failure_policy": "FAIL_RELOAD",
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
                "vm_config": {
                    "vm_id": "wardgate",
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": {"local": {"filename": wasm}},
                    "environment_variables": {"host_env_keys": secret_env},
                    "capability_restriction_config": {
                        "allowed_capabilities": allowed.collect::<serde_json::Map<_, _>>(),
                    },
                },
            },
        },
    })
}

/// The type URL of a message of Envoy.
pub fn type_url(message: &str) -> String {
    format!("type.googleapis.com/envoy.{message}")
}

fn address(socket: SocketAddr) -> Value {
    json!({"socket_address": {"address": socket.ip().to_string(), "port_value": socket.port()}})
}

#[cfg(test)]
mod tests {
    use super::capabilities;

    #[test]
    fn the_capabilities_are_those_of_the_shipped_configuration() {
        let found: Vec<_> = capabilities().collect();
        assert!(found.contains(&"proxy_on_request_headers"), "{found:?}");
        assert!(!found.iter().any(|name| name.contains(':')), "{found:?}");
    }
}
