//! The service over HTTP/1.1: one thread per connection, no allocation that could be spared.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use wardgate_core::gate::Gate;

use super::{Verdict, decide, gate};

/// Envoy sends the checked request's head; it fits easily.
const HEAD_BYTES: usize = 32 * 1024;

pub(super) fn serve(listener: &TcpListener, config: &[u8]) {
    for stream in listener.incoming().flatten() {
        let config = config.to_vec();
        thread::spawn(move || gate(&config).map(|gate| converse(stream, gate)));
    }
}

fn converse(mut stream: TcpStream, mut gate: Gate) {
    let mut buffer = vec![0; HEAD_BYTES];
    let mut filled = 0_usize;
    let _ = stream.set_nodelay(true);
    while let Ok(read @ 1..) = stream.read(buffer.get_mut(filled..).unwrap_or_default()) {
        filled = filled.saturating_add(read);
        let head = buffer.get(..filled).unwrap_or_default();
        if head.ends_with(b"\r\n\r\n") {
            let answer = answer(&mut gate, head);
            filled = 0;
            if stream.write_all(&answer).is_err() {
                return;
            }
        }
    }
}

fn answer(gate: &mut Gate, head: &[u8]) -> Vec<u8> {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end);
    let mut line = lines.next().unwrap_or_default().split(|byte| *byte == b' ');
    let method = line.next().unwrap_or_default();
    let path = line.next().unwrap_or_default();
    let mut fields: Vec<(&[u8], &[u8])> = Vec::with_capacity(16);
    fields.push((b":method", method));
    fields.push((b":path", path));
    for line in lines.filter(|line| !line.is_empty()) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        let value = value.get(1..).unwrap_or_default().trim_ascii_start();
        fields.push((if name == b"host" { b":authority" } else { name }, value));
    }
    write_answer(&decide(gate, &fields))
}

fn write_answer(verdict: &Verdict) -> Vec<u8> {
    match verdict {
        Verdict::Permit(headers) => {
            let mut answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n".to_vec();
            for (name, value) in headers {
                answer.extend_from_slice(name.as_bytes());
                answer.extend_from_slice(b": ");
                answer.extend_from_slice(value);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"\r\n");
            answer
        }
        Verdict::Deny(status) => {
            format!("HTTP/1.1 {status} Refused\r\ncontent-length: 0\r\n\r\n").into_bytes()
        }
    }
}
