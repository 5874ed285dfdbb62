//! `apikey …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{From, Output};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ApiKey {
    /// Makes a key and shows it, this once.
    #[command(after_help = "\
Examples:
  wardgate apikey create --name ci --environment live --role viewer
  wardgate apikey create --name report --role editor --scope api:read --expires-in 90d
  wardgate apikey create --name billing --network 10.0.0.0/8 --rate-limit 100/60 \\
    --meta team=payments --rotate-every 30d")]
    Create(CreateApiKey),
    /// Shows the keys.
    #[command(after_help = "\
Examples:
  wardgate apikey list --state active --expiring-within 30d
  wardgate apikey list --unused-days 90
  wardgate apikey list --waiting --output json")]
    List(ListApiKeys),
    /// Shows one key.
    Show(OneApiKey),
    /// Changes what a key may do; what is not named stays.
    #[command(after_help = "\
Examples:
  wardgate apikey update ci --role viewer --role editor --expires-in 365d
  wardgate apikey update ci --no-scopes --no-expiry --unset-meta team")]
    Update(ChangeApiKey),
    /// Gives a key a new secret and shows it, this once; the old one works until the grace ends.
    #[command(after_help = "\
Examples:
  wardgate apikey rotate ci --grace 24h
  wardgate apikey rotate ci --grace 0        the old secret stops at once
  wardgate apikey rotate ci --lost           the newest secret was lost before it was used")]
    Rotate(RotateApiKey),
    /// Shows the new secret that a scheduled rotation has made, this once.
    Collect(OneApiKey),
    /// Takes in keys that were made elsewhere, by the SHA-256 of each. Can be repeated.
    #[command(after_help = "\
The file has one JSON object per line, or is CSV with the names of the columns in the first line:
  name,sha256,prefix,roles,expires_at
  ci,9f86d081884c7d65…,acme_,viewer editor,1798761600

Examples:
  wardgate apikey import keys.jsonl
  wardgate apikey import keys.csv --prefix acme_")]
    Import(ImportApiKeys),
    /// Shows how keys are used: one by route, result and day, or all in sum.
    #[command(after_help = "\
Examples:
  wardgate apikey usage ci --days 7
  wardgate apikey usage --output json")]
    Usage(UsageOfApiKeys),
    /// Stops a key for the time being.
    Disable(OneApiKey),
    /// Lets a disabled key work again.
    Enable(OneApiKey),
    /// Stops a key for ever.
    Revoke(OneApiKey),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CreateApiKey {
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// The name, for bindings (`api_key:NAME`) and audit events.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: String,
    /// The environment that stands in the key: 1 to 16 of a-z and 0-9.
    #[arg(long, default_value = "live", value_name = "WORD")]
    pub(in crate::cli) environment: String,
    /// A role; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) role: Vec<String>,
    /// A scope that restricts the key, as in `scope_permissions` of the policy; may be repeated.
    /// Without any nothing is restricted.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) scope: Vec<String>,
    /// Issuer of the owner; with --subject.
    #[arg(long, value_name = "URL", requires = "subject")]
    pub(in crate::cli) issuer: Option<String>,
    /// Subject of the owner; with --issuer.
    #[arg(long, value_name = "TEXT", requires = "issuer")]
    pub(in crate::cli) subject: Option<String>,
    /// How long it works, in seconds or as 90m, 24h, 30d. Default: until it is revoked.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) expires_in: Option<u64>,
    /// An address or network (10.0.0.0/8) that it may be used from; may be repeated. Without any it
    /// may be used from everywhere.
    #[arg(long, value_name = "CIDR")]
    pub(in crate::cli) network: Vec<String>,
    /// How often it may be used: requests in so many seconds, as 100/60.
    #[arg(long, value_name = "REQUESTS/SECONDS", value_parser = rate_limit)]
    pub(in crate::cli) rate_limit: Option<(u64, u64)>,
    /// Something to keep with it; may be repeated.
    #[arg(long, value_name = "NAME=TEXT", value_parser = pair)]
    pub(in crate::cli) meta: Vec<(String, String)>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) description: Option<String>,
    /// Makes a new secret by itself, so often (30d).
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) rotate_every: Option<u64>,
    /// How long the old secret then works after the new one was collected. Default:
    /// `api_keys.grace_seconds`.
    #[arg(long, value_name = "TIME", value_parser = seconds, requires = "rotate_every")]
    pub(in crate::cli) grace: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
#[derive(Args, Debug)]
pub(in crate::cli) struct ChangeApiKey {
    /// Name or id of the key.
    pub(in crate::cli) key: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// The roles, all of them; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) role: Vec<String>,
    /// Takes all roles away.
    #[arg(long, conflicts_with = "role")]
    pub(in crate::cli) no_roles: bool,
    /// The scopes, all of them; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) scope: Vec<String>,
    /// No scope restricts it any more.
    #[arg(long, conflicts_with = "scope")]
    pub(in crate::cli) no_scopes: bool,
    /// The networks, all of them; may be repeated.
    #[arg(long, value_name = "CIDR")]
    pub(in crate::cli) network: Vec<String>,
    /// It may be used from everywhere.
    #[arg(long, conflicts_with = "network")]
    pub(in crate::cli) no_networks: bool,
    /// How often it may be used, as 100/60.
    #[arg(long, value_name = "REQUESTS/SECONDS", value_parser = rate_limit)]
    pub(in crate::cli) rate_limit: Option<(u64, u64)>,
    /// It may be used as often as anybody likes.
    #[arg(long, conflicts_with = "rate_limit")]
    pub(in crate::cli) no_rate_limit: bool,
    /// Something to keep with it; may be repeated.
    #[arg(long, value_name = "NAME=TEXT", value_parser = pair)]
    pub(in crate::cli) meta: Vec<(String, String)>,
    /// Something not to keep any longer; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) unset_meta: Vec<String>,
    /// What it is for; empty for nothing.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) description: Option<String>,
    /// How long it works from now on.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) expires_in: Option<u64>,
    /// It works until it is revoked.
    #[arg(long, conflicts_with = "expires_in")]
    pub(in crate::cli) no_expiry: bool,
    /// Makes a new secret by itself, so often (30d).
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) rotate_every: Option<u64>,
    /// Makes no new secrets by itself.
    #[arg(long, conflicts_with = "rotate_every")]
    pub(in crate::cli) no_rotation: bool,
    /// How long the old secret works after a new one was collected.
    #[arg(long, value_name = "TIME", value_parser = seconds, conflicts_with = "no_rotation")]
    pub(in crate::cli) grace: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct RotateApiKey {
    /// Name or id of the key.
    pub(in crate::cli) key: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// How long the old secret still works. Default: `api_keys.grace_seconds`.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) grace: Option<u64>,
    /// The newest secret was lost before anybody used it: it stops at once, and the one before it
    /// works until the end of the grace.
    #[arg(long)]
    pub(in crate::cli) lost: bool,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ListApiKeys {
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// Only those in this state.
    #[arg(long, value_name = "STATE")]
    pub(in crate::cli) state: Option<State>,
    /// Only those of owners of this issuer.
    #[arg(long, value_name = "URL")]
    pub(in crate::cli) issuer: Option<String>,
    /// Only those of this subject.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) subject: Option<String>,
    /// Only those that end within this time and have not ended.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) expiring_within: Option<u64>,
    /// Only those that were made at least so many days ago and not used since then.
    #[arg(long, value_name = "DAYS")]
    pub(in crate::cli) unused_days: Option<u64>,
    /// Only those whose new secret waits to be collected.
    #[arg(long)]
    pub(in crate::cli) waiting: bool,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::cli) enum State {
    /// Works until it expires.
    Active,
    /// Does not work for the time being.
    Disabled,
    /// Never works again.
    Revoked,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct OneApiKey {
    /// Name or id of the key; a revoked key is found by its id only.
    pub(in crate::cli) key: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ImportApiKeys {
    /// The file: JSON lines, or CSV if its name ends in `.csv`.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// What the keys begin with, for lines that do not say it.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) prefix: Option<String>,
    /// Looks for problems and imports nothing.
    #[arg(long)]
    pub(in crate::cli) check: bool,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct UsageOfApiKeys {
    /// Name or id of the key; without it, the sum of each key.
    pub(in crate::cli) key: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// How many days, today included.
    #[arg(long, default_value_t = 30, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=366))]
    pub(in crate::cli) days: u64,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

/// A time as `90`, `90s`, `15m`, `24h` or `30d`.
pub(super) fn seconds(text: &str) -> Result<u64, &'static str> {
    let wrong = "expected seconds, or a number with s, m, h or d";
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let factor = match text.strip_prefix(digits) {
        Some("" | "s") => 1,
        Some("m") => 60,
        Some("h") => 3600,
        Some("d") => 86_400,
        _ => return Err(wrong),
    };
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<u64>());
    let number = number.and_then(Result::ok).ok_or(wrong)?;
    number.checked_mul(factor).ok_or(wrong)
}

fn rate_limit(text: &str) -> Result<(u64, u64), &'static str> {
    let wrong = "expected requests and seconds, as 100/60";
    let (requests, seconds) = text.split_once('/').ok_or(wrong)?;
    Ok((requests.parse().map_err(|_| wrong)?, seconds.parse().map_err(|_| wrong)?))
}

pub(super) fn pair(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=TEXT")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::seconds;

    #[test]
    fn a_time_has_a_number_and_perhaps_a_unit() {
        for (text, expected) in
            [("90", 90), ("90s", 90), ("15m", 900), ("24h", 86_400), ("30d", 2_592_000), ("0", 0)]
        {
            assert_eq!(seconds(text), Ok(expected), "{text}");
        }
        for wrong in ["", "d", "1w", "-1", "+1", "1.5h", "1 d", "1dd", "99999999999999999999d"] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }
}
