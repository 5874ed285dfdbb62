//! The arguments of every command.

mod api_key;
mod client;
mod keys;
mod session;
mod social;
mod token;
mod usage;
mod user;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

pub(super) use api_key::{
    ApiKey, ChangeApiKey, CreateApiKey, ImportApiKeys, ListApiKeys, OneApiKey, RotateApiKey, State,
    UsageOfApiKeys,
};
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(super) use client::{
    Client, ClientMembers, CreateClient, OneClient, RotateClientSecret, UpdateClient,
};
pub(super) use keys::{Keys, ListKeys, RotateKeys};
pub(super) use session::{ListSessions, RevokeSessions, Session};
pub(super) use social::{DeleteSocialTokens, Social};
pub(super) use token::{InspectToken, IssueToken, RevokeToken, Token};
pub(super) use usage::{UsageBy, UsageOfTokens};
pub(super) use user::{
    ChangeUser, CreateUser, ImportUsers, ListUsers, OneUser, SetUserPassword, User, UserState,
};
use wardgate_core::config::{At, Problems, Read as _};

use crate::config::IssuerUrl;

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed; the message says why
  2  wrong usage
  3  the configuration or policy has problems; each is printed with file and line
  4  the store is in use by another process, damaged, of another format, or cannot be reached

Commands that change something ask the running sidecar through its admin socket. When no sidecar
runs they open the store themselves; a line on standard error says which of the two it was.";

/// The sidecar of Wardgate: API keys, signing keys and the audit log for the filter in Envoy.
#[derive(Debug, Parser)]
#[command(name = "wardgate", version, about, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Runs the sidecar until SIGTERM or SIGINT.
    #[command(after_help = "Example:\n  wardgate serve --config wardgate.yaml")]
    Serve(From),
    /// Writes a starting configuration, policy and secrets; overwrites nothing.
    #[command(
        after_help = "Example:\n  wardgate init --dir /etc/wardgate --issuer https://auth.example.com"
    )]
    Init(Init),
    /// Checks the configuration, the secrets and the policy, and prints every problem.
    #[command(after_help = "Example:\n  wardgate check-config --config wardgate.yaml")]
    CheckConfig(CheckConfig),
    /// Works with policy files.
    #[command(subcommand)]
    Policy(Policy),
    /// Issues tokens, says what they are, and revokes them.
    #[command(subcommand)]
    Token(Token),
    /// Shows what is revoked.
    #[command(subcommand)]
    Revocation(Revocation),
    /// Shows who is logged in, and logs them out.
    #[command(subcommand)]
    Session(Session),
    /// Makes roles while the gate runs, beside those of the policy file.
    #[command(subcommand)]
    Role(Role),
    /// Gives roles to subjects while the gate runs.
    #[command(subcommand)]
    Binding(Binding),
    /// Makes API keys, shows them, switches them off.
    #[command(subcommand)]
    Apikey(ApiKey),
    /// Makes OAuth clients, shows them, changes them.
    #[command(subcommand)]
    Client(Client),
    /// Makes users, changes them, ends what they were issued.
    #[command(subcommand)]
    User(User),
    /// Shows what users have at providers, and forgets it.
    #[command(subcommand)]
    Social(Social),
    /// Shows the signing keys, and rotates them.
    #[command(subcommand)]
    Keys(Keys),
    /// Shows the audit log.
    #[command(subcommand)]
    Audit(Audit),
    /// Shows the store, and moves it.
    #[command(subcommand)]
    Store(Store),
    /// Makes Envoy configurations.
    #[command(subcommand)]
    Envoy(Envoy),
}

/// Where the configuration is.
#[derive(Args, Debug)]
pub(super) struct From {
    /// The configuration file.
    #[arg(long, env = "WARDGATE_CONFIG", default_value = "wardgate.yaml", value_name = "FILE")]
    pub(super) config: PathBuf,
}

/// How data is printed.
#[derive(Args, Clone, Copy, Debug)]
pub(super) struct Output {
    /// For a person or for a program.
    #[arg(long, value_enum, default_value = "table")]
    pub(super) output: Format,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(super) enum Format {
    /// Aligned columns; colours on a terminal only, and not with `NO_COLOR`.
    Table,
    /// JSON.
    Json,
}

#[derive(Args, Debug)]
pub(super) struct Init {
    /// The directory; it is made if it does not exist.
    #[arg(long, default_value = ".", value_name = "DIR")]
    pub(super) dir: PathBuf,
    /// The `iss` of the tokens that the sidecar issues.
    #[arg(long, default_value = "http://127.0.0.1:8180", value_name = "URL", value_parser = issuer)]
    pub(super) issuer: IssuerUrl,
    /// The `aud` of those tokens when none is asked for.
    #[arg(long, default_value = "api", value_name = "NAME")]
    pub(super) audience: String,
}

/// As the configuration would read it.
fn issuer(text: &str) -> Result<IssuerUrl, String> {
    let mut problems = Problems::new();
    let url = IssuerUrl::read(&text.into(), &At::ROOT, &mut problems);
    url.ok_or_else(|| problems.into_iter().map(|it| it.message).collect::<Vec<_>>().join("; "))
}

#[derive(Args, Debug)]
pub(super) struct CheckConfig {
    #[command(flatten)]
    pub(super) from: From,
    /// Another policy file than the configuration names.
    #[arg(long, value_name = "FILE")]
    pub(super) policy: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Policy {
    /// Checks a policy file and prints every problem.
    #[command(after_help = "Example:\n  wardgate policy check policy.yaml")]
    Check {
        /// The policy file, YAML or JSON.
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(super) enum Role {
    /// Shows all roles, those of the policy file too.
    List(ListApiKeys),
    /// Makes a role, or another one of it.
    #[command(
        after_help = "Example:\n  wardgate role create auditor --permission read --inherits viewer"
    )]
    Create(CreateRole),
    /// Removes a role that was made so.
    Delete(DeleteNamed),
}

#[derive(Args, Debug)]
pub(super) struct CreateRole {
    /// Its name.
    pub(super) name: String,
    /// A permission; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(super) permission: Vec<String>,
    /// A role whose permissions it has too; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(super) inherits: Vec<String>,
    #[command(flatten)]
    pub(super) from: From,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Binding {
    /// Shows all bindings, those of the policy file too.
    List(ListApiKeys),
    /// Makes a binding, or another one of it.
    #[command(
        after_help = "Example:\n  wardgate binding create alice --subject user:corp/42 --role editor"
    )]
    Create(CreateBinding),
    /// Removes a binding that was made so.
    Delete(DeleteNamed),
}

#[derive(Args, Debug)]
pub(super) struct CreateBinding {
    /// Its id.
    pub(super) id: String,
    /// Who: `user:<issuer name>/<subject>`, `group:<issuer name>/<group>` or `api_key:<name>`; may
    /// be repeated.
    #[arg(long, required = true, value_name = "SUBJECT")]
    pub(super) subject: Vec<String>,
    /// A role; may be repeated.
    #[arg(long, required = true, value_name = "NAME")]
    pub(super) role: Vec<String>,
    #[command(flatten)]
    pub(super) from: From,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Args, Debug)]
pub(super) struct DeleteNamed {
    /// Name of the role, or id of the binding.
    pub(super) name: String,
    #[command(flatten)]
    pub(super) from: From,
}

#[derive(Debug, Subcommand)]
pub(super) enum Revocation {
    /// Shows all revocations that stand.
    #[command(after_help = "Example:\n  wardgate revocation list --output json")]
    List(ListApiKeys),
}

#[derive(Debug, Subcommand)]
pub(super) enum Audit {
    /// Shows the last events.
    #[command(after_help = "Example:\n  wardgate audit tail --lines 20 --output json")]
    Tail(TailAudit),
}

#[derive(Args, Debug)]
pub(super) struct TailAudit {
    #[command(flatten)]
    pub(super) from: From,
    /// How many.
    #[arg(long, short = 'n', default_value_t = 10, value_name = "COUNT")]
    pub(super) lines: usize,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Shows how much is in the store and what it runs on.
    #[command(after_help = "Example:\n  wardgate store stat --output json")]
    Stat(StatStore),
    /// Copies everything into another store and checks that it arrived. Stop all sidecars on both
    /// stores first. The target must be empty, or have a part of the same.
    #[command(
        after_help = "Example:\n  wardgate store migrate --from embedded.yaml --to redis.yaml"
    )]
    Migrate(MigrateStore),
}

#[derive(Args, Debug)]
pub(super) struct StatStore {
    #[command(flatten)]
    pub(super) from: From,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Args, Debug)]
pub(super) struct MigrateStore {
    /// Configuration file of the store to copy; it is not changed.
    #[arg(long = "from", value_name = "FILE")]
    pub(super) source: PathBuf,
    /// Configuration file of the store to fill.
    #[arg(long = "to", value_name = "FILE")]
    pub(super) target: PathBuf,
    #[command(flatten)]
    pub(super) output: Output,
}

#[derive(Debug, Subcommand)]
pub(super) enum Envoy {
    /// Prints a whole Envoy configuration with the filter.
    #[command(after_help = "\
Example:
  wardgate envoy config --wasm target/wardgate.wasm --upstream 127.0.0.1:8182 > envoy.yaml
  WARDGATE_FEED_SECRET=$(cat secrets/feed.secret) envoy -c envoy.yaml")]
    Config(EnvoyConfig),
}

#[derive(Args, Debug)]
pub(super) struct EnvoyConfig {
    #[command(flatten)]
    pub(super) from: From,
    /// The filter, as Envoy finds it.
    #[arg(long, default_value = "target/wardgate.wasm", value_name = "FILE")]
    pub(super) wasm: PathBuf,
    /// Where Envoy listens.
    #[arg(long, default_value = "127.0.0.1:10000", value_name = "ADDRESS")]
    pub(super) listen: SocketAddr,
    /// Where Envoy's administration interface listens.
    #[arg(long, default_value = "127.0.0.1:9901", value_name = "ADDRESS")]
    pub(super) admin: SocketAddr,
    /// The upstream; a name is looked up by Envoy, again and again.
    #[arg(long, default_value = "127.0.0.1:8182", value_name = "HOST:PORT")]
    pub(super) upstream: Upstream,
    /// File of the access log. Default: standard output.
    #[arg(long, default_value = "/dev/stdout", value_name = "FILE")]
    pub(super) access_log: PathBuf,
    /// Writes the policy into the configuration. Without this the filter has the policy of the
    /// sidecar's feed, and follows its changes.
    #[arg(long)]
    pub(super) inline_policy: bool,
    /// Leaves out the routes to the token service of the sidecar (`/oauth2/`, `/auth/`, and two of
    /// `/.well-known/`): they go to the upstream then.
    #[arg(long)]
    pub(super) no_token_service: bool,
}

/// A host, by address or by name, and a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Upstream {
    Address(SocketAddr),
    Name(String, u16),
}

impl FromStr for Upstream {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse() {
            return Ok(Self::Address(address));
        }
        let wrong = "expected HOST:PORT, as 127.0.0.1:8182 or orders:8080";
        let (name, port) = text.rsplit_once(':').ok_or(wrong)?;
        let of_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        // Digits and dots alone are an address with a mistake (RFC 1123 §2.1).
        let right =
            name.bytes().all(of_name) && name.bytes().any(|byte| byte.is_ascii_alphabetic());
        let port = port.parse().map_err(|_| wrong)?;
        if right { Ok(Self::Name(name.to_owned(), port)) } else { Err(wrong) }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::Upstream;

    #[test]
    fn an_upstream_is_an_address_or_a_name() {
        assert_eq!(
            "[::1]:80".parse(),
            Ok(Upstream::Address(([0, 0, 0, 0, 0, 0, 0, 1], 80).into()))
        );
        assert_eq!("orders.shop:80".parse(), Ok(Upstream::Name("orders.shop".to_owned(), 80)));
        for wrong in
            ["", "orders", "orders:", "orders:x", "1.2.3.400:80", ":80", "a b:80", "a/b:80"]
        {
            assert!(wrong.parse::<Upstream>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_arguments_are_consistent() {
        super::Arguments::command().debug_assert();
    }
}
