//! Logs, time, ticks, properties, shared data, queues and metrics.

use std::time::Duration;

use anyhow::{Result, anyhow};
use wasmtime::{Caller, Linker};

use super::super::abi::Status;
use super::super::guest::{Done, Guest};
use super::super::state::State;
use super::{before, finish, host_calls};

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    let refused = Status::INTERNAL_FAILURE.0;
    host_calls!(linker, "env", refused;
        "proxy_log" => log, (level: u32, text: u32, size: u32);
        "proxy_get_log_level" => log_level, (to: u32);
        "proxy_get_current_time_nanoseconds" => time, (to: u32);
        "proxy_set_tick_period_milliseconds" => tick_period, (milliseconds: u32);
        "proxy_get_property" => property, (path: u32, size: u32, to: u32, size_to: u32);
        "proxy_set_property" => set_property, (path: u32, size: u32, value: u32, value_size: u32);
        "proxy_get_shared_data" => shared, (key: u32, size: u32, to: u32, size_to: u32, cas_to: u32);
        "proxy_set_shared_data" => set_shared, (key: u32, size: u32, value: u32, value_size: u32, cas: u32);
        "proxy_register_shared_queue" => register_queue, (name: u32, size: u32, to: u32);
        "proxy_resolve_shared_queue" => resolve_queue, (vm: u32, vm_size: u32, name: u32, size: u32, to: u32);
        "proxy_enqueue_shared_queue" => enqueue, (queue: u32, value: u32, size: u32);
        "proxy_dequeue_shared_queue" => dequeue, (queue: u32, to: u32, size_to: u32);
        "proxy_define_metric" => define_metric, (kind: u32, name: u32, size: u32, to: u32);
        "proxy_increment_metric" => increment_metric, (metric: u32, offset: i64);
        "proxy_record_metric" => record_metric, (metric: u32, value: u64);
        "proxy_get_metric" => metric_value, (metric: u32, to: u32);
    );
    Ok(())
}

fn log(guest: &mut Guest<'_>, level: u32, text: u32, size: u32) -> Done {
    let text = guest.read(text, size)?;
    if level > 5 {
        return Err(Status::BAD_ARGUMENT.into());
    }
    guest.state().log(level, &text);
    Ok(())
}

fn log_level(guest: &mut Guest<'_>, to: u32) -> Done {
    let level = guest.state().setup.log_level;
    guest.write_word(to, level)
}

fn time(guest: &mut Guest<'_>, to: u32) -> Done {
    let nanoseconds = guest.state().world().wall.as_nanos();
    guest.write(to, &u64::try_from(nanoseconds).unwrap_or(u64::MAX).to_le_bytes())
}

fn tick_period(guest: &mut Guest<'_>, milliseconds: u32) -> Done {
    let state = guest.state();
    let now = state.world().monotonic;
    let id = state.root_id();
    let root = state.roots.get_mut(&id).ok_or(Status::BAD_ARGUMENT)?;
    root.tick_period = Some(milliseconds)
        .filter(|period| *period != 0)
        .map(|period| Duration::from_millis(period.into()));
    root.next_tick = root.tick_period.map(|period| now.saturating_add(period));
    Ok(())
}

fn property(guest: &mut Guest<'_>, path: u32, size: u32, to: u32, size_to: u32) -> Done {
    let path = guest.read(path, size)?;
    let value = find_property(guest.state(), &path).ok_or(Status::NOT_FOUND)?;
    guest.give(&value, to, size_to)
}

fn find_property(state: &mut State, path: &[u8]) -> Option<Vec<u8>> {
    let of_plugin = match path {
        b"plugin_name" => Some(state.setup.name.clone()),
        b"plugin_root_id" => Some(state.setup.root_id.clone()),
        b"plugin_vm_id" => Some(state.setup.vm_id.clone()),
        _ => None,
    };
    if let Some(value) = of_plugin {
        return Some(value.into_bytes());
    }
    let stream = state.stream()?;
    if let Some(value) = stream.properties.get(path) {
        return Some(value.clone());
    }
    let text = std::str::from_utf8(path).ok()?;
    let key =
        text.strip_prefix("filter_state\0").map_or_else(|| format!("wasm.{text}"), str::to_owned);
    stream.filter_state.get(&key).cloned()
}

/// Filter state of the stream; a root context has none.
fn set_property(guest: &mut Guest<'_>, path: u32, size: u32, value: u32, value_size: u32) -> Done {
    let path = guest.read(path, size)?;
    let value = guest.read(value, value_size)?;
    let stream = guest.state().stream().ok_or(Status::NOT_FOUND)?;
    stream.filter_state.insert(format!("wasm.{}", String::from_utf8_lossy(&path)), value);
    Ok(())
}

fn shared(guest: &mut Guest<'_>, key: u32, size: u32, to: u32, size_to: u32, cas_to: u32) -> Done {
    let key = guest.read(key, size)?;
    let state = guest.state();
    let found = state.world().shared_get(&state.setup.vm_id, &key);
    state.shared.read(found.as_ref().map_or(0, |(value, _)| value.len()));
    let (value, cas) = found.ok_or(Status::NOT_FOUND)?;
    guest.give(&value, to, size_to)?;
    guest.write_word(cas_to, cas)
}

fn set_shared(
    guest: &mut Guest<'_>,
    key: u32,
    size: u32,
    value: u32,
    value_size: u32,
    cas: u32,
) -> Done {
    let key = guest.read(key, size)?;
    let value = guest.read(value, value_size)?;
    let state = guest.state();
    state.shared.write(value.len());
    let written = state.world().shared_set(&state.setup.vm_id, &key, value, cas);
    Ok(written?)
}

fn register_queue(guest: &mut Guest<'_>, name: u32, size: u32, to: u32) -> Done {
    let name = guest.read(name, size)?;
    let state = guest.state();
    let token = state.world().queue(&state.setup.vm_id, &name, true);
    guest.write_word(to, token.ok_or(Status::INTERNAL_FAILURE)?)
}

fn resolve_queue(
    guest: &mut Guest<'_>,
    vm: u32,
    vm_size: u32,
    name: u32,
    size: u32,
    to: u32,
) -> Done {
    let vm = String::from_utf8(guest.read(vm, vm_size)?).map_err(|_| Status::BAD_ARGUMENT)?;
    let name = guest.read(name, size)?;
    let token = guest.state().world().queue(&vm, &name, false);
    guest.write_word(to, token.ok_or(Status::NOT_FOUND)?)
}

fn enqueue(guest: &mut Guest<'_>, queue: u32, value: u32, size: u32) -> Done {
    let value = guest.read(value, size)?;
    let state = guest.state();
    let mut world = state.world();
    world.messages(queue).ok_or(Status::NOT_FOUND)?.push_back(value);
    Ok(())
}

fn dequeue(guest: &mut Guest<'_>, queue: u32, to: u32, size_to: u32) -> Done {
    let message = {
        let mut world = guest.state().world();
        let messages = world.messages(queue).ok_or(Status::NOT_FOUND)?;
        messages.pop_front().ok_or(Status::EMPTY)?
    };
    guest.give(&message, to, size_to)
}

fn define_metric(guest: &mut Guest<'_>, kind: u32, name: u32, size: u32, to: u32) -> Done {
    let name = String::from_utf8(guest.read(name, size)?).map_err(|_| Status::BAD_ARGUMENT)?;
    let id = guest.state().world().define_metric(kind, &name)?;
    guest.write_word(to, id)
}

fn increment_metric(guest: &mut Guest<'_>, metric: u32, offset: i64) -> Done {
    Ok(guest.state().world().increment_metric(metric, offset)?)
}

fn record_metric(guest: &mut Guest<'_>, metric: u32, value: u64) -> Done {
    Ok(guest.state().world().record_metric(metric, value)?)
}

fn metric_value(guest: &mut Guest<'_>, metric: u32, to: u32) -> Done {
    let value = guest.state().world().metric_value(metric)?;
    guest.write(to, &value.to_le_bytes())
}
