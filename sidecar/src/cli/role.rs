//! `role` and `binding`: what is beside the policy file.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::arguments::{Binding, DeleteNamed, Format, Role};
use super::office::{Admin, Office, reach, segment};
use super::{Failure, loaded, note, runtime, show};
use crate::clock::Clock;
use crate::config::Loaded;
use crate::metrics::Metrics;
use crate::policy::{BindingList, BindingView, Origin, PolicyDesk, RoleList, RoleView};

/// The policy, near or far.
enum Place {
    Running(Admin),
    Direct(Box<PolicyDesk>),
}

async fn place(loaded: &Loaded) -> Result<Place, Failure> {
    let desk = match reach(loaded).await? {
        Office::Running(admin) => return Ok(Place::Running(admin)),
        Office::Direct(desk) => desk,
    };
    let (store, metrics) = (Arc::clone(desk.store()), Arc::new(Metrics::new()));
    let (file, document) = (&loaded.policy_file, &loaded.policy);
    let desk = PolicyDesk::new(store, file, document, Clock::system(), metrics);
    Ok(Place::Direct(Box::new(desk.map_err(Failure::failed)?)))
}

pub(super) fn run(role: Role) -> Result<(), Failure> {
    let runtime = runtime()?;
    match role {
        Role::List(asked) => {
            let list: RoleList = runtime.block_on(async {
                match place(&loaded(&asked.from.config)?).await? {
                    Place::Running(admin) => admin.get("/admin/v1/roles").await,
                    Place::Direct(desk) => desk.roles().await.map_err(Failure::failed),
                }
            })?;
            show_roles(&list.roles, asked.output.output)
        }
        Role::Create(asked) => {
            let role = members(&json!({
                "inherits": asked.inherits, "permissions": asked.permission,
            }));
            let made: RoleView = runtime.block_on(async {
                match place(&loaded(&asked.from.config)?).await? {
                    Place::Running(admin) => {
                        let path = format!("/admin/v1/roles/{}", segment(&asked.name));
                        admin.put(&path, &role).await
                    }
                    Place::Direct(desk) => {
                        desk.put_role(&asked.name, role).await.map_err(Failure::failed)
                    }
                }
            })?;
            show_roles(&[made], asked.output.output)
        }
        Role::Delete(asked) => runtime.block_on(async {
            match place(&loaded(&asked.from.config)?).await? {
                Place::Running(admin) => delete(admin, "roles", &asked).await,
                Place::Direct(desk) => desk.delete_role(&asked.name).await.map_err(Failure::failed),
            }?;
            note("removed");
            Ok(())
        }),
    }
}

pub(super) fn binding(binding: Binding) -> Result<(), Failure> {
    let runtime = runtime()?;
    match binding {
        Binding::List(asked) => {
            let list: BindingList = runtime.block_on(async {
                match place(&loaded(&asked.from.config)?).await? {
                    Place::Running(admin) => admin.get("/admin/v1/bindings").await,
                    Place::Direct(desk) => desk.bindings().await.map_err(Failure::failed),
                }
            })?;
            show_bindings(&list.bindings, asked.output.output)
        }
        Binding::Create(asked) => {
            let binding = members(&json!({"subjects": asked.subject, "roles": asked.role}));
            let made: BindingView = runtime.block_on(async {
                match place(&loaded(&asked.from.config)?).await? {
                    Place::Running(admin) => {
                        let path = format!("/admin/v1/bindings/{}", segment(&asked.id));
                        admin.put(&path, &binding).await
                    }
                    Place::Direct(desk) => {
                        desk.put_binding(&asked.id, binding).await.map_err(Failure::failed)
                    }
                }
            })?;
            show_bindings(&[made], asked.output.output)
        }
        Binding::Delete(asked) => runtime.block_on(async {
            match place(&loaded(&asked.from.config)?).await? {
                Place::Running(admin) => delete(admin, "bindings", &asked).await,
                Place::Direct(desk) => {
                    desk.delete_binding(&asked.name).await.map_err(Failure::failed)
                }
            }?;
            note("removed");
            Ok(())
        }),
    }
}

async fn delete(admin: Admin, what: &str, asked: &DeleteNamed) -> Result<(), Failure> {
    admin.delete(&format!("/admin/v1/{what}/{}", segment(&asked.name))).await
}

fn show_roles(roles: &[RoleView], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return show::json(&roles);
    }
    let row = |view: &RoleView| {
        let (inherits, permissions) =
            (list(&view.role, "inherits"), list(&view.role, "permissions"));
        vec![view.name.clone(), origin(view.origin), inherits, permissions]
    };
    let rows: Vec<_> = roles.iter().map(row).collect();
    show::table(&["name", "origin", "inherits", "permissions"], &rows)
}

fn show_bindings(bindings: &[BindingView], format: Format) -> Result<(), Failure> {
    if format == Format::Json {
        return show::json(&bindings);
    }
    let row = |view: &BindingView| {
        let id = view.id.clone().unwrap_or_else(|| "-".to_owned());
        let (subjects, roles) = (list(&view.binding, "subjects"), list(&view.binding, "roles"));
        vec![id, origin(view.origin), subjects, roles]
    };
    let rows: Vec<_> = bindings.iter().map(row).collect();
    show::table(&["id", "origin", "subjects", "roles"], &rows)
}

fn origin(origin: Origin) -> String {
    match origin {
        Origin::File => "file".to_owned(),
        Origin::RunTime => "run time".to_owned(),
    }
}

fn list(members: &Map<String, Value>, name: &str) -> String {
    let items = members.get(name).and_then(Value::as_array);
    let texts: Vec<&str> = items.into_iter().flatten().filter_map(Value::as_str).collect();
    if texts.is_empty() { "-".to_owned() } else { texts.join(" ") }
}

fn members(value: &Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap_or_default()
}
