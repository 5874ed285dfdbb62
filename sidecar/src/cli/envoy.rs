//! `envoy config`: a whole Envoy configuration with the filter.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use serde_json::{Value, json};
use wardgate_core::config::plugin::PluginConfig;

use super::arguments::{Envoy, EnvoyConfig, Upstream};
use super::{Failure, loaded, print};
use crate::config::Loaded;

const TEMPLATE: &str = include_str!("envoy/bootstrap.yaml");
const TOKEN_SERVICE_CLUSTER: &str = "
  - name: wardgate_token_service
    type: STATIC
    connect_timeout: 0.5s
    load_assignment:
      cluster_name: wardgate_token_service
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              socket_address: {address: @ADDRESS@, port_value: @PORT@}
";
const SECRET_ENV: &str = "WARDGATE_FEED_SECRET";

pub(super) fn run(envoy: &Envoy) -> Result<(), Failure> {
    let Envoy::Config(asked) = envoy;
    let loaded = loaded(&asked.from.config)?;
    print(&bootstrap(asked, &loaded)?)
}

fn bootstrap(asked: &EnvoyConfig, loaded: &Loaded) -> Result<String, Failure> {
    let plugin = plugin(asked.inline_policy.then_some(&loaded.policy))?;
    let socket = loaded.resolve(&loaded.config.internal.socket);
    // Envoy may be started elsewhere.
    let socket = std::path::absolute(socket).map_err(Failure::failed)?;
    let (kind, host, port) = match &asked.upstream {
        Upstream::Address(address) => ("STATIC", address.ip().to_string(), address.port()),
        Upstream::Name(name, port) => ("STRICT_DNS", name.clone(), *port),
    };
    let filled = [
        ("@LISTEN_ADDRESS@", quoted(&asked.listen.ip().to_string())),
        ("@LISTEN_PORT@", asked.listen.port().to_string()),
        ("@ADMIN_ADDRESS@", quoted(&asked.admin.ip().to_string())),
        ("@ADMIN_PORT@", asked.admin.port().to_string()),
        ("@UPSTREAM_TYPE@", kind.to_owned()),
        ("@UPSTREAM_ADDRESS@", quoted(&host)),
        ("@UPSTREAM_PORT@", port.to_string()),
        ("@ACCESS_LOG@", quoted_path(&asked.access_log)?),
        ("@WASM@", quoted_path(&asked.wasm)?),
        ("@SIDECAR_SOCKET@", quoted_path(&socket)?),
        ("@ENVIRONMENT@", environment(&loaded.policy)),
        ("@PLUGIN@", plugin),
    ];
    let service = token_service(asked, loaded);
    let mut text = TEMPLATE.to_owned();
    for (name, piece) in [
        ("@TOKEN_SERVICE_ROUTES@", service.as_ref().map(|(routes, _)| routes)),
        ("@TOKEN_SERVICE_CLUSTER@", service.as_ref().map(|(_, cluster)| cluster)),
    ] {
        text = text.replace(name, piece.map_or("", String::as_str));
    }
    for (name, value) in filled {
        text = text.replace(name, &value);
    }
    Ok(text)
}

/// The routes to the public listener of the sidecar, and its cluster; nothing where it is not to be
/// reached through this Envoy, or nobody knows its port. `/healthz` and `/metrics` are not for
/// clients.
fn token_service(asked: &EnvoyConfig, loaded: &Loaded) -> Option<(String, String)> {
    let address = loaded.config.listen.0;
    if asked.no_token_service || address.port() == 0 {
        return None;
    }
    // Where it listens everywhere, Envoy is on the same machine.
    let host = match (address.ip(), address.ip().is_unspecified()) {
        (IpAddr::V4(_), true) => IpAddr::from(Ipv4Addr::LOCALHOST),
        (IpAddr::V6(_), true) => IpAddr::from(Ipv6Addr::LOCALHOST),
        (ip, false) => ip,
    };
    // As the metadata names them. What stands below another path is somebody else's.
    let issuer = loaded.config.issuer.issuer.path();
    let matches = [
        ("prefix", format!("{issuer}/oauth2/")),
        ("prefix", format!("{issuer}/auth/")),
        ("path", format!("{issuer}/.well-known/jwks.json")),
        ("path", format!("/.well-known/oauth-authorization-server{issuer}")),
    ];
    let routes = matches.map(|(kind, path)| {
        format!(
            "              - match: {{{kind}: {}}}\n                \
             route: {{cluster: wardgate_token_service}}\n",
            quoted(&path)
        )
    });
    let cluster = TOKEN_SERVICE_CLUSTER
        .replace("@ADDRESS@", &quoted(&host.to_string()))
        .replace("@PORT@", &address.port().to_string());
    Some((routes.concat(), cluster))
}

/// The configuration of the filter, checked by the filter's own reader. Without a policy the filter
/// has that of the feed, which follows the file.
fn plugin(policy: Option<&Value>) -> Result<String, Failure> {
    let mut plugin = json!({"feed": {"cluster": "wardgate_sidecar", "secret_env": SECRET_ENV}});
    if let (Some(policy), Some(members)) = (policy, plugin.as_object_mut()) {
        members.insert("policy".to_owned(), policy.clone());
    }
    PluginConfig::parse(plugin.to_string().as_bytes()).map_err(|problems| {
        let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
        Failure::Failed(problems.join("\n"))
    })?;
    let text = serde_json::to_string_pretty(&plugin).map_err(Failure::failed)?;
    // The indentation of the block scalar in the template.
    Ok(text.replace('\n', "\n                    "))
}

/// The environment variables that the filter may see: the feed secret, and the secrets of issuers
/// with HS*.
fn environment(policy: &Value) -> String {
    let issuers = policy.get("issuers").and_then(Value::as_array);
    let secrets = issuers.into_iter().flatten();
    let secrets = secrets.filter_map(|issuer| issuer.get("hmac_secret_env")?.as_str());
    let names: Vec<String> = std::iter::once(SECRET_ENV).chain(secrets).map(quoted).collect();
    names.join(", ")
}

fn quoted_path(path: &Path) -> Result<String, Failure> {
    let text = path.to_str();
    text.map(quoted).ok_or_else(|| Failure::Failed(format!("{} is not UTF-8", path.display())))
}

/// A string of YAML in double quotes; they are those of JSON.
fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}
