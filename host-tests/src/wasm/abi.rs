//! The numbers and encodings of proxy-wasm ABI 0.2.1, as Envoy 1.40 speaks them.

/// Header lists as Envoy gives them: in order, repeats kept, values as raw bytes.
pub type Headers = Vec<(Vec<u8>, Vec<u8>)>;

/// The same list with its names in lower case, as Envoy's header maps hold them.
pub fn lower_names(pairs: Headers) -> Headers {
    pairs.into_iter().map(|(name, value)| (name.to_ascii_lowercase(), value)).collect()
}

/// What a host call answers (`WasmResult` of proxy-wasm).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Status(pub u32);

impl Status {
    /// Done.
    pub const OK: Self = Self(0);
    /// No such header, property, key, function or buffer.
    pub const NOT_FOUND: Self = Self(1);
    /// An argument has no meaning here.
    pub const BAD_ARGUMENT: Self = Self(2);
    /// A value has no form that the guest could read.
    pub const SERIALIZATION_FAILURE: Self = Self(3);
    /// A pointer leads outside the guest's memory.
    pub const INVALID_MEMORY_ACCESS: Self = Self(6);
    /// The queue is empty.
    pub const EMPTY: Self = Self(7);
    /// The value was changed by someone else.
    pub const CAS_MISMATCH: Self = Self(8);
    /// Anything else, restricted capabilities among it.
    pub const INTERNAL_FAILURE: Self = Self(10);
    /// The stream of a call broke.
    pub const BROKEN_CONNECTION: Self = Self(11);
    /// The host does not offer the call.
    pub const UNIMPLEMENTED: Self = Self(12);
}

/// `WasmHeaderMapType`: which header list a call means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MapKind {
    /// Headers of the request.
    RequestHeaders,
    /// Trailers of the request.
    RequestTrailers,
    /// Headers of the response.
    ResponseHeaders,
    /// Trailers of the response.
    ResponseTrailers,
    /// Headers of the answer to an HTTP call.
    CallHeaders,
    /// Trailers of the answer to an HTTP call.
    CallTrailers,
}

impl MapKind {
    /// The kind with this number; the gRPC ones are never available here.
    pub fn from_number(number: u32) -> Option<Self> {
        match number {
            0 => Some(Self::RequestHeaders),
            1 => Some(Self::RequestTrailers),
            2 => Some(Self::ResponseHeaders),
            3 => Some(Self::ResponseTrailers),
            6 => Some(Self::CallHeaders),
            7 => Some(Self::CallTrailers),
            _ => None,
        }
    }
}

/// Most entries of one header list that the host encodes or decodes (limits.h of cpp-host).
pub const MAX_PAIRS: usize = 1024;
/// Most bytes of one encoded header list (limits.h of cpp-host).
pub const MAX_PAIRS_BYTES: usize = 1024 * 1024;

/// Encodes `pairs`: count, all sizes, then every name and value with a NUL behind it.
///
/// `None` when the list is over the host's limits.
pub fn encode_pairs(pairs: &[(Vec<u8>, Vec<u8>)]) -> Option<Vec<u8>> {
    if pairs.len() > MAX_PAIRS {
        return None;
    }
    let mut encoded = u32::try_from(pairs.len()).ok()?.to_le_bytes().to_vec();
    for (name, value) in pairs {
        encoded.extend_from_slice(&u32::try_from(name.len()).ok()?.to_le_bytes());
        encoded.extend_from_slice(&u32::try_from(value.len()).ok()?.to_le_bytes());
    }
    for part in pairs.iter().flat_map(|(name, value)| [name, value]) {
        encoded.extend_from_slice(part);
        encoded.push(0);
    }
    (encoded.len() <= MAX_PAIRS_BYTES).then_some(encoded)
}

/// Decodes what [`encode_pairs`] makes; `None` for anything cut, over the limits or without its NULs.
///
/// No bytes at all are an empty list.
pub fn decode_pairs(encoded: &[u8]) -> Option<Headers> {
    if encoded.is_empty() {
        return Some(Headers::new());
    }
    if encoded.len() > MAX_PAIRS_BYTES {
        return None;
    }
    let (count, rest) = take_number(encoded)?;
    if count > MAX_PAIRS {
        return None;
    }
    let (sizes, mut text) = rest.split_at_checked(count.checked_mul(8)?)?;
    let mut pairs = Headers::with_capacity(count);
    for size in sizes.chunks_exact(8) {
        let (name_size, size) = take_number(size)?;
        let (value_size, _) = take_number(size)?;
        let (name, after_name) = take_part(text, name_size)?;
        let (value, after_value) = take_part(after_name, value_size)?;
        pairs.push((name.to_vec(), value.to_vec()));
        text = after_value;
    }
    Some(pairs)
}

fn take_number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk::<4>()?;
    Some((usize::try_from(u32::from_le_bytes(*number)).ok()?, rest))
}

fn take_part(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (part, rest) = bytes.split_at_checked(size)?;
    let (nul, rest) = rest.split_first()?;
    (*nul == 0).then_some((part, rest))
}

/// Every function that Envoy 1.40 lets a module import, by module. V8 refuses to link any other.
pub const ENVOY_IMPORTS: &[(&str, &[&str])] = &[
    (
        "env",
        &[
            "proxy_log",
            "proxy_get_log_level",
            "proxy_get_current_time_nanoseconds",
            "proxy_set_tick_period_milliseconds",
            "proxy_get_property",
            "proxy_set_property",
            "proxy_get_header_map_value",
            "proxy_get_header_map_pairs",
            "proxy_get_header_map_size",
            "proxy_set_header_map_pairs",
            "proxy_add_header_map_value",
            "proxy_replace_header_map_value",
            "proxy_remove_header_map_value",
            "proxy_get_buffer_bytes",
            "proxy_get_buffer_status",
            "proxy_set_buffer_bytes",
            "proxy_send_local_response",
            "proxy_continue_stream",
            "proxy_close_stream",
            "proxy_http_call",
            "proxy_get_status",
            "proxy_grpc_call",
            "proxy_grpc_stream",
            "proxy_grpc_send",
            "proxy_grpc_cancel",
            "proxy_grpc_close",
            "proxy_get_shared_data",
            "proxy_set_shared_data",
            "proxy_register_shared_queue",
            "proxy_resolve_shared_queue",
            "proxy_enqueue_shared_queue",
            "proxy_dequeue_shared_queue",
            "proxy_define_metric",
            "proxy_increment_metric",
            "proxy_record_metric",
            "proxy_get_metric",
            "proxy_set_effective_context",
            "proxy_call_foreign_function",
            "proxy_done",
        ],
    ),
    (
        "wasi_snapshot_preview1",
        &[
            "args_get",
            "args_sizes_get",
            "clock_res_get",
            "clock_time_get",
            "environ_get",
            "environ_sizes_get",
            "fd_advise",
            "fd_allocate",
            "fd_close",
            "fd_datasync",
            "fd_fdstat_get",
            "fd_fdstat_set_flags",
            "fd_fdstat_set_rights",
            "fd_filestat_get",
            "fd_filestat_set_size",
            "fd_filestat_set_times",
            "fd_pread",
            "fd_prestat_dir_name",
            "fd_prestat_get",
            "fd_pwrite",
            "fd_read",
            "fd_readdir",
            "fd_renumber",
            "fd_seek",
            "fd_sync",
            "fd_tell",
            "fd_write",
            "path_create_directory",
            "path_filestat_get",
            "path_filestat_set_times",
            "path_link",
            "path_open",
            "path_readlink",
            "path_remove_directory",
            "path_rename",
            "path_symlink",
            "path_unlink_file",
            "poll_oneoff",
            "proc_exit",
            "random_get",
            "sched_yield",
            "sock_accept",
            "sock_recv",
            "sock_send",
            "sock_shutdown",
        ],
    ),
];

#[cfg(test)]
mod tests {
    use super::{MAX_PAIRS, decode_pairs, encode_pairs};

    fn pair(name: &str, value: &[u8]) -> (Vec<u8>, Vec<u8>) {
        (name.as_bytes().to_vec(), value.to_vec())
    }

    #[test]
    fn pairs_come_back_as_they_went_with_order_repeats_and_raw_bytes() {
        let pairs = vec![pair("a", b"1"), pair("a", b"\xff\x00"), pair("", b"")];
        assert_eq!(decode_pairs(&encode_pairs(&pairs).unwrap()), Some(pairs));
    }

    #[test]
    fn the_layout_is_that_of_the_abi() {
        let encoded = encode_pairs(&[pair("ab", b"c")]).unwrap();
        assert_eq!(encoded, b"\x01\0\0\0\x02\0\0\0\x01\0\0\0ab\0c\0");
    }

    #[test]
    fn no_bytes_are_an_empty_list() {
        assert_eq!(decode_pairs(b""), Some(Vec::new()));
    }

    #[test]
    fn a_cut_list_is_refused_at_every_length() {
        let encoded = encode_pairs(&[pair("name", b"value"), pair("b", b"2")]).unwrap();
        for length in 1..encoded.len() {
            assert_eq!(decode_pairs(&encoded[..length]), None, "{length} bytes");
        }
    }

    #[test]
    fn a_list_over_the_limits_of_the_host_is_refused_both_ways() {
        let many = vec![pair("a", b""); MAX_PAIRS + 1];
        assert_eq!(encode_pairs(&many), None);
        assert_eq!(encode_pairs(&[pair("a", &vec![0; 1024 * 1024])]), None);
        assert_eq!(decode_pairs(&[0xff; 16]), None);
    }
}
