//! The least a server can do: read a request head, answer. One thread per connection.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    thread,
};

use anyhow::Result;

/// Requests here have no body and fit easily.
const HEAD_BYTES: usize = 32 * 1024;
/// What the upstream of every bench answers.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 17\r\n\r\n{\"status\":\"fine\"}";

/// Starts the upstream of the benches.
pub(crate) fn start() -> Result<SocketAddr> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    Ok(address)
}

fn serve(mut stream: TcpStream) {
    let mut buffer = vec![0; HEAD_BYTES];
    let mut filled = 0_usize;
    let _ = stream.set_nodelay(true);
    while let Ok(read @ 1..) = stream.read(buffer.get_mut(filled..).unwrap_or_default()) {
        filled = filled.saturating_add(read);
        if buffer.get(..filled).is_some_and(|head| head.ends_with(b"\r\n\r\n")) {
            filled = 0;
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
    }
}
