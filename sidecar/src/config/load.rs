//! Reads the configuration file and everything that it names.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use wardgate_core::base64url;
use wardgate_core::config::{At, Problems, Read as _};
use wardgate_core::policy::Policy;
use wardgate_core::secret::Secret;
use wardgate_core::wire::mac::MIN_SECRET_BYTES;
use zeroize::Zeroizing;

use super::sections::Config;
use super::social_providers::social_providers;
use super::store::{StoreSettings, store_settings};
use super::yaml::{Document, MAX_FILE_BYTES, Place};
use crate::notify::NotifySettings;
use crate::seal::StoreKeys;
use crate::social::ProviderSettings;

/// A secret file holds some keys; a larger one is the wrong file.
const MAX_SECRET_FILE_BYTES: u64 = 64 * 1024;

/// One thing wrong with a file: where and what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct FileProblem {
    /// The file.
    pub file: PathBuf,
    /// The place in it, if it could be read.
    pub place: Option<Place>,
    /// The path of the key, empty for the whole file.
    pub path: String,
    /// What is wrong; never a secret.
    pub message: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.file.display())?;
        if let Some(place) = self.place {
            write!(formatter, ":{}:{}", place.line, place.column)?;
        }
        if !self.path.is_empty() {
            write!(formatter, ": {}", self.path)?;
        }
        write!(formatter, ": {}", self.message)
    }
}

/// A configuration and what it names, checked.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// Directory that relative paths start at.
    directory: PathBuf,
    /// The feed secret.
    pub feed_secret: Secret,
    /// The keys that seal secrets in the store.
    pub store_keys: StoreKeys,
    /// Where records are kept, with the password and certificates.
    pub store: StoreSettings,
    /// Who is told of API keys that end soon.
    pub notify: Option<NotifySettings>,
    /// Providers whose tokens are kept for users, by name.
    pub social_providers: BTreeMap<String, ProviderSettings>,
    /// The policy document, as JSON.
    pub policy: Value,
    /// The file that it was read from.
    pub policy_file: PathBuf,
}

impl Loaded {
    /// A path of the configuration, from where the process stands.
    pub fn resolve(&self, path: &str) -> PathBuf {
        self.directory.join(path)
    }
}

/// Reads the configuration file, the secrets and the policy that it names.
///
/// # Errors
///
/// Every problem of every file.
pub fn load(file: &Path, policy: Option<&Path>) -> Result<Loaded, Vec<FileProblem>> {
    let document = read_document(file)?;
    let mut found = Problems::new();
    let config = Config::read(&document.value, &At::ROOT, &mut found);
    let directory = file.parent().unwrap_or(Path::new("")).to_owned();
    let secrets = Secrets::read(&document.value, &directory, &mut found);
    let store = store_settings(&document.value, &directory, &mut found);
    let notify = notify_settings(config.as_ref(), &directory, &mut found);
    let social_providers = social_providers(config.as_ref(), &directory, &mut found);
    directories(&document.value, &directory, &mut found);
    let mut problems = located(file, &document, found);
    let policy_file = policy
        .map(Path::to_owned)
        .or_else(|| text_at(&document.value, "policy", "file").map(|path| directory.join(path)));
    let policy = policy_file.and_then(|file| {
        let read = load_policy(&file).map_err(|found| problems.extend(found)).ok();
        Some((read?, file))
    });
    match (config, secrets.feed, secrets.store_keys, store, policy) {
        (Some(config), Some(feed_secret), Some(store_keys), Some(store), Some(policy))
            if problems.is_empty() =>
        {
            let (policy, policy_file) = policy;
            Ok(Loaded {
                config,
                directory,
                feed_secret,
                store_keys,
                store,
                notify,
                social_providers,
                policy,
                policy_file,
            })
        }
        _ => Err(problems),
    }
}

/// Reads and checks a policy file.
///
/// # Errors
///
/// Every problem, each with its line.
pub fn load_policy(file: &Path) -> Result<Value, Vec<FileProblem>> {
    let document = read_document(file)?;
    match Policy::read(&document.value) {
        Ok(_) => Ok(document.value),
        Err(found) => Err(located(file, &document, found)),
    }
}

fn located(file: &Path, document: &Document, found: Problems) -> Vec<FileProblem> {
    let mut problems: Vec<FileProblem> = found
        .into_iter()
        .map(|problem| FileProblem {
            file: file.to_owned(),
            place: Some(document.place(&problem.path)),
            path: problem.path,
            message: problem.message,
        })
        .collect();
    problems.sort_by_key(|problem| problem.place);
    problems
}

fn read_document(file: &Path) -> Result<Document, Vec<FileProblem>> {
    let whole = |message: String| {
        vec![FileProblem { file: file.to_owned(), place: None, path: String::new(), message }]
    };
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let text =
        read_file(file, limit).map_err(|message| whole(format!("cannot be read: {message}")))?;
    let text = std::str::from_utf8(&text).map_err(|_| whole("is not UTF-8".to_owned()))?;
    Document::parse(text).map_err(|found| {
        let located = found.into_iter().map(|problem| FileProblem {
            file: file.to_owned(),
            place: Some(problem.place),
            path: problem.path,
            message: problem.message,
        });
        located.collect()
    })
}

pub(super) fn read_file(file: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let file = fs::File::open(file).map_err(|error| error.to_string())?;
    read_open(&file, limit)
}

fn read_open(file: &fs::File, limit: u64) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > limit {
        return Err(format!("longer than {limit} bytes"));
    }
    Ok(bytes)
}

struct Secrets {
    feed: Option<Secret>,
    store_keys: Option<StoreKeys>,
}

impl Secrets {
    /// Reads what the section names even when other sections have problems, so that a person sees
    /// all of them at once.
    fn read(document: &Value, directory: &Path, problems: &mut Problems) -> Self {
        let section = At::ROOT.name("secrets");
        let at_file = section.name("feed_secret_file");
        let at_env = section.name("feed_secret_env");
        let file = text_at(document, "secrets", "feed_secret_file");
        let variable = text_at(document, "secrets", "feed_secret_env");
        let feed = match (file, variable) {
            (Some(path), None) => secret_file(&directory.join(path), &at_file, problems)
                .and_then(|text| feed_secret(&text, &at_file, problems)),
            (None, Some(name)) => {
                let text = std::env::var(name).map(Zeroizing::new).ok();
                if text.is_none() {
                    at_env.problem(problems, format!("the environment variable {name} is not set"));
                }
                text.and_then(|text| feed_secret(text.as_bytes(), &at_env, problems))
            }
            (Some(_), Some(_)) => {
                at_env.problem(problems, "give feed_secret_file or feed_secret_env, not both");
                None
            }
            (None, None) => {
                at_file.problem(problems, "feed_secret_file or feed_secret_env is missing");
                None
            }
        };
        let at_keys = section.name("store_keys_file");
        let store_keys = text_at(document, "secrets", "store_keys_file")
            .and_then(|path| secret_file(&directory.join(path), &at_keys, problems))
            .and_then(|text| {
                let keys = StoreKeys::parse(core::str::from_utf8(&text).unwrap_or_default());
                keys.map_err(|error| at_keys.problem(problems, error.to_string())).ok()
            });
        Self { feed, store_keys }
    }
}

fn feed_secret(text: &[u8], at: &At<'_>, problems: &mut Problems) -> Option<Secret> {
    shared_secret(text, "the feed secret", at, problems)
}

fn shared_secret(text: &[u8], what: &str, at: &At<'_>, problems: &mut Problems) -> Option<Secret> {
    let bytes = base64url::decode(text.trim_ascii());
    match bytes {
        Some(bytes) if bytes.len() >= MIN_SECRET_BYTES => Some(Secret::new(bytes)),
        _ => {
            let message = format!("{what} is not at least {MIN_SECRET_BYTES} bytes as base64url");
            at.problem(problems, message);
            None
        }
    }
}

/// The webhook with its secret and certificates. What is wrong with them is a problem of the file.
fn notify_settings(
    config: Option<&Config>,
    directory: &Path,
    problems: &mut Problems,
) -> Option<NotifySettings> {
    let section = config?.notify.as_ref()?;
    let at = At::ROOT.name("notify");
    let at_secret = at.name("secret_file");
    let secret = secret_file(&directory.join(&*section.secret_file), &at_secret, problems);
    let secret = secret.and_then(|text| shared_secret(&text, "the secret", &at_secret, problems));
    let at_ca = at.name("ca_file");
    let ca_pem = section.ca_file.as_ref().map(|path| {
        let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
        let read = read_file(&directory.join(&**path), limit);
        read.map_err(|error| at_ca.problem(problems, format!("cannot be read: {error}"))).ok()
    });
    let ca_pem = match ca_pem {
        Some(pem) => Some(pem?.to_vec()),
        None => None,
    };
    Some(NotifySettings { url: section.webhook_url.clone(), secret: secret?, ca_pem })
}

/// Reads a file that belongs to this user, or to root, and that nobody else may read.
pub(super) fn secret_file(
    file: &Path,
    at: &At<'_>,
    problems: &mut Problems,
) -> Option<Zeroizing<Vec<u8>>> {
    let shown = file.display();
    // Opened once: what is looked at is what is read, whatever the name comes to mean in between.
    let opened = fs::File::open(file).and_then(|file| Ok((file.metadata()?, file)));
    let (metadata, opened) = match opened {
        Ok(opened) => opened,
        Err(error) => {
            at.problem(problems, format!("{shown} cannot be read: {error}"));
            return None;
        }
    };
    let us = rustix::process::geteuid().as_raw();
    if let Some(wrong) = not_ours_alone(metadata.mode(), metadata.uid(), us) {
        at.problem(problems, format!("{shown} {wrong}"));
    }
    let read = read_open(&opened, MAX_SECRET_FILE_BYTES);
    read.map_err(|error| at.problem(problems, format!("{shown} cannot be read: {error}"))).ok()
}

/// Why a file of this mode and owner is no place for a secret of user `us`.
fn not_ours_alone(mode: u32, owner: u32, us: u32) -> Option<String> {
    // Another owner knows the secret, or may have put a secret of theirs in its place.
    if owner != us && owner != 0 {
        return Some(format!("belongs to user {owner}: it must belong to user {us} or to root"));
    }
    // Whoever reads the secret can speak as a filter or open the store.
    let mode = mode & 0o777;
    (mode & 0o077 != 0)
        .then(|| format!("has mode {mode:04o}: others may read it; run chmod 600 on it"))
}

/// The directories that files and sockets are made in must be there.
fn directories(document: &Value, directory: &Path, problems: &mut Problems) {
    for (section, key) in
        [("internal", "socket"), ("admin", "socket"), ("store", "path"), ("audit", "file")]
    {
        let Some(path) = text_at(document, section, key) else { continue };
        let file = directory.join(path);
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
        if let Some(parent) = parent.filter(|parent| !parent.is_dir()) {
            let message = format!("the directory {} does not exist", parent.display());
            At::ROOT.name(section).name(key).problem(problems, message);
        }
        // Envoy is told the absolute path.
        let socket = std::path::absolute(&file).map_or(0, |file| file.as_os_str().len());
        if key == "socket" && socket > MAX_SOCKET_PATH_BYTES {
            let message =
                format!("the path has {socket} bytes; a socket may have {MAX_SOCKET_PATH_BYTES}");
            At::ROOT.name(section).name(key).problem(problems, message);
        }
    }
}

/// The size of `sun_path` without the final zero (unix(7)), less the `.new` of a socket in the making.
const MAX_SOCKET_PATH_BYTES: usize = 103;

fn text_at<'a>(document: &'a Value, section: &str, key: &str) -> Option<&'a str> {
    document.get(section)?.get(key)?.as_str().filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests;
