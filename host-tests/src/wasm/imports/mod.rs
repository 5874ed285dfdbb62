//! The host calls of proxy-wasm ABI 0.2.1 and of WASI, as a table.

mod calls;
mod maps;
mod rest;
mod wasi;

use anyhow::{Result, anyhow};
use wasmtime::{ExternType, FuncType, Linker, Module, Val};

use super::abi::{ENVOY_IMPORTS, Status};
use super::guest::{Done, Refusal};
use super::state::State;

/// Links functions of one module: name, arguments, what it does, and how its result is a status.
macro_rules! host_calls {
    ($linker:ident, $module:literal, $refused:expr; $( $name:literal => $function:path, ($($argument:ident: $type:ty),*); )+) => {
        $( $linker.func_wrap($module, $name, move |mut caller: Caller<'_, State>, $($argument: $type),*| {
            if let Some(status) = before(caller.data_mut(), $name, $refused)? {
                return Ok(status);
            }
            finish($function(&mut Guest(caller), $($argument),*))
        }).map_err(|error| anyhow!("{error:?}"))?; )+
    };
}
use host_calls;

/// Links everything that `module` imports, and refuses what Envoy would refuse to link.
///
/// # Errors
///
/// Names the first import that Envoy does not offer.
pub(super) fn link_all(linker: &mut Linker<State>, module: &Module) -> Result<()> {
    maps::link(linker)?;
    calls::link(linker)?;
    rest::link(linker)?;
    wasi::link(linker)?;
    linker.allow_shadowing(false);
    for import in module.imports() {
        let (from, name) = (import.module(), import.name());
        let offered =
            ENVOY_IMPORTS.iter().any(|(known, names)| *known == from && names.contains(&name));
        let ExternType::Func(kind) = import.ty() else {
            return Err(anyhow!("missing import: {from}.{name} is not a function"));
        };
        if !offered {
            return Err(anyhow!(
                "Failed to load Wasm module due to a missing import: {from}.{name}"
            ));
        }
        // What no filter of ours needs: offered by Envoy, so it links, and answers that it cannot.
        let _already_linked = stub(linker, from, name, kind);
    }
    Ok(())
}

fn stub(linker: &mut Linker<State>, module: &str, name: &str, kind: FuncType) -> Result<()> {
    let refusal = if module == "env" { Status::UNIMPLEMENTED.0 } else { wasi::ENOSYS };
    let answer = refusal.cast_signed();
    linker
        .func_new(module, name, kind, move |_, _, results| {
            if let Some(result) = results.first_mut() {
                *result = Val::I32(answer);
            }
            Ok(())
        })
        .map(|_| ())
        .map_err(|error| anyhow!("{error:?}"))
}

/// What stands before every host call: start-up, capabilities and faults on purpose.
fn before(
    state: &mut State,
    name: &'static str,
    refused: u32,
) -> Result<Option<u32>, wasmtime::Error> {
    if !state.initialized && name.starts_with("proxy_") && name != "proxy_log" {
        return Err(wasmtime::Error::msg(format!("restricted_callback: {name} in _initialize")));
    }
    if !state.faults.allows(name) {
        let text = format!("Attempted call to restricted proxy-wasm capability: {name}");
        state.log(4, text.as_bytes());
        return Ok(Some(refused));
    }
    Ok(state.faults.strike(name).map(|status| status.0))
}

fn finish(done: Done) -> Result<u32, wasmtime::Error> {
    match done {
        Ok(()) => Ok(Status::OK.0),
        Err(Refusal::Status(status)) => Ok(status.0),
        Err(Refusal::Trap(error)) => Err(error),
    }
}
