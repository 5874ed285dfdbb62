//! The arguments of `token`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{From, Output, UsageOfTokens};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Token {
    /// Issues an access token, signed by the sidecar's own key.
    #[command(after_help = "\
Examples:
  wardgate token issue --subject alice --audience api --role viewer
  curl -H \"authorization: Bearer $(wardgate token issue --subject alice)\" http://127.0.0.1:10000/
  wardgate token issue --subject alice --algorithm EdDSA --claim tenant=blue --output json")]
    Issue(IssueToken),
    /// Shows what a token says, whether its signature is good, what revokes it, and what a filter
    /// would say. Prints no secret.
    #[command(after_help = "\
Examples:
  wardgate token inspect - < token.txt
  wardgate token inspect --output json - < token.txt")]
    Inspect(InspectToken),
    /// Revokes a token, or all tokens of a session, a subject, a client or a signing key. Every
    /// filter refuses them from then on. There is no way back.
    #[command(after_help = "\
Examples:
  wardgate token revoke - < token.txt
  wardgate token revoke --issuer https://auth.example.com --token-id 4f5c… --reason leaked
  wardgate token revoke --issuer https://auth.example.com --subject alice
  wardgate token revoke --from leaked.txt --reason 'found in a public log'
  wardgate token revoke --from jtis.txt --issuer https://auth.example.com")]
    Revoke(RevokeToken),
    /// Shows how often tokens were issued, used, refreshed and denied.
    #[command(after_help = "\
Examples:
  wardgate token usage
  wardgate token usage --by client --days 7
  wardgate token usage --by user --output json")]
    Usage(UsageOfTokens),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct IssueToken {
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// Who it is for (`sub`).
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) subject: String,
    /// What accepts it (`aud`); may be repeated. Default: `issuer.audiences`.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) audience: Vec<String>,
    /// `ES256`, `EdDSA` or `RS256`. Default: the first of `issuer.algorithms`.
    #[arg(long, value_name = "NAME", value_parser = ["ES256", "EdDSA", "RS256"])]
    pub(in crate::cli) algorithm: Option<String>,
    /// How long it lives; negative for one that has expired. Default:
    /// `issuer.access_token_lifetime_seconds`.
    #[arg(long, value_name = "SECONDS", allow_negative_numbers = true)]
    pub(in crate::cli) expires_in: Option<i64>,
    /// A role (`roles`); may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) role: Vec<String>,
    /// The scopes (`scope`), with spaces between them.
    #[arg(long, value_name = "SCOPES")]
    pub(in crate::cli) scope: Option<String>,
    /// The client (`client_id`). Default: wardgate-cli.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) client_id: Option<String>,
    /// Another claim; the value is JSON, or else a string; may be repeated.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::cli) claim: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct InspectToken {
    /// The token, or `-` to read it from standard input: every process of the machine can read
    /// arguments.
    #[arg(value_name = "TOKEN")]
    pub(in crate::cli) token: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(false))]
pub(in crate::cli) struct RevokeToken {
    /// The token itself, or `-` to read it from standard input: every process of the machine can
    /// read arguments.
    #[arg(group = "what", value_name = "TOKEN")]
    pub(in crate::cli) token: Option<String>,
    /// A token by its `jti`.
    #[arg(long, group = "what", requires = "issuer", value_name = "TEXT")]
    pub(in crate::cli) token_id: Option<String>,
    /// All tokens of a session, by their `sid`.
    #[arg(long, group = "what", requires = "issuer", value_name = "TEXT")]
    pub(in crate::cli) session: Option<String>,
    /// All tokens of a subject that were issued until now, by their `sub`.
    #[arg(long, group = "what", requires = "issuer", value_name = "TEXT")]
    pub(in crate::cli) subject: Option<String>,
    /// All tokens of a client that were issued until now, by their `client_id` or `azp`.
    #[arg(long, group = "what", requires = "issuer", value_name = "TEXT")]
    pub(in crate::cli) client: Option<String>,
    /// All tokens signed with a key, by its `kid`.
    #[arg(long, group = "what", requires = "issuer", value_name = "TEXT")]
    pub(in crate::cli) key_id: Option<String>,
    /// A list of compromised tokens, one a line, or `-` for standard input: tokens, digests of
    /// tokens (`token_digest`), or with --issuer `jti`s. Bad lines are named by their number and do
    /// not hold up the others; run again, it goes on where it broke off.
    #[arg(long = "from", group = "what", value_name = "FILE")]
    pub(in crate::cli) file: Option<PathBuf>,
    /// Looks for problems in the list and revokes nothing.
    #[arg(long, requires = "file")]
    pub(in crate::cli) check: bool,
    /// The `iss` of the tokens.
    #[arg(long, value_name = "URL", conflicts_with = "token")]
    pub(in crate::cli) issuer: Option<String>,
    /// Why, for those who read it later.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) reason: Option<String>,
    /// When the last of the tokens will have expired, in seconds since the epoch. Default: as the
    /// token says, or else after `revocations.keep_seconds`.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) until: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}
