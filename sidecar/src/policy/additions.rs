//! Roles and bindings that were made at run time, as they are in the store.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Served;
use crate::store::{Pages, Store, StoreError, Table};

/// What stands before the name of a role, and the id of a binding, in the store.
pub(super) const ROLE: &str = "role/";
pub(super) const BINDING: &str = "binding/";
/// Roles and bindings that can be made at run time. Each is in the memory of every worker.
pub(super) const MAX_ADDITIONS: usize = 10_000;

/// Where a role or binding is from.
#[derive(Clone, Copy, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The policy file: to be changed there.
    File,
    /// Made at run time.
    RunTime,
}

/// A role.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct RoleView {
    /// Its name.
    pub name: String,
    /// Where it is from.
    pub origin: Origin,
    /// What it is, as in a policy.
    #[serde(flatten)]
    pub role: Map<String, Value>,
}

/// All roles.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct RoleList {
    /// By name.
    pub roles: Vec<RoleView>,
}

/// A binding.
#[derive(Clone, Debug, Deserialize, Eq, JsonSchema, PartialEq, Serialize)]
pub struct BindingView {
    /// Its id; those of the file have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Where it is from.
    pub origin: Origin,
    /// What it is, as in a policy.
    #[serde(flatten)]
    pub binding: Map<String, Value>,
}

/// All bindings.
#[derive(Debug, Deserialize, JsonSchema, Serialize)]
pub struct BindingList {
    /// Those of the file first.
    pub bindings: Vec<BindingView>,
}

/// What was made at run time.
#[derive(Clone, Debug, Default)]
pub(super) struct Additions {
    /// By name.
    pub(super) roles: BTreeMap<String, Map<String, Value>>,
    /// By id.
    pub(super) bindings: BTreeMap<String, Map<String, Value>>,
}

impl Additions {
    pub(super) async fn read(store: &dyn Store) -> Result<Self, StoreError> {
        let mut read = Self::default();
        let mut pages = Pages::of(store, Table::Roles);
        while let Some(entries) = pages.next().await? {
            for entry in entries {
                let Ok(value) = serde_json::from_slice(&entry.value) else {
                    tracing::error!(key = entry.key, "a role or binding of the store is damaged");
                    continue;
                };
                if let Some(name) = entry.key.strip_prefix(ROLE) {
                    read.roles.insert(name.to_owned(), value);
                } else if let Some(id) = entry.key.strip_prefix(BINDING) {
                    read.bindings.insert(id.to_owned(), value);
                }
            }
        }
        Ok(read)
    }

    /// The whole policy; its problems, if it has any. A role of the file goes before one of the same
    /// name here: the file is what was reviewed.
    pub(super) fn merged(&self, file: &Map<String, Value>) -> Result<Served, Vec<String>> {
        let mut document = file.clone();
        if !self.roles.is_empty() {
            let roles = document.entry("roles").or_insert_with(|| json!({}));
            if let Some(roles) = roles.as_object_mut() {
                for (name, role) in &self.roles {
                    roles.entry(name).or_insert_with(|| Value::Object(role.clone()));
                }
            }
        }
        if !self.bindings.is_empty() {
            let bindings = document.entry("bindings").or_insert_with(|| json!([]));
            if let Some(bindings) = bindings.as_array_mut() {
                bindings.extend(self.bindings.values().cloned().map(Value::Object));
            }
        }
        Served::read(document)
    }

    /// All roles, those of the file too.
    pub(super) fn role_views(&self, file: &Map<String, Value>) -> Vec<RoleView> {
        let of_file = file.get("roles").and_then(Value::as_object);
        let view = |name: &String, role: &Map<String, Value>, origin| {
            let role = role.iter().filter(|(key, _)| *key != "name" && *key != "origin");
            let role = role.map(|(key, value)| (key.clone(), value.clone())).collect();
            (name.clone(), RoleView { name: name.clone(), origin, role })
        };
        let mut views: BTreeMap<String, RoleView> =
            self.roles.iter().map(|(name, role)| view(name, role, Origin::RunTime)).collect();
        views.extend(
            of_file
                .into_iter()
                .flatten()
                .filter_map(|(name, role)| Some(view(name, role.as_object()?, Origin::File))),
        );
        views.into_values().collect()
    }

    /// All bindings, those of the file too.
    pub(super) fn binding_views(&self, file: &Map<String, Value>) -> Vec<BindingView> {
        let of_file = file.get("bindings").and_then(Value::as_array);
        let of_file = of_file.into_iter().flatten().filter_map(Value::as_object);
        let of_file = of_file.map(|binding| BindingView {
            id: None,
            origin: Origin::File,
            binding: binding.clone(),
        });
        let made = self.bindings.iter().map(|(id, binding)| BindingView {
            id: Some(id.clone()),
            origin: Origin::RunTime,
            binding: binding.clone(),
        });
        of_file.chain(made).collect()
    }
}
