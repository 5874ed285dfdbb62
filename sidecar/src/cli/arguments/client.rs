//! `client …`.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand};

use super::api_key::seconds;
use super::{From, ListKeys, Output};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Client {
    /// Makes a client and shows its secret, this once.
    #[command(after_help = "\
Examples:
  wardgate client create --id billing --scope \"read write\" --audience api --role editor
  wardgate client create --id shop --auth-method none --first-party --scope read
  wardgate client create --id job --auth-method private_key_jwt --jwks job.jwks.json
  wardgate client create --id gateway --may-introspect
  wardgate client create --id orders --may-exchange '{\"subject_audiences\": [\"orders\"]}'")]
    Create(Box<CreateClient>),
    /// Shows all clients.
    #[command(after_help = "Example:\n  wardgate client list --output json")]
    List(ListKeys),
    /// Shows one client.
    #[command(after_help = "Example:\n  wardgate client show billing")]
    Show(OneClient),
    /// Changes what is registered of a client; what is not named stays.
    #[command(after_help = "\
Examples:
  wardgate client update billing --scope read --access-lifetime 2m
  wardgate client update billing --disabled
  wardgate client update billing --disabled=false --unset scope")]
    Update(Box<UpdateClient>),
    /// Gives a client a new secret and shows it, this once; the old one works until the grace ends.
    #[command(after_help = "\
Examples:
  wardgate client rotate-secret billing --grace 24h
  wardgate client rotate-secret billing --grace 0    the old secret stops at once")]
    RotateSecret(RotateClientSecret),
    /// Forgets a client and revokes all its tokens.
    #[command(after_help = "Example:\n  wardgate client delete billing")]
    Delete(OneClient),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CreateClient {
    /// Its id. Default: a random one.
    #[arg(long, value_name = "ID")]
    pub(in crate::cli) id: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) members: ClientMembers,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct UpdateClient {
    /// Its id.
    pub(in crate::cli) id: String,
    #[command(flatten)]
    pub(in crate::cli) members: ClientMembers,
    /// A member of the registration that is taken away, by its name there (`scope`); may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) unset: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

/// What is registered of a client.
#[derive(Args, Debug)]
pub(in crate::cli) struct ClientMembers {
    /// A name for people (`client_name`).
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) name: Option<String>,
    /// A way to get tokens; may be repeated. Default: `client_credentials`, or `refresh_token` for
    /// public and first-party clients.
    #[arg(long, value_name = "NAME", value_parser = ["client_credentials", "refresh_token", "token-exchange"])]
    pub(in crate::cli) grant: Vec<String>,
    /// How it shows who it is (`token_endpoint_auth_method`). Default: `client_secret_basic`.
    #[arg(long, value_name = "NAME", value_parser = methods())]
    pub(in crate::cli) auth_method: Option<String>,
    /// The scopes that it may ask for, with spaces between them.
    #[arg(long, value_name = "SCOPES")]
    pub(in crate::cli) scope: Option<String>,
    /// File with its public keys, or its certificate, as a JWK Set.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) jwks: Option<PathBuf>,
    /// The subject of its certificate, as CN=billing,O=Example.
    #[arg(long, value_name = "DN")]
    pub(in crate::cli) subject_dn: Option<String>,
    /// What its tokens may be for; may be repeated. Default: `issuer.audiences`.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) audience: Vec<String>,
    /// A role of its own tokens; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) role: Vec<String>,
    /// How long its access tokens live.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) access_lifetime: Option<u64>,
    /// How long its users stay logged in at most.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) refresh_lifetime: Option<u64>,
    /// How long its users stay logged in without using it.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) refresh_idle: Option<u64>,
    /// Binds its tokens to a key of its own (`DPoP`); public clients always are.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) dpop_bound: Option<bool>,
    /// Binds its tokens to its certificate.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) certificate_bound: Option<bool>,
    /// It may take names and passwords of users and log them in.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) first_party: Option<bool>,
    /// It may ask what a token says.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) may_introspect: Option<bool>,
    /// What it may exchange tokens for, as JSON; see docs/oauth.md.
    #[arg(long, value_name = "JSON")]
    pub(in crate::cli) may_exchange: Option<String>,
    /// It gets nothing for the time being.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    pub(in crate::cli) disabled: Option<bool>,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct OneClient {
    /// Its id.
    pub(in crate::cli) id: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct RotateClientSecret {
    /// Its id.
    pub(in crate::cli) id: String,
    /// How long the old secret goes on working. Default: a day.
    #[arg(long, value_name = "TIME", value_parser = seconds)]
    pub(in crate::cli) grace: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

fn methods() -> PossibleValuesParser {
    let methods = crate::oauth::AuthenticationMethod::ALL;
    PossibleValuesParser::new(methods.map(crate::oauth::AuthenticationMethod::word))
}
