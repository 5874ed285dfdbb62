//! The arguments of `social`.

use clap::{Args, Subcommand};

use super::{From, OneUser, Output};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Social {
    /// Shows what a user has at providers: never the tokens.
    #[command(after_help = "\
Examples:
  wardgate social list alice
  wardgate social list usr_4f5c… --output json")]
    List(OneUser),
    /// Forgets the tokens of a user at a provider, or at all providers of the configuration. What
    /// was handed out before works until it ends: the provider alone can end that.
    // By itself the usage would name the provider before the user.
    #[command(override_usage = "wardgate social delete [OPTIONS] <USER> <PROVIDER|--all>")]
    #[command(after_help = "\
Examples:
  wardgate social delete alice github
  wardgate social delete alice --all")]
    Delete(DeleteSocialTokens),
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub(in crate::cli) struct DeleteSocialTokens {
    /// Name or id of the user.
    pub(in crate::cli) user: String,
    /// The provider, also one that the configuration has no more.
    #[arg(group = "which", value_name = "PROVIDER")]
    pub(in crate::cli) provider: Option<String>,
    /// At all providers of the configuration.
    #[arg(long, group = "which")]
    pub(in crate::cli) all: bool,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}
