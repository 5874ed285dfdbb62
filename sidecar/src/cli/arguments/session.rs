//! The arguments of `session`.

use clap::{Args, Subcommand};

use super::{From, Output};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Session {
    /// Shows who is logged in: each login with refresh tokens, by client.
    #[command(after_help = "\
Examples:
  wardgate session list
  wardgate session list --user usr_4f5c… --output json")]
    List(ListSessions),
    /// Ends a session, or all sessions of a user: no token of it is refreshed, and every filter
    /// refuses its access tokens from then on.
    #[command(after_help = "\
Examples:
  wardgate session revoke 3q2-7wAAAAAAAAAA
  wardgate session revoke --user usr_4f5c…")]
    Revoke(RevokeSessions),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ListSessions {
    /// Those of this user, by id (the `sub` of the tokens).
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) user: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("which").required(true).multiple(false))]
pub(in crate::cli) struct RevokeSessions {
    /// The session, by its id (the `sid` of its access tokens).
    #[arg(group = "which", value_name = "SESSION")]
    pub(in crate::cli) id: Option<String>,
    /// All sessions of this user, by id (the `sub` of the tokens).
    #[arg(long, group = "which", value_name = "ID")]
    pub(in crate::cli) user: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}
