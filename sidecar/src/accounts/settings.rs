//! What of the configuration is about users.

use std::path::PathBuf;

use super::hash::MAX_WORK_KIB;
use super::{HashParameters, LeakedError, LeakedPasswords, LoginLimits, PasswordRules};
use crate::config::{Loaded, LoginSection, PasswordAlgorithm, PasswordsSection};

/// The settings of [`super::Accounts`].
#[derive(Clone, Debug)]
pub struct AccountSettings {
    /// How new passwords are hashed.
    pub parameters: HashParameters,
    /// Hashes that are computed at once.
    pub at_once: u32,
    /// Hashes that wait.
    pub waiting: u32,
    /// What a new password must be like.
    pub rules: PasswordRules,
    /// The bounds of failed logins.
    pub limits: LoginLimits,
    /// How long a revocation stands, in seconds.
    pub keep_seconds: u64,
    /// The providers at which users have tokens.
    pub social_providers: Vec<String>,
}

/// Why the settings of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum AccountSettingsError {
    /// One login would hold a core for seconds.
    #[error(
        "`passwords`: `argon2_memory_kib` times `argon2_passes` is {0}, expected at most {MAX_WORK_KIB}"
    )]
    Work(u64),
    /// Of the list of leaked passwords.
    #[error("`passwords.leaked_file`: {0}")]
    Leaked(#[from] LeakedError),
}

impl AccountSettings {
    /// Those of a configuration.
    ///
    /// # Errors
    ///
    /// [`AccountSettingsError`] when a password would cost too much, or the list of leaked ones
    /// cannot be used.
    pub fn of(loaded: &Loaded) -> Result<Self, AccountSettingsError> {
        let config = &loaded.config;
        let passwords = &config.passwords;
        let parameters = parameters(passwords);
        if let HashParameters::Argon2id { memory_kib, passes, .. } = parameters {
            let work = u64::from(memory_kib).saturating_mul(u64::from(passes));
            if work > MAX_WORK_KIB {
                return Err(AccountSettingsError::Work(work));
            }
        }
        let leaked: Option<PathBuf> =
            passwords.leaked_file.as_ref().map(|file| loaded.resolve(file));
        let rules = PasswordRules {
            min_letters: passwords.min_length.size(),
            min_score: u8::try_from(passwords.min_score.0).unwrap_or(u8::MAX),
            for_bcrypt: matches!(parameters, HashParameters::Bcrypt { .. }),
            leaked: leaked.as_deref().map(LeakedPasswords::open).transpose()?,
        };
        let at_once = match number(passwords.hashes_at_once.0) {
            0 => std::thread::available_parallelism().map_or(1, |cores| number_of(cores.get())),
            some => some,
        };
        Ok(Self {
            parameters,
            at_once,
            waiting: number(passwords.hashes_waiting.0),
            rules,
            limits: limits(&config.login),
            keep_seconds: config.revocations.keep_seconds.0,
            social_providers: loaded.social_providers.keys().cloned().collect(),
        })
    }
}

fn parameters(section: &PasswordsSection) -> HashParameters {
    match section.algorithm {
        PasswordAlgorithm::Argon2id => HashParameters::Argon2id {
            memory_kib: number(section.argon2_memory_kib.0),
            passes: number(section.argon2_passes.0),
            lanes: number(section.argon2_lanes.0),
        },
        PasswordAlgorithm::Bcrypt => HashParameters::Bcrypt { cost: number(section.bcrypt_cost.0) },
    }
}

fn limits(section: &LoginSection) -> LoginLimits {
    LoginLimits {
        per_network: number(section.failures_per_network.0),
        per_address: number(section.failures_per_address.0),
        per_account: number(section.failures_per_account.0),
        max_delay_seconds: section.max_delay_seconds.0,
        forget_seconds: section.forget_seconds.0,
        remember_seconds: section.remember_networks_days.0.saturating_mul(86_400),
    }
}

/// The configuration bounds it far below.
fn number(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn number_of(value: usize) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}
