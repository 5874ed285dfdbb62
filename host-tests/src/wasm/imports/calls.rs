//! HTTP calls, foreign functions and the effective context.

use std::time::Duration;

use anyhow::{Result, anyhow};
use wasmtime::{Caller, Linker};

use super::super::abi::{Status, decode_pairs};
use super::super::call::HttpCall;
use super::super::foreign;
use super::super::guest::{Done, Guest};
use super::super::state::State;
use super::{before, finish, host_calls};

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    let refused = Status::INTERNAL_FAILURE.0;
    host_calls!(linker, "env", refused;
        "proxy_http_call" => http_call, (cluster: u32, cluster_size: u32, headers: u32, headers_size: u32, body: u32, body_size: u32, trailers: u32, trailers_size: u32, timeout: u32, token_to: u32);
        "proxy_get_status" => status, (code_to: u32, to: u32, size_to: u32);
        "proxy_set_effective_context" => set_effective_context, (context: u32);
        "proxy_call_foreign_function" => call_foreign_function, (name: u32, name_size: u32, argument: u32, size: u32, to: u32, size_to: u32);
    );
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the arguments are those of the ABI")]
fn http_call(
    guest: &mut Guest<'_>,
    cluster: u32,
    cluster_size: u32,
    headers: u32,
    headers_size: u32,
    body: u32,
    body_size: u32,
    trailers: u32,
    trailers_size: u32,
    timeout: u32,
    token_to: u32,
) -> Done {
    let cluster = guest.read(cluster, cluster_size)?;
    let headers = guest.read(headers, headers_size)?;
    let headers = decode_pairs(&headers).ok_or(Status::BAD_ARGUMENT)?;
    let body = guest.read(body, body_size)?;
    let trailers = guest.read(trailers, trailers_size)?;
    decode_pairs(&trailers).ok_or(Status::BAD_ARGUMENT)?;
    let state = guest.state();
    let cluster = state.refuse_unknown_cluster(&cluster)?;
    for needed in [":method", ":path", ":authority"] {
        if !headers.iter().any(|(name, _)| name == needed.as_bytes()) {
            return Err(Status::BAD_ARGUMENT.into());
        }
    }
    if state.calls_fail {
        return Err(Status::INTERNAL_FAILURE.into());
    }
    let now = state.world().monotonic;
    let timeout = Some(timeout).filter(|timeout| *timeout != 0);
    let deadline = timeout.map(|timeout| now.saturating_add(Duration::from_millis(timeout.into())));
    let token = state.next_token;
    state.next_token = token.wrapping_add(1);
    let root = state.root_id();
    state
        .calls
        .insert(token, HttpCall { token, cluster, headers, body, deadline, made_at: now, root });
    guest.write_word(token_to, token)
}

fn status(guest: &mut Guest<'_>, code_to: u32, to: u32, size_to: u32) -> Done {
    let (code, message) = guest.state().last_status.clone();
    guest.write_word(code_to, code)?;
    guest.give(&message, to, size_to)
}

fn set_effective_context(guest: &mut Guest<'_>, context: u32) -> Done {
    let state = guest.state();
    if !state.has_context(context) {
        return Err(Status::BAD_ARGUMENT.into());
    }
    state.effective = context;
    Ok(())
}

fn call_foreign_function(
    guest: &mut Guest<'_>,
    name: u32,
    name_size: u32,
    argument: u32,
    size: u32,
    to: u32,
    size_to: u32,
) -> Done {
    let name = guest.read(name, name_size)?;
    let argument = guest.read(argument, size)?;
    let result = match name.as_slice() {
        b"verify_signature" if guest.state().setup.verify_signature => {
            foreign::verify_signature(&argument)?
        }
        b"clear_route_cache" | b"declare_property" | b"set_envoy_filter_state" => Vec::new(),
        _ => return Err(Status::NOT_FOUND.into()),
    };
    guest.give(&result, to, size_to)
}
