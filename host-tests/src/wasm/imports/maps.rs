//! Header lists, buffers, and what becomes of the stream.

use anyhow::{Result, anyhow};
use wasmtime::{Caller, Linker};

use super::super::abi::{Headers, MapKind, Status, decode_pairs, encode_pairs, lower_names};
use super::super::guest::{Done, Guest};
use super::super::state::{Deferred, State};
use super::super::stream::LocalResponse;
use super::{before, finish, host_calls};

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    let refused = Status::INTERNAL_FAILURE.0;
    host_calls!(linker, "env", refused;
        "proxy_get_header_map_value" => value, (kind: u32, name: u32, name_size: u32, to: u32, size_to: u32);
        "proxy_get_header_map_pairs" => pairs, (kind: u32, to: u32, size_to: u32);
        "proxy_get_header_map_size" => size, (kind: u32, to: u32);
        "proxy_set_header_map_pairs" => set_pairs, (kind: u32, from: u32, size: u32);
        "proxy_add_header_map_value" => add, (kind: u32, name: u32, name_size: u32, value: u32, value_size: u32);
        "proxy_replace_header_map_value" => replace, (kind: u32, name: u32, name_size: u32, value: u32, value_size: u32);
        "proxy_remove_header_map_value" => remove, (kind: u32, name: u32, name_size: u32);
        "proxy_get_buffer_bytes" => buffer, (kind: u32, start: u32, length: u32, to: u32, size_to: u32);
        "proxy_get_buffer_status" => buffer_status, (kind: u32, size_to: u32, flags_to: u32);
        "proxy_set_buffer_bytes" => set_buffer, (_kind: u32, _start: u32, _length: u32, _from: u32, _size: u32);
        "proxy_send_local_response" => respond, (status: u32, details: u32, details_size: u32, body: u32, body_size: u32, headers: u32, headers_size: u32, grpc: u32);
        "proxy_continue_stream" => go_on, (kind: u32);
        "proxy_close_stream" => close, (_kind: u32);
    );
    Ok(())
}

fn map<'a>(guest: &'a mut Guest<'_>, kind: u32) -> Done<&'a mut Headers> {
    let kind = MapKind::from_number(kind).ok_or(Status::BAD_ARGUMENT)?;
    guest.state().map(kind).ok_or_else(|| Status::BAD_ARGUMENT.into())
}

/// Only the first of repeated headers, as Envoy's `getHeaderMapValue`.
fn value(guest: &mut Guest<'_>, kind: u32, name: u32, size: u32, to: u32, size_to: u32) -> Done {
    let name = guest.read(name, size)?.to_ascii_lowercase();
    let first = map(guest, kind)?.iter().find(|(known, _)| *known == name);
    let value = first.map(|(_, value)| value.clone()).ok_or(Status::NOT_FOUND)?;
    guest.give(&value, to, size_to)
}

fn pairs(guest: &mut Guest<'_>, kind: u32, to: u32, size_to: u32) -> Done {
    let pairs = map(guest, kind)?;
    if pairs.is_empty() {
        return guest.give(&[], to, size_to);
    }
    let encoded = encode_pairs(pairs).ok_or(Status::BAD_ARGUMENT)?;
    guest.give(&encoded, to, size_to)
}

fn size(guest: &mut Guest<'_>, kind: u32, to: u32) -> Done {
    let bytes = map(guest, kind)?
        .iter()
        .map(|(name, value)| name.len().saturating_add(value.len()))
        .fold(0, usize::saturating_add);
    guest.write_word(to, u32::try_from(bytes).unwrap_or(u32::MAX))
}

fn set_pairs(guest: &mut Guest<'_>, kind: u32, from: u32, size: u32) -> Done {
    let encoded = guest.read(from, size)?;
    let pairs = decode_pairs(&encoded).ok_or(Status::BAD_ARGUMENT)?;
    for (name, value) in &pairs {
        check_value(guest, name, value);
    }
    *map(guest, kind)? = lower_names(pairs);
    Ok(())
}

/// Notes a value that would break the header block behind the filter; Envoy asserts on it.
fn check_value(guest: &mut Guest<'_>, name: &[u8], value: &[u8]) {
    if value.iter().any(|byte| matches!(byte, 0 | b'\r' | b'\n')) {
        let text = format!("control byte in header {}", String::from_utf8_lossy(name));
        guest.state().misuse.push(text);
    }
}

fn add(
    guest: &mut Guest<'_>,
    kind: u32,
    name: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> Done {
    let name = guest.read(name, size)?.to_ascii_lowercase();
    let value = guest.read(value, value_size)?;
    check_value(guest, &name, &value);
    map(guest, kind)?.push((name, value));
    Ok(())
}

/// All values of the name give way to the new one, which stands last.
fn replace(
    guest: &mut Guest<'_>,
    kind: u32,
    name: u32,
    size: u32,
    value: u32,
    value_size: u32,
) -> Done {
    let name = guest.read(name, size)?.to_ascii_lowercase();
    let value = guest.read(value, value_size)?;
    check_value(guest, &name, &value);
    let headers = map(guest, kind)?;
    headers.retain(|(known, _)| *known != name);
    headers.push((name, value));
    Ok(())
}

fn remove(guest: &mut Guest<'_>, kind: u32, name: u32, size: u32) -> Done {
    let name = guest.read(name, size)?.to_ascii_lowercase();
    map(guest, kind)?.retain(|(known, _)| *known != name);
    Ok(())
}

fn buffer(
    guest: &mut Guest<'_>,
    kind: u32,
    start: u32,
    length: u32,
    to: u32,
    size_to: u32,
) -> Done {
    let end = start.saturating_add(length);
    let part = {
        let bytes = guest.state().buffer(kind).ok_or(Status::NOT_FOUND)?;
        let start = usize::try_from(start).unwrap_or(usize::MAX).min(bytes.len());
        let end = usize::try_from(end).unwrap_or(usize::MAX).min(bytes.len());
        bytes.get(start..end).map(<[u8]>::to_vec).unwrap_or_default()
    };
    if part.is_empty() {
        return Ok(());
    }
    guest.give(&part, to, size_to)
}

fn buffer_status(guest: &mut Guest<'_>, kind: u32, size_to: u32, flags_to: u32) -> Done {
    let size = guest.state().buffer(kind).ok_or(Status::NOT_FOUND)?.len();
    guest.write_word(size_to, u32::try_from(size).unwrap_or(u32::MAX))?;
    guest.write_word(flags_to, 0)
}

/// No buffer here may be written: bodies are never touched.
fn set_buffer(_: &mut Guest<'_>, _: u32, _: u32, _: u32, _: u32, _: u32) -> Done {
    Err(Status::NOT_FOUND.into())
}

#[expect(clippy::too_many_arguments, reason = "the arguments are those of the ABI")]
fn respond(
    guest: &mut Guest<'_>,
    status: u32,
    details: u32,
    details_size: u32,
    body: u32,
    body_size: u32,
    headers: u32,
    headers_size: u32,
    grpc: u32,
) -> Done {
    let details = guest.read(details, details_size)?;
    let body = guest.read(body, body_size)?;
    let headers = guest.read(headers, headers_size)?;
    let headers = lower_names(decode_pairs(&headers).ok_or(Status::BAD_ARGUMENT)?);
    for (name, value) in &headers {
        check_value(guest, name, value);
    }
    let grpc_status = Some(grpc.cast_signed()).filter(|status| *status != -1);
    let response = LocalResponse { status, headers, body, grpc_status, details };
    let state = guest.state();
    if state.stream().is_none() {
        return Err(Status::BAD_ARGUMENT.into());
    }
    let action = Deferred::Respond(state.context(), response);
    state.deferred.push(action);
    Ok(())
}

fn go_on(guest: &mut Guest<'_>, kind: u32) -> Done {
    let state = guest.state();
    if state.stream().is_none() || kind > 1 {
        return Err(Status::BAD_ARGUMENT.into());
    }
    let action = Deferred::Continue(state.context(), kind);
    state.deferred.push(action);
    Ok(())
}

fn close(guest: &mut Guest<'_>, _: u32) -> Done {
    let state = guest.state();
    if state.stream().is_none() {
        return Err(Status::BAD_ARGUMENT.into());
    }
    let action = Deferred::Close(state.context());
    state.deferred.push(action);
    Ok(())
}
