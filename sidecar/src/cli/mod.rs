//! The command line.

mod api_key;
mod arguments;
mod check;
mod client;
mod envoy;
mod init;
mod input;
mod keys;
mod office;
mod revocation;
mod role;
mod serve;
mod session;
mod show;
mod social;
mod store;
mod token;
mod token_usage;
mod user;

use std::fmt;
use std::io::Write as _;
use std::path::Path;

pub use arguments::Arguments;
use arguments::Command;

use crate::config::{FileProblem, Loaded, load};
use crate::store::OpenStoreError;

/// What a command ends with when it does not succeed. Usage errors (2) are clap's own.
#[derive(Debug)]
pub enum Failure {
    /// It could not be done: exit code 1.
    Failed(String),
    /// A configuration or policy has problems: exit code 3.
    Configuration(Vec<FileProblem>),
    /// The store is in use, damaged or of another format: exit code 4.
    Store(OpenStoreError),
}

impl Failure {
    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Configuration(_) => 3,
            Self::Store(_) => 4,
        }
    }

    fn failed(error: impl fmt::Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(message) => write!(formatter, "error: {message}"),
            Self::Store(error) => write!(formatter, "error: {error}"),
            Self::Configuration(problems) => {
                for problem in problems {
                    writeln!(formatter, "{problem}")?;
                }
                let s = if problems.len() == 1 { "" } else { "s" };
                write!(formatter, "{} problem{s}", problems.len())
            }
        }
    }
}

/// Runs a command.
///
/// # Errors
///
/// [`Failure`] with its exit code and what to tell the person.
pub fn run(arguments: Arguments) -> Result<(), Failure> {
    match arguments.command {
        Command::Serve(from) => serve::run(loaded(&from.config)?),
        Command::Init(init) => init::run(&init),
        Command::CheckConfig(check) => check::config(&check),
        Command::Policy(policy) => check::policy(&policy),
        Command::Token(token) => token::run(token),
        Command::Revocation(revocation) => revocation::run(&revocation),
        Command::Session(session) => session::run(session),
        Command::Role(role) => role::run(role),
        Command::Binding(binding) => role::binding(binding),
        Command::Apikey(api_key) => api_key::run(api_key),
        Command::Keys(keys) => keys::run(&keys),
        Command::Client(client) => client::run(client),
        Command::User(user) => user::run(user),
        Command::Social(social) => social::run(social),
        Command::Audit(audit) => show::audit(&audit),
        Command::Store(store) => store::run(store),
        Command::Envoy(envoy) => envoy::run(&envoy),
    }
}

fn loaded(config: &Path) -> Result<Loaded, Failure> {
    load(config, None).map_err(Failure::Configuration)
}

/// Writes to standard output. A reader that has gone (`| head`) is no error.
fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Failure::failed(error)),
        Err(_) | Ok(()) => Ok(()),
    }
}

/// Tells the person something that is no data.
fn note(text: &str) {
    // Where nobody can be told, nothing is lost.
    let _ = writeln!(std::io::stderr(), "{text}");
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)
}
