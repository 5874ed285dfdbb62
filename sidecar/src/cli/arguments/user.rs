//! `user …`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::{From, Output};

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum User {
    /// Makes a user. The password is asked for, or read from standard input: every process of the
    /// machine can read arguments.
    #[command(after_help = "\
Examples:
  wardgate user create alice --role viewer --email alice@example.com
  wardgate user create alice --role viewer < password.txt
  wardgate user create robot --no-password --id 42")]
    Create(CreateUser),
    /// Shows the users.
    #[command(after_help = "\
Examples:
  wardgate user list --state disabled
  wardgate user list --role admin --output json")]
    List(ListUsers),
    /// Shows one user.
    #[command(after_help = "Example:\n  wardgate user show alice")]
    Show(OneUser),
    /// Changes a user; what is not named stays.
    #[command(after_help = "\
Examples:
  wardgate user update alice --role viewer --role editor --no-email
  wardgate user update alice --name alice@example.com --unset-meta team")]
    Update(ChangeUser),
    /// Keeps a user from logging in, and ends everything that they were issued.
    #[command(after_help = "Example:\n  wardgate user disable alice")]
    Disable(OneUser),
    /// Lets a disabled user log in again.
    #[command(after_help = "Example:\n  wardgate user enable alice")]
    Enable(OneUser),
    /// Forgets a user, and ends everything that they were issued.
    #[command(after_help = "Example:\n  wardgate user delete alice")]
    Delete(OneUser),
    /// Sets the password of a user, and ends everything that they were issued. It is asked for, or
    /// read from standard input.
    #[command(after_help = "\
Examples:
  wardgate user set-password alice
  wardgate user set-password alice < password.txt
  wardgate user set-password alice --with-old     asks for the old one first")]
    SetPassword(SetUserPassword),
    /// Takes in users of another system, with the hashes of their passwords. Can be repeated.
    #[command(after_help = "\
The file has one JSON object per line, or is CSV with the names of the columns in the first line:
  name,password_hash,id,email,roles,groups,disabled
  alice,$2b$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW,1,,viewer editor,,false

Hashes: $2a$, $2b$, $2y$, $argon2id$, $argon2i$, $argon2d$, $bcrypt-sha256$, $pbkdf2-sha256$,
$pbkdf2-sha512$ and $scrypt$ as passlib writes them.

Examples:
  wardgate user import users.jsonl --check
  wardgate user import users.csv")]
    Import(ImportUsers),
    /// Logs a user out everywhere: ends everything that they were issued.
    #[command(after_help = "Example:\n  wardgate user logout alice")]
    Logout(OneUser),
}

#[derive(Args, Debug)]
pub(in crate::cli) struct CreateUser {
    /// The name to log in with.
    pub(in crate::cli) name: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// The id, which is the `sub` of tokens. Default: a random one.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) id: Option<String>,
    /// A role; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) role: Vec<String>,
    /// A group; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) group: Vec<String>,
    /// The mail address.
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) email: Option<String>,
    /// Something to keep with it; may be repeated.
    #[arg(long, value_name = "NAME=TEXT", value_parser = super::api_key::pair)]
    pub(in crate::cli) meta: Vec<(String, String)>,
    /// Without a password: the user cannot log in with one.
    #[arg(long)]
    pub(in crate::cli) no_password: bool,
    /// The user may not log in yet.
    #[arg(long)]
    pub(in crate::cli) disabled: bool,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ListUsers {
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// Only those in this state.
    #[arg(long, value_name = "STATE")]
    pub(in crate::cli) state: Option<UserState>,
    /// Only those with this role.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) role: Option<String>,
    /// Only those in this group.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) group: Option<String>,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub(in crate::cli) enum UserState {
    /// May log in.
    Active,
    /// May not, for the time being.
    Disabled,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct OneUser {
    /// Name or id of the user.
    pub(in crate::cli) user: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct SetUserPassword {
    /// Name or id of the user.
    pub(in crate::cli) user: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// Takes the old password too, on a line before the new one, and counts as a login of the user.
    #[arg(long)]
    pub(in crate::cli) with_old: bool,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ChangeUser {
    /// Name or id of the user.
    pub(in crate::cli) user: String,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// Another name.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) name: Option<String>,
    /// The roles, all of them; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) role: Vec<String>,
    /// Takes all roles away.
    #[arg(long, conflicts_with = "role")]
    pub(in crate::cli) no_roles: bool,
    /// The groups, all of them; may be repeated.
    #[arg(long, value_name = "TEXT")]
    pub(in crate::cli) group: Vec<String>,
    /// Takes the user out of all groups.
    #[arg(long, conflicts_with = "group")]
    pub(in crate::cli) no_groups: bool,
    /// The mail address.
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) email: Option<String>,
    /// No mail address.
    #[arg(long, conflicts_with = "email")]
    pub(in crate::cli) no_email: bool,
    /// Something to keep with it; may be repeated.
    #[arg(long, value_name = "NAME=TEXT", value_parser = super::api_key::pair)]
    pub(in crate::cli) meta: Vec<(String, String)>,
    /// Something not to keep any longer; may be repeated.
    #[arg(long, value_name = "NAME")]
    pub(in crate::cli) unset_meta: Vec<String>,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}

#[derive(Args, Debug)]
pub(in crate::cli) struct ImportUsers {
    /// The file: JSON lines, or CSV if its name ends in `.csv`.
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    #[command(flatten)]
    pub(in crate::cli) from: From,
    /// Looks for problems and imports nothing.
    #[arg(long)]
    pub(in crate::cli) check: bool,
    #[command(flatten)]
    pub(in crate::cli) output: Output,
}
