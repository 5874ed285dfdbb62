//! Arguments of `token usage`.

use clap::{Args, ValueEnum};

use super::{From, Output};

#[derive(Args, Debug)]
pub(in crate::cli) struct UsageOfTokens {
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// What the rows are by.
    #[arg(long, value_enum, default_value_t = UsageBy::Type, value_name = "WORD")]
    pub(in crate::cli) by: UsageBy,
    /// How many days, today included.
    #[arg(long, default_value_t = 30, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..=366))]
    pub(in crate::cli) days: u64,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

/// What a report of usage has its rows by.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::cli) enum UsageBy {
    /// The client that the tokens were issued to.
    Client,
    /// The user whose tokens they are.
    User,
    /// The type of the tokens: access, refresh, social, api.
    Type,
    /// The day, in UTC.
    Day,
}
