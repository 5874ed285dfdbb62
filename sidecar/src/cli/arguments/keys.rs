//! The arguments of `keys`.

use clap::{Args, Subcommand};

use super::{From, Output};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Keys {
    /// Shows the signing keys and where each is in its life.
    #[command(after_help = "Example:\n  wardgate keys list --output json")]
    List(ListKeys),
    /// Makes new signing keys. Each is published first, and signs after
    /// `signing_keys.publish_ahead_seconds`; the old one stays until its last token has expired.
    #[command(after_help = "\
Examples:
  wardgate keys rotate
  wardgate keys rotate --algorithm ES256
  wardgate keys rotate --at-once --revoke-old --reason 'the store was copied'")]
    Rotate(RotateKeys),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ListKeys {
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct RotateKeys {
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// `ES256`, `EdDSA` or `RS256`. Default: all of `issuer.algorithms`.
    #[arg(long, value_name = "NAME", value_parser = ["ES256", "EdDSA", "RS256"])]
    pub(in crate::cli) algorithm: Option<String>,
    /// The new key signs from now on, for an emergency: whoever has not heard of it yet refuses its
    /// first tokens.
    #[arg(long)]
    pub(in crate::cli) at_once: bool,
    /// Revokes all tokens of all older keys of the algorithm. There is no way back.
    #[arg(long, requires = "at_once")]
    pub(in crate::cli) revoke_old: bool,
    /// Why, for those who read it later.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}
