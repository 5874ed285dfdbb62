//! Finds the master that has our keys, and connects to it.
//!
//! All keys of one system share a slot, so there is always exactly one such server, whatever runs:
//! Sentinels and Clusters differ only in whom to ask for it.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ClientTlsConfig, ConnectionAddr, ErrorKind, IntoConnectionInfo,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, Value,
};
use wardgate_core::secret::Secret;

use crate::config::{RedisMode, RedisSettings, RedisUrl};

/// A new connection to the master.
pub(super) async fn connect_to_master(
    settings: &RedisSettings,
    slot_key: &str,
) -> RedisResult<MultiplexedConnection> {
    let mut connection = match settings.mode {
        RedisMode::Single => first(settings, |url| connect(settings, url, User::Data)).await?,
        RedisMode::Sentinel => {
            // Each one asked may be the one that is cut off and tells of an old master.
            first(settings, |url| by_sentinel(settings, url)).await?
        }
        RedisMode::Cluster => first(settings, |url| by_cluster(settings, url, slot_key)).await?,
    };
    check_master(&mut connection).await?;
    Ok(connection)
}

/// The first that succeeds; the error of the last if none does.
async fn first<'a, F>(
    settings: &'a RedisSettings,
    attempt: impl Fn(&'a RedisUrl) -> F,
) -> RedisResult<MultiplexedConnection>
where
    F: Future<Output = RedisResult<MultiplexedConnection>>,
{
    let mut last = RedisError::from((ErrorKind::InvalidClientConfig, "no address"));
    for url in &settings.urls {
        match attempt(url).await {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn by_sentinel(
    settings: &RedisSettings,
    url: &RedisUrl,
) -> RedisResult<MultiplexedConnection> {
    let mut sentinel = connect(settings, url, User::Sentinel).await?;
    let mut ask = redis::cmd("SENTINEL");
    let answer: Option<(String, u16)> = ask
        .arg("get-master-addr-by-name")
        .arg(&settings.master_name)
        .query_async(&mut sentinel)
        .await?;
    let unknown =
        || RedisError::from((ErrorKind::InvalidClientConfig, "the Sentinel knows no such master"));
    let (host, port) = answer.ok_or_else(unknown)?;
    let master = RedisUrl::Tcp { host, port, tls: url.is_tls() };
    let mut connection = connect(settings, &master, User::Data).await?;
    check_master(&mut connection).await?;
    Ok(connection)
}

async fn by_cluster(
    settings: &RedisSettings,
    url: &RedisUrl,
    slot_key: &str,
) -> RedisResult<MultiplexedConnection> {
    let mut node = connect(settings, url, User::Data).await?;
    let mut ask = redis::cmd("CLUSTER");
    let slot: i64 = ask.arg("KEYSLOT").arg(slot_key).query_async(&mut node).await?;
    let slots: Vec<Vec<Value>> = redis::cmd("CLUSTER").arg("SLOTS").query_async(&mut node).await?;
    let unserved = || {
        RedisError::from((ErrorKind::InvalidClientConfig, "no node of the Cluster has our slot"))
    };
    let (host, port) = slots.iter().find_map(|range| owner(range, slot)).ok_or_else(unserved)?;
    // A node that does not know its own name leaves it out: it is the one asked.
    let host = match (host, url) {
        (Some(host), _) => host,
        (None, RedisUrl::Tcp { host, .. }) => host.clone(),
        (None, RedisUrl::Unix(_)) => return Err(unserved()),
    };
    let master = RedisUrl::Tcp { host, port, tls: url.is_tls() };
    let mut connection = connect(settings, &master, User::Data).await?;
    check_master(&mut connection).await?;
    Ok(connection)
}

/// The address of the master of a range of `CLUSTER SLOTS`, if the slot is in it.
fn owner(range: &[Value], slot: i64) -> Option<(Option<String>, u16)> {
    let [Value::Int(start), Value::Int(end), Value::Array(master), ..] = range else {
        return None;
    };
    if !(*start..=*end).contains(&slot) {
        return None;
    }
    let [host, Value::Int(port), ..] = master.as_slice() else { return None };
    let host: Option<String> = redis::from_redis_value_ref(host).ok()?;
    Some((host.filter(|host| !host.is_empty()), u16::try_from(*port).ok()?))
}

/// A replica refuses writes, and what it reads to us may be old.
async fn check_master(connection: &mut MultiplexedConnection) -> RedisResult<()> {
    let role: Vec<Value> = redis::cmd("ROLE").query_async(connection).await?;
    let role: Option<String> = role.first().map(redis::from_redis_value_ref).transpose()?;
    if role.as_deref() == Some("master") {
        return Ok(());
    }
    Err(RedisError::from((ErrorKind::InvalidClientConfig, "the server is not a master")))
}

/// Whose name and password.
#[derive(Clone, Copy)]
enum User {
    Data,
    Sentinel,
}

async fn connect(
    settings: &RedisSettings,
    url: &RedisUrl,
    user: User,
) -> RedisResult<MultiplexedConnection> {
    let client = client(settings, url, user)?;
    // A WAIT is answered when its own time is over, at the latest.
    let response = settings.timeout.saturating_add(settings.wait_timeout);
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(connect_timeout(settings)))
        .set_response_timeout(Some(response));
    client.get_multiplexed_async_connection_with_config(&config).await
}

/// Several addresses must be tried within the time of one command: one of them may be silent.
fn connect_timeout(settings: &RedisSettings) -> Duration {
    let tries = u32::try_from(settings.urls.len()).unwrap_or(u32::MAX).max(1);
    settings.timeout.checked_div(tries).unwrap_or(settings.timeout).max(Duration::from_millis(10))
}

fn client(settings: &RedisSettings, url: &RedisUrl, user: User) -> RedisResult<Client> {
    let (name, password) = match user {
        User::Data => (&settings.username, &settings.password),
        User::Sentinel => (&settings.sentinel_username, &settings.sentinel_password),
    };
    let mut login = RedisConnectionInfo::default().set_skip_set_lib_name();
    if let Some(name) = name {
        login = login.set_username(name);
    }
    if let Some(password) = password.as_ref().map(text) {
        login = login.set_password(password);
    }
    let address = match url {
        RedisUrl::Unix(path) => ConnectionAddr::Unix(path.into()),
        RedisUrl::Tcp { host, port, tls: false } => ConnectionAddr::Tcp(host.clone(), *port),
        RedisUrl::Tcp { host, port, tls: true } => ConnectionAddr::TcpTls {
            host: host.clone(),
            port: *port,
            insecure: false,
            tls_params: None,
        },
    };
    let address = address.into_connection_info()?.set_redis_settings(login);
    if !url.is_tls() {
        return Client::open(address);
    }
    // Chosen by name: another crate of the build may bring a second one, and then none is chosen.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let client_tls = settings.tls.client.as_ref().map(|(certificate, key)| ClientTlsConfig {
        client_cert: certificate.clone(),
        client_key: key.expose().to_vec(),
    });
    let root_cert = settings.tls.ca.clone();
    Client::build_with_tls(address, TlsCertificates { client_tls, root_cert })
}

/// Checked to be UTF-8 when it was read.
fn text(password: &Secret) -> &str {
    core::str::from_utf8(password.expose()).unwrap_or_default()
}
