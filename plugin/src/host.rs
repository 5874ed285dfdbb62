//! Every call to the host, each with its status as a value.
//!
//! The functions of the SDK panic on a status that they do not expect, and a panic here is an outage
//! of the worker; so the calls are bound by hand. This is the only file with `unsafe`.

#![allow(unsafe_code)]

use core::ptr::{null, null_mut, slice_from_raw_parts_mut};

/// A status other than `Ok`, as the ABI numbers them (1 `NotFound`, 2 `BadArgument`, …).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Status(pub(crate) u32);

/// The value that was asked for does not exist.
pub(crate) const NOT_FOUND: Status = Status(1);

/// Result of a call to the host.
pub(crate) type HostResult<T> = Result<T, Status>;

/// Maps of header fields.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum Map {
    /// Headers of the request.
    RequestHeaders = 0,
    /// Trailers of the request.
    RequestTrailers = 1,
    /// Headers of the answer to the client.
    ResponseHeaders = 2,
    /// Headers of the answer to a call.
    CallHeaders = 6,
}

/// Buffers of bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum Buffer {
    /// Body of the answer to a call.
    CallBody = 4,
    /// Configuration of the plugin.
    PluginConfiguration = 7,
}

/// Levels of the proxy's log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum Level {
    /// Something to look at.
    Warning = 3,
    /// Something that does not work.
    Error = 4,
}

mod import {
    #[link(wasm_import_module = "env")]
    unsafe extern "C" {
        pub(super) fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
        pub(super) fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
        pub(super) fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
        pub(super) fn proxy_get_buffer_bytes(
            buffer: u32,
            start: usize,
            limit: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_pairs(
            map: u32,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_get_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_add_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_remove_header_map_value(
            map: u32,
            name: *const u8,
            name_size: usize,
        ) -> u32;
        pub(super) fn proxy_get_property(
            path: *const u8,
            path_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_set_property(
            path: *const u8,
            path_size: usize,
            value: *const u8,
            value_size: usize,
        ) -> u32;
        pub(super) fn proxy_send_local_response(
            status: u32,
            details: *const u8,
            details_size: usize,
            body: *const u8,
            body_size: usize,
            headers: *const u8,
            headers_size: usize,
            grpc_status: i32,
        ) -> u32;
        pub(super) fn proxy_get_shared_data(
            key: *const u8,
            key_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
            version: *mut u32,
        ) -> u32;
        pub(super) fn proxy_set_shared_data(
            key: *const u8,
            key_size: usize,
            value: *const u8,
            value_size: usize,
            version: u32,
        ) -> u32;
        pub(super) fn proxy_call_foreign_function(
            name: *const u8,
            name_size: usize,
            argument: *const u8,
            argument_size: usize,
            data: *mut *mut u8,
            size: *mut usize,
        ) -> u32;
        pub(super) fn proxy_define_metric(
            kind: u32,
            name: *const u8,
            name_size: usize,
            id: *mut u32,
        ) -> u32;
        pub(super) fn proxy_increment_metric(id: u32, offset: i64) -> u32;
        pub(super) fn proxy_record_metric(id: u32, value: u64) -> u32;
    }

    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    unsafe extern "C" {
        pub(super) fn clock_time_get(clock: u32, precision: u64, time: *mut u64) -> u32;
    }
}

fn done(status: u32) -> HostResult<()> {
    if status == 0 { Ok(()) } else { Err(Status(status)) }
}

/// Makes a call that returns bytes, which the host has put into memory of this module.
fn bytes(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> HostResult<Vec<u8>> {
    let mut data: *mut u8 = null_mut();
    let mut size = 0_usize;
    done(call(&raw mut data, &raw mut size))?;
    if data.is_null() || size == 0 {
        return Ok(Vec::new());
    }
    // SAFETY: on success the host returns memory that it got from `proxy_on_memory_allocate`, which
    // allocates exactly `size` bytes by the global allocator and gives up ownership of them.
    Ok(unsafe { Box::from_raw(slice_from_raw_parts_mut(data, size)) }.into_vec())
}

/// Writes a line to the proxy's log. A log that cannot be written is no reason to fail.
pub(crate) fn log(level: Level, message: &str) {
    // SAFETY: pointer and length are those of a live slice; the host only reads.
    let _ = unsafe { import::proxy_log(level as u32, message.as_ptr(), message.len()) };
}

/// The wall clock, in nanoseconds since the epoch.
pub(crate) fn now_nanoseconds() -> HostResult<u64> {
    let mut time = 0_u64;
    // SAFETY: the host writes eight bytes to a live `u64`.
    done(unsafe { import::proxy_get_current_time_nanoseconds(&raw mut time) })?;
    Ok(time)
}

/// The monotonic clock, in nanoseconds since some moment.
pub(crate) fn monotonic_nanoseconds() -> HostResult<u64> {
    const MONOTONIC: u32 = 1;
    let mut time = 0_u64;
    // SAFETY: the host writes eight bytes to a live `u64`.
    done(unsafe { import::clock_time_get(MONOTONIC, 0, &raw mut time) })?;
    Ok(time)
}

/// Asks for a tick every `milliseconds`.
pub(crate) fn set_tick_period(milliseconds: u32) -> HostResult<()> {
    // SAFETY: no pointers.
    done(unsafe { import::proxy_set_tick_period_milliseconds(milliseconds) })
}

/// The first `limit` bytes of a buffer.
pub(crate) fn buffer(buffer: Buffer, limit: usize) -> HostResult<Vec<u8>> {
    // SAFETY: the host writes to live locals of `bytes`.
    bytes(|data, size| unsafe {
        import::proxy_get_buffer_bytes(buffer as u32, 0, limit, data, size)
    })
}

/// All fields of a map, serialized as in [`crate::pairs`].
pub(crate) fn fields(map: Map) -> HostResult<Vec<u8>> {
    // SAFETY: the host writes to live locals of `bytes`.
    bytes(|data, size| unsafe { import::proxy_get_header_map_pairs(map as u32, data, size) })
}

/// The first field of this name.
pub(crate) fn field(map: Map, name: &[u8]) -> HostResult<Vec<u8>> {
    // SAFETY: pointer and length are those of a live slice; results go to live locals of `bytes`.
    bytes(|data, size| unsafe {
        import::proxy_get_header_map_value(map as u32, name.as_ptr(), name.len(), data, size)
    })
}

/// Adds a field.
pub(crate) fn add_field(map: Map, name: &[u8], value: &[u8]) -> HostResult<()> {
    // SAFETY: pointers and lengths are those of live slices; the host only reads.
    done(unsafe {
        import::proxy_add_header_map_value(
            map as u32,
            name.as_ptr(),
            name.len(),
            value.as_ptr(),
            value.len(),
        )
    })
}

/// Removes all fields of this name.
pub(crate) fn remove_field(map: Map, name: &[u8]) -> HostResult<()> {
    // SAFETY: pointer and length are those of a live slice; the host only reads.
    done(unsafe { import::proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// The property at `path`, its elements joined by NUL.
pub(crate) fn property(path: &[u8]) -> HostResult<Vec<u8>> {
    // SAFETY: pointer and length are those of a live slice; results go to live locals of `bytes`.
    bytes(|data, size| unsafe { import::proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets the filter state `wasm.<name>`.
pub(crate) fn set_property(name: &[u8], value: &[u8]) -> HostResult<()> {
    // SAFETY: pointers and lengths are those of live slices; the host only reads.
    done(unsafe {
        import::proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len())
    })
}

/// Answers the request in place of the upstream. `headers` are serialized as in [`crate::pairs`].
pub(crate) fn answer(
    status: u16,
    details: &str,
    headers: &[u8],
    body: &[u8],
    grpc_status: i32,
) -> HostResult<()> {
    // SAFETY: pointers and lengths are those of live slices; the host only reads.
    done(unsafe {
        import::proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status,
        )
    })
}

/// The value of `key` in the memory that all VMs of the process share, and its version.
pub(crate) fn shared_data(key: &str) -> HostResult<(Vec<u8>, u32)> {
    let mut version = 0_u32;
    // SAFETY: pointer and length are those of a live slice; results go to live locals of `bytes` and
    // to a live `u32`.
    let value = bytes(|data, size| unsafe {
        import::proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)
    })?;
    Ok((value, version))
}

/// Sets the value of `key` there; if `version` is not 0, only in place of the value of that version.
pub(crate) fn set_shared_data(key: &str, value: &[u8], version: u32) -> HostResult<()> {
    // SAFETY: pointers and lengths are those of live slices; the host only reads.
    done(unsafe {
        import::proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version)
    })
}

/// Calls a function that the host offers beyond the ABI.
pub(crate) fn foreign(name: &str, argument: &[u8]) -> HostResult<Vec<u8>> {
    let argument_data = if argument.is_empty() { null() } else { argument.as_ptr() };
    // SAFETY: pointers and lengths are those of live slices; results go to live locals of `bytes`.
    bytes(|data, size| unsafe {
        import::proxy_call_foreign_function(
            name.as_ptr(),
            name.len(),
            argument_data,
            argument.len(),
            data,
            size,
        )
    })
}

/// Kinds of metrics.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u32)]
pub(crate) enum MetricKind {
    /// Only grows.
    Counter = 0,
    /// Has a value.
    Gauge = 1,
    /// Has many values.
    Histogram = 2,
}

/// Defines a metric and returns its id.
pub(crate) fn define_metric(kind: MetricKind, name: &str) -> HostResult<u32> {
    let mut id = 0_u32;
    // SAFETY: pointer and length are those of a live slice; the host writes to a live `u32`.
    done(unsafe {
        import::proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id)
    })?;
    Ok(id)
}

/// Adds to a counter.
pub(crate) fn increment_metric(id: u32, offset: u64) -> HostResult<()> {
    let offset = i64::try_from(offset).unwrap_or(i64::MAX);
    // SAFETY: no pointers.
    done(unsafe { import::proxy_increment_metric(id, offset) })
}

/// Sets a gauge, or adds a value to a histogram.
pub(crate) fn record_metric(id: u32, value: u64) -> HostResult<()> {
    // SAFETY: no pointers.
    done(unsafe { import::proxy_record_metric(id, value) })
}

/// Calls an HTTP service by a cluster of the proxy; returns the token of the answer.
///
/// This one goes through the SDK, whose dispatcher must know the token. It panics on a status other
/// than `Ok`, `BadArgument` and `InternalFailure`; the host gives no other (its `http_call` returns
/// these three, or a memory error for pointers that are not ours).
pub(crate) fn call(
    cluster: &str,
    headers: Vec<(&str, &str)>,
    body: &[u8],
    timeout_milliseconds: u64,
) -> HostResult<u32> {
    let timeout = core::time::Duration::from_millis(timeout_milliseconds);
    proxy_wasm::hostcalls::dispatch_http_call(cluster, headers, Some(body), Vec::new(), timeout)
        .map_err(|status| Status(status as u32))
}
