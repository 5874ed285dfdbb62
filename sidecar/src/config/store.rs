//! What the section `store` means together with the files and variables that it names.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use wardgate_core::config::{At, NonEmpty, Problems, Read as _};
use wardgate_core::secret::Secret;
use zeroize::Zeroizing;

use super::load::{read_file, secret_file};
use super::redis::{RedisMode, RedisSection, RedisTlsSection, RedisUrl};
use super::sections::StoreSection;

/// Certificates of authorities: the list of an operating system has some 200 KiB.
const MAX_CERTIFICATE_FILE_BYTES: u64 = 1024 * 1024;

/// Which store, and all that is needed to open it.
#[derive(Clone, Debug)]
pub enum StoreSettings {
    /// The embedded store in this file.
    Embedded(PathBuf),
    /// A Redis.
    Redis(Box<RedisSettings>),
}

/// How to reach a Redis. A dump shows no password and no key.
#[derive(Clone, Debug)]
pub struct RedisSettings {
    /// Where to ask.
    pub urls: Vec<RedisUrl>,
    /// What answers there.
    pub mode: RedisMode,
    /// The name of the master, for Sentinels.
    pub master_name: String,
    /// The ACL user.
    pub username: Option<String>,
    /// The password.
    pub password: Option<Secret>,
    /// The ACL user of the Sentinels.
    pub sentinel_username: Option<String>,
    /// The password of the Sentinels.
    pub sentinel_password: Option<Secret>,
    /// Certificates.
    pub tls: TlsFiles,
    /// What keys begin with.
    pub key_prefix: String,
    /// How many replicas must have a change.
    pub wait_replicas: u64,
    /// How long to wait for them.
    pub wait_timeout: Duration,
    /// How long a command may take.
    pub timeout: Duration,
}

/// The contents of the files that TLS needs.
#[derive(Clone, Default)]
pub struct TlsFiles {
    /// The authorities, PEM.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key, PEM.
    pub client: Option<(Vec<u8>, Secret)>,
}

impl fmt::Debug for TlsFiles {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (ca, client) = (self.ca.is_some(), self.client.is_some());
        formatter.debug_struct("TlsFiles").field("ca", &ca).field("client", &client).finish()
    }
}

/// Reads what the section names even when other sections have problems, so that a person sees all
/// of them at once. The section itself is judged elsewhere.
pub(crate) fn store_settings(
    document: &Value,
    directory: &Path,
    problems: &mut Problems,
) -> Option<StoreSettings> {
    let at = At::ROOT.name("store");
    let section = StoreSection::read(document.get("store")?, &at, &mut Problems::new())?;
    match (section.path, section.redis) {
        (Some(path), None) => Some(StoreSettings::Embedded(directory.join(&*path))),
        (None, Some(redis)) => redis_settings(redis, directory, &at.name("redis"), problems)
            .map(|settings| StoreSettings::Redis(Box::new(settings))),
        (Some(_), Some(_)) => {
            at.problem(problems, "give path or redis, not both");
            None
        }
        (None, None) => {
            at.problem(problems, "path or redis is missing");
            None
        }
    }
}

fn redis_settings(
    section: RedisSection,
    directory: &Path,
    at: &At<'_>,
    problems: &mut Problems,
) -> Option<RedisSettings> {
    let before = problems.len();
    check(&section, at, problems);
    let password = password(&section, directory, at, problems);
    let sentinel_password = section.sentinel_password_file.as_ref().and_then(|path| {
        password_file(&directory.join(&**path), &at.name("sentinel_password_file"), problems)
    });
    let tls = section.tls.as_ref();
    let tls = tls.map(|tls| tls_files(tls, directory, at, problems)).unwrap_or_default();
    let text = |text: Option<NonEmpty>| text.map(|text| text.0);
    let settings = RedisSettings {
        urls: section.urls,
        mode: section.mode,
        master_name: text(section.master_name).unwrap_or_default(),
        username: text(section.username),
        password,
        sentinel_username: text(section.sentinel_username),
        sentinel_password,
        tls,
        key_prefix: section.key_prefix.0,
        wait_replicas: section.wait_replicas.0,
        wait_timeout: Duration::from_millis(section.wait_timeout_milliseconds.0),
        timeout: Duration::from_millis(section.timeout_milliseconds.0),
    };
    (problems.len() == before).then_some(settings)
}

/// What no single key can know of the others.
fn check(section: &RedisSection, at: &At<'_>, problems: &mut Problems) {
    let at_urls = at.name("urls");
    let of_tls = section.urls.iter().filter(|url| url.is_tls()).count();
    match (section.mode, section.urls.len()) {
        (_, 0) => at_urls.problem(problems, "there must be one"),
        (RedisMode::Single, 2..) => {
            at_urls.problem(problems, "a single server has one URL; set mode for several");
        }
        (RedisMode::Single, _) => {}
        (RedisMode::Sentinel | RedisMode::Cluster, _) => {
            if section.urls.iter().any(|url| matches!(url, RedisUrl::Unix(_))) {
                at_urls.problem(problems, "a socket is for mode single");
            }
            // The others of a Cluster and the master are reached as these are: with a mixture,
            // some would silently be spoken to in clear.
            if of_tls != 0 && of_tls != section.urls.len() {
                at_urls.problem(problems, "use redis:// or rediss:// for all, not both");
            }
        }
    }
    if section.tls.is_some() && of_tls == 0 {
        at.name("tls").problem(problems, "needs rediss:// in urls");
    }
    let sentinel = section.mode == RedisMode::Sentinel;
    if sentinel && section.master_name.is_none() {
        at.name("master_name").problem(problems, "is required for mode sentinel");
    }
    for (key, given) in [
        ("master_name", section.master_name.is_some()),
        ("sentinel_username", section.sentinel_username.is_some()),
        ("sentinel_password_file", section.sentinel_password_file.is_some()),
    ] {
        if given && !sentinel {
            at.name(key).problem(problems, "is for mode sentinel only");
        }
    }
}

fn password(
    section: &RedisSection,
    directory: &Path,
    at: &At<'_>,
    problems: &mut Problems,
) -> Option<Secret> {
    match (&section.password_file, &section.password_env) {
        (Some(path), None) => {
            password_file(&directory.join(&**path), &at.name("password_file"), problems)
        }
        (None, Some(name)) => {
            let text = std::env::var(&**name).map(Zeroizing::new).unwrap_or_default();
            if text.is_empty() {
                let message = format!("the environment variable {} is not set", &**name);
                at.name("password_env").problem(problems, message);
            }
            Some(Secret::new(text.trim().as_bytes().to_vec()))
        }
        (Some(_), Some(_)) => {
            let message = "give password_file or password_env, not both";
            at.name("password_env").problem(problems, message);
            None
        }
        (None, None) => {
            if section.username.is_some() {
                let message = "a user needs password_file or password_env";
                at.name("username").problem(problems, message);
            }
            None
        }
    }
}

fn password_file(file: &Path, at: &At<'_>, problems: &mut Problems) -> Option<Secret> {
    let text = secret_file(file, at, problems)?;
    let text = text.trim_ascii();
    if text.is_empty() || core::str::from_utf8(text).is_err() {
        at.problem(problems, format!("{} has no password", file.display()));
        return None;
    }
    Some(Secret::new(text.to_vec()))
}

fn tls_files(
    section: &RedisTlsSection,
    directory: &Path,
    at: &At<'_>,
    problems: &mut Problems,
) -> TlsFiles {
    let at = at.name("tls");
    let pem = |path: &Option<NonEmpty>, key: &str, problems: &mut Problems| {
        let file = directory.join(&**path.as_ref()?);
        let read = read_file(&file, MAX_CERTIFICATE_FILE_BYTES);
        let shown = file.display();
        read.map_err(|error| {
            at.name(key).problem(problems, format!("{shown} cannot be read: {error}"));
        })
        .map(|bytes| bytes.to_vec())
        .ok()
    };
    let ca = pem(&section.ca_file, "ca_file", problems);
    let certificate = pem(&section.certificate_file, "certificate_file", problems);
    let key = section.key_file.as_ref().and_then(|path| {
        secret_file(&directory.join(&**path), &at.name("key_file"), problems)
            .map(|bytes| Secret::new(bytes.to_vec()))
    });
    if section.certificate_file.is_some() != section.key_file.is_some() {
        at.problem(problems, "certificate_file and key_file belong together");
    }
    TlsFiles { ca, client: certificate.zip(key) }
}
