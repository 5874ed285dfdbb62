//! The guest's memory as a host call sees it.

use wasmtime::{Caller, Extern, Memory};

use super::abi::Status;
use super::state::State;

/// Why a host call did not do what it was asked.
pub(super) enum Refusal {
    /// It answers this status.
    Status(Status),
    /// The VM dies.
    Trap(wasmtime::Error),
}

impl From<Status> for Refusal {
    fn from(status: Status) -> Self {
        Self::Status(status)
    }
}

impl From<wasmtime::Error> for Refusal {
    fn from(error: wasmtime::Error) -> Self {
        Self::Trap(error)
    }
}

/// What a host call answers.
pub(super) type Done<T = ()> = Result<T, Refusal>;

/// The caller of a host call, with its memory.
pub(super) struct Guest<'a>(pub(super) Caller<'a, State>);

impl Guest<'_> {
    pub(super) fn state(&mut self) -> &mut State {
        self.0.data_mut()
    }

    fn memory(&mut self) -> Done<Memory> {
        match self.0.get_export("memory") {
            Some(Extern::Memory(memory)) => Ok(memory),
            _ => Err(Status::INVALID_MEMORY_ACCESS.into()),
        }
    }

    pub(super) fn read(&mut self, pointer: u32, size: u32) -> Done<Vec<u8>> {
        if size == 0 {
            return Ok(Vec::new());
        }
        let memory = self.memory()?;
        let start = usize::try_from(pointer).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        let bytes = memory.data(&self.0).get(start..end);
        bytes.map(<[u8]>::to_vec).ok_or_else(|| Status::INVALID_MEMORY_ACCESS.into())
    }

    pub(super) fn write(&mut self, pointer: u32, bytes: &[u8]) -> Done {
        let memory = self.memory()?;
        let start = usize::try_from(pointer).unwrap_or(usize::MAX);
        memory.write(&mut self.0, start, bytes).map_err(|_| Status::INVALID_MEMORY_ACCESS.into())
    }

    pub(super) fn write_word(&mut self, pointer: u32, word: u32) -> Done {
        self.write(pointer, &word.to_le_bytes())
    }

    /// Hands `bytes` over in memory that the guest allocates, as Envoy does; none for no bytes.
    pub(super) fn give(&mut self, bytes: &[u8], pointer_at: u32, size_at: u32) -> Done {
        let size = u32::try_from(bytes.len()).map_err(|_| Status::INTERNAL_FAILURE)?;
        let pointer = if size == 0 { 0 } else { self.allocate(size)? };
        if size != 0 {
            self.write(pointer, bytes)?;
        }
        self.write_word(pointer_at, pointer)?;
        self.write_word(size_at, size)
    }

    fn allocate(&mut self, size: u32) -> Done<u32> {
        let export = ["proxy_on_memory_allocate", "malloc"]
            .iter()
            .find_map(|name| self.0.get_export(name).and_then(Extern::into_func))
            .ok_or(Status::INTERNAL_FAILURE)?;
        let allocate = export.typed::<u32, u32>(&self.0)?;
        let pointer = allocate.call(&mut self.0, size)?;
        if pointer == 0 { Err(Status::INVALID_MEMORY_ACCESS.into()) } else { Ok(pointer) }
    }
}
