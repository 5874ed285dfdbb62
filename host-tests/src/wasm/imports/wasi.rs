//! WASI preview 1 as far as Envoy gives it to a filter: environment, clocks, randomness, console.

use anyhow::{Result, anyhow};
use wasmtime::{Caller, Linker};

use super::super::abi::Status;
use super::super::guest::{Done, Guest, Refusal};
use super::super::state::State;
use super::{before, finish, host_calls};

/// The function is not there (`errno` of WASI).
pub(super) const ENOSYS: u32 = 52;
const EBADF: Status = Status(8);
const EINVAL: Status = Status(28);
/// The capability is restricted.
const ENOTCAPABLE: u32 = 76;
/// Most random bytes of one call.
const MAX_RANDOM_BYTES: u32 = 64 * 1024;

pub(super) fn link(linker: &mut Linker<State>) -> Result<()> {
    let refused = ENOTCAPABLE;
    host_calls!(linker, "wasi_snapshot_preview1", refused;
        "environ_sizes_get" => environ_sizes, (count_to: u32, size_to: u32);
        "environ_get" => environ, (pointers_to: u32, text_to: u32);
        "args_sizes_get" => args_sizes, (count_to: u32, size_to: u32);
        "clock_time_get" => clock_time, (clock: u32, _precision: u64, to: u32);
        "random_get" => random, (to: u32, size: u32);
        "fd_write" => fd_write, (file: u32, parts: u32, count: u32, written_to: u32);
    );
    linker
        .func_wrap("wasi_snapshot_preview1", "proc_exit", |code: u32| -> wasmtime::Result<()> {
            Err(wasmtime::Error::msg(format!("proc_exit({code})")))
        })
        .map_err(|error| anyhow!("{error:?}"))?;
    Ok(())
}

fn variables(guest: &mut Guest<'_>) -> Vec<Vec<u8>> {
    let variables = &guest.state().setup.environment;
    variables.iter().map(|(name, value)| format!("{name}={value}\0").into_bytes()).collect()
}

fn size_of(parts: &[Vec<u8>]) -> u32 {
    let size = parts.iter().map(Vec::len).fold(0, usize::saturating_add);
    u32::try_from(size).unwrap_or(u32::MAX)
}

fn environ_sizes(guest: &mut Guest<'_>, count_to: u32, size_to: u32) -> Done {
    let variables = variables(guest);
    guest.write_word(count_to, u32::try_from(variables.len()).unwrap_or(u32::MAX))?;
    guest.write_word(size_to, size_of(&variables))
}

fn environ(guest: &mut Guest<'_>, mut pointers_to: u32, mut text_to: u32) -> Done {
    for variable in variables(guest) {
        guest.write_word(pointers_to, text_to)?;
        guest.write(text_to, &variable)?;
        pointers_to = pointers_to.saturating_add(4);
        text_to = text_to.saturating_add(u32::try_from(variable.len()).unwrap_or(u32::MAX));
    }
    Ok(())
}

fn args_sizes(guest: &mut Guest<'_>, count_to: u32, size_to: u32) -> Done {
    guest.write_word(count_to, 0)?;
    guest.write_word(size_to, 0)
}

/// Realtime and monotonic only, as in Envoy.
fn clock_time(guest: &mut Guest<'_>, clock: u32, _precision: u64, to: u32) -> Done {
    let time = {
        let world = guest.state().world();
        match clock {
            0 => world.wall,
            1 => world.monotonic,
            _ => return Err(EINVAL.into()),
        }
    };
    guest.write(to, &u64::try_from(time.as_nanos()).unwrap_or(u64::MAX).to_le_bytes())
}

fn random(guest: &mut Guest<'_>, to: u32, size: u32) -> Done {
    if size > MAX_RANDOM_BYTES {
        return Err(EINVAL.into());
    }
    let bytes = guest.state().random_bytes(usize::try_from(size).unwrap_or(0));
    guest.write(to, &bytes)
}

/// Standard output is logged as information and standard error as error, line by line.
fn fd_write(guest: &mut Guest<'_>, file: u32, parts: u32, count: u32, written_to: u32) -> Done {
    let level = match file {
        1 => 2,
        2 => 4,
        _ => return Err(EBADF.into()),
    };
    let mut written = 0_u32;
    for index in 0..count {
        let at = parts.saturating_add(index.saturating_mul(8));
        let (pointer, size) = (word(guest, at)?, word(guest, at.saturating_add(4))?);
        let bytes = guest.read(pointer, size)?;
        guest.state().console.extend_from_slice(&bytes);
        written = written.saturating_add(size);
    }
    let state = guest.state();
    while let Some(end) = state.console.iter().position(|byte| *byte == b'\n') {
        let line: Vec<u8> = state.console.drain(..=end).collect();
        state.log(level, line.trim_ascii_end());
    }
    guest.write_word(written_to, written)
}

fn word(guest: &mut Guest<'_>, at: u32) -> Done<u32> {
    let bytes = guest.read(at, 4)?;
    let bytes: [u8; 4] =
        bytes.try_into().map_err(|_| Refusal::from(Status::INVALID_MEMORY_ACCESS))?;
    Ok(u32::from_le_bytes(bytes))
}
