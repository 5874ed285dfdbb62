//! The providers of the configuration, with their secrets and certificates.

use std::collections::BTreeMap;
use std::path::Path;

use wardgate_core::config::{At, NonEmpty, Problems};
use wardgate_core::secret::Secret;

use super::load::{read_file, secret_file};
use super::sections::Config;
use super::social::SocialProviderSection;
use super::yaml::MAX_FILE_BYTES;
use crate::social::ProviderSettings;

/// Longest name of a provider: it stands in paths and in keys of the store.
const MAX_NAME_BYTES: usize = 64;

/// The providers. What is wrong with them is a problem of the file.
pub(super) fn social_providers(
    config: Option<&Config>,
    directory: &Path,
    problems: &mut Problems,
) -> BTreeMap<String, ProviderSettings> {
    let mut providers = BTreeMap::new();
    let section = At::ROOT.name("social_providers");
    for (name, provider) in config.into_iter().flat_map(|config| &config.social_providers) {
        let at = section.name(name);
        // A slash would make the key of one user's tokens that of another's.
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if name.is_empty() || name.len() > MAX_NAME_BYTES || !name.bytes().all(is_name) {
            at.problem(problems, "expected a name of 1 to 64 letters, digits, `-` and `_`");
        }
        if let Some(settings) = settings(provider, &at, directory, problems) {
            providers.insert(name.clone(), settings);
        }
    }
    providers
}

fn settings(
    section: &SocialProviderSection,
    at: &At<'_>,
    directory: &Path,
    problems: &mut Problems,
) -> Option<ProviderSettings> {
    let at_secret = at.name("client_secret_file");
    let secret = section.client_secret_file.as_ref();
    let secret = secret.map(|file| secret_file(&directory.join(&**file), &at_secret, problems));
    let client_secret = match secret {
        Some(text) => {
            let text = text?;
            let trimmed = text.trim_ascii();
            if trimmed.is_empty() || core::str::from_utf8(trimmed).is_err() {
                at_secret.problem(problems, "there is no secret in it, or it is not UTF-8");
                return None;
            }
            Some(Secret::new(trimmed.to_vec()))
        }
        None => None,
    };
    let ca_pem = match &section.ca_file {
        Some(file) => Some(certificates(file, &at.name("ca_file"), directory, problems)?),
        None => None,
    };
    Some(ProviderSettings {
        token_endpoint: section.token_endpoint.clone(),
        client_id: section.client_id.0.clone(),
        client_secret,
        auth_method: section.auth_method,
        rotates_refresh_tokens: section.rotates_refresh_tokens,
        clients: section.clients.iter().map(|client| client.0.clone()).collect(),
        ca_pem,
    })
}

fn certificates(
    file: &NonEmpty,
    at: &At<'_>,
    directory: &Path,
    problems: &mut Problems,
) -> Option<Vec<u8>> {
    let limit = u64::try_from(MAX_FILE_BYTES).unwrap_or(u64::MAX);
    let read = read_file(&directory.join(&**file), limit);
    let read = read.map_err(|error| at.problem(problems, format!("cannot be read: {error}")));
    read.ok().map(|pem| pem.to_vec())
}
