//! The policy that is handed to filters: that of the file, and the roles and bindings that were made
//! at run time. What is wrong is refused as a whole, and what was there goes on.

mod additions;
mod change;
mod watch;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use wardgate_core::base64url;
use wardgate_core::policy::Policy;

pub use additions::{BindingList, BindingView, Origin, RoleList, RoleView};
pub use change::PolicyError;

use crate::clock::Clock;
use crate::config::load_policy;
use crate::issuers::{Sources, sources};
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};
use additions::Additions;

/// The policy, wherever its parts are kept.
pub struct PolicyDesk {
    store: Arc<dyn Store>,
    clock: Clock,
    metrics: Arc<Metrics>,
    file: PathBuf,
    state: Mutex<State>,
}

struct State {
    /// The policy of the file alone, as it was when it was right.
    file: Served,
    loaded_at: u64,
    /// Why the file as it is now was refused.
    problems: Vec<String>,
    /// Why what was made at run time does not fit to the file.
    misfits: Vec<String>,
    /// What was handed out last.
    served: Option<Served>,
}

/// A policy as it is handed out.
#[derive(Clone, Debug)]
pub struct Served {
    /// The document.
    pub document: Map<String, Value>,
    /// Where the keys of its issuers are found.
    pub sources: Sources,
}

/// How the policy stands.
#[derive(Clone, Debug, Deserialize, JsonSchema, Serialize)]
pub struct PolicyStatus {
    /// The file.
    pub file: String,
    /// SHA-256 of the policy that is handed out, base64url.
    pub hash: String,
    /// When the file was read last and found right, in seconds since the epoch.
    pub loaded_at: u64,
    /// Why the file as it is now is not in force; empty if it is.
    pub problems: Vec<String>,
    /// Roles that were made at run time.
    pub roles_at_run_time: usize,
    /// Bindings that were made at run time.
    pub bindings_at_run_time: usize,
}

impl PolicyDesk {
    /// The policy of a file that was read.
    ///
    /// # Errors
    ///
    /// The problems of the document.
    pub fn new(
        store: Arc<dyn Store>,
        file: &Path,
        document: &Value,
        clock: Clock,
        metrics: Arc<Metrics>,
    ) -> Result<Self, PolicyError> {
        let document = document.as_object().cloned().unwrap_or_default();
        let state = State {
            file: Served::read(document).map_err(PolicyError::Invalid)?,
            loaded_at: clock.now().0,
            problems: Vec::new(),
            misfits: Vec::new(),
            served: None,
        };
        Ok(Self { store, clock, metrics, file: file.to_owned(), state: Mutex::new(state) })
    }

    /// The policy as it is now, with what was made at run time.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn current(&self) -> Result<Served, StoreError> {
        let additions = Additions::read(&*self.store).await?;
        let mut state = self.state();
        let served = match additions.merged(&state.file.document) {
            Ok(served) => {
                state.misfits.clear();
                served
            }
            // The file is another now, and what was made at run time does not fit to it.
            Err(problems) => {
                self.metrics.policy_reload_failures.inc();
                for problem in &problems {
                    tracing::error!(%problem, "what was made at run time does not fit to the policy");
                }
                state.misfits = problems;
                // The file alone grants less, never more: additions only grant.
                state.served.as_ref().unwrap_or(&state.file).clone()
            }
        };
        state.served = Some(served.clone());
        Ok(served)
    }

    /// How the policy stands.
    ///
    /// # Errors
    ///
    /// [`StoreError`] when the store fails.
    pub async fn status(&self) -> Result<PolicyStatus, StoreError> {
        let additions = Additions::read(&*self.store).await?;
        let served = self.current().await?;
        let state = self.state();
        let text = Value::Object(served.document).to_string();
        let hash = digest::digest(&digest::SHA256, text.as_bytes());
        Ok(PolicyStatus {
            file: self.file.display().to_string(),
            hash: base64url::encode(hash.as_ref()),
            loaded_at: state.loaded_at,
            problems: state.problems.iter().chain(&state.misfits).cloned().collect(),
            roles_at_run_time: additions.roles.len(),
            bindings_at_run_time: additions.bindings.len(),
        })
    }

    /// Reads the file anew. Says whether the policy is another one; a file with problems changes
    /// nothing.
    pub fn reload(&self) -> bool {
        let read = load_policy(&self.file)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect())
            .and_then(|document| Served::read(document.as_object().cloned().unwrap_or_default()));
        let mut state = self.state();
        match read {
            Ok(served) => {
                let is_other = served.document != state.file.document;
                state.file = served;
                state.loaded_at = self.clock.now().0;
                state.problems.clear();
                is_other
            }
            Err(problems) => {
                self.metrics.policy_reload_failures.inc();
                for problem in &problems {
                    tracing::error!(problem, "the policy file is refused; the one before serves");
                }
                state.problems = problems;
                false
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing is left half done under this lock.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Served {
    /// Reads a whole document.
    fn read(document: Map<String, Value>) -> Result<Self, Vec<String>> {
        let value = Value::Object(document);
        let policy = Policy::read(&value)
            .map_err(|problems| problems.iter().map(ToString::to_string).collect::<Vec<_>>())?;
        let Value::Object(document) = value else { return Err(Vec::new()) };
        Ok(Self { document, sources: sources(&policy) })
    }
}
