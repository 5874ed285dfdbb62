//! The service over gRPC: `envoy.service.auth.v3.Authorization/Check`, its messages by hand.

use std::{cell::RefCell, convert::Infallible, net::TcpListener, rc::Rc};

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    HeaderMap, Request, Response,
    body::{Body, Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http2,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::task::LocalSet;
use wardgate_core::gate::Gate;

use super::{Verdict, decide, gate};

/// Length of the prefix of a gRPC message: a flag and a length.
const PREFIX_BYTES: usize = 5;

pub(super) fn serve(listener: TcpListener, config: &[u8]) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let gate = Rc::new(RefCell::new(gate(config)?));
    LocalSet::new().block_on(&runtime, async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let gate = Rc::clone(&gate);
            tokio::task::spawn_local(async move {
                let service = service_fn(|request| answer(Rc::clone(&gate), request));
                let _ = http2::Builder::new(Local)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
            });
        }
    })
}

/// Runs futures on the one thread, which owns the gate.
#[derive(Clone)]
struct Local;

impl<F: Future<Output: 'static> + 'static> hyper::rt::Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

async fn answer(
    gate: Rc<RefCell<Gate>>,
    request: Request<Incoming>,
) -> Result<Response<impl Body<Data = Bytes, Error = Infallible>>, hyper::Error> {
    let body = request.into_body().collect().await?.to_bytes();
    let check = CheckRequest::read(body.get(PREFIX_BYTES..).unwrap_or_default());
    let fields = check.unwrap_or_default().fields;
    let verdict =
        gate.try_borrow_mut().map_or(Verdict::Deny(503), |mut gate| decide(&mut gate, &fields));
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let message = Bytes::from(framed(&write_response(&verdict)));
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    Ok(response)
}

/// What is read of a `CheckRequest`: the header fields of the request.
#[derive(Default)]
struct CheckRequest<'a> {
    fields: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> CheckRequest<'a> {
    /// attributes (1) → request (4) → http (2), with method (2), headers (3: a map of string to
    /// string), path (4) and host (5).
    fn read(message: &'a [u8]) -> Result<Self> {
        let http = member(member(member(message, 1)?, 4)?, 2)?;
        let mut fields: Vec<(&[u8], &[u8])> = Vec::with_capacity(16);
        let mut rest = http;
        while !rest.is_empty() {
            let (number, value, after) = next(rest)?;
            match number {
                2 => fields.push((b":method", value)),
                3 => fields.push((member(value, 1)?, member(value, 2).unwrap_or_default())),
                4 => fields.push((b":path", value)),
                5 => fields.push((b":authority", value)),
                _ => {}
            }
            rest = after;
        }
        Ok(Self { fields })
    }
}

/// The first length-delimited member of this number.
fn member(mut message: &[u8], wanted: u64) -> Result<&[u8]> {
    while !message.is_empty() {
        let (number, value, rest) = next(message)?;
        if number == wanted {
            return Ok(value);
        }
        message = rest;
    }
    anyhow::bail!("no member {wanted}")
}

/// Number and bytes of the first member, and what follows it.
fn next(message: &[u8]) -> Result<(u64, &[u8], &[u8])> {
    let (tag, rest) = varint(message)?;
    let length = match tag & 7 {
        0 => {
            let (_, after) = varint(rest)?;
            return Ok((tag >> 3, &[], after));
        }
        1 => (8, rest),
        5 => (4, rest),
        _ => varint(rest)?,
    };
    let split = length.1.split_at_checked(usize::try_from(length.0)?);
    let (value, after) = split.context("cut short")?;
    Ok((tag >> 3, value, after))
}

fn varint(message: &[u8]) -> Result<(u64, &[u8])> {
    let end = message.iter().take(10).position(|byte| *byte < 0x80).context("no end")?;
    let (digits, rest) = message.split_at(end.saturating_add(1));
    let value = digits.iter().rev().fold(0, |value, byte| (value << 7) | u64::from(byte & 0x7f));
    Ok((value, rest))
}

/// A `CheckResponse`: status (1); `ok_response` (3) with headers (2), or `denied_response` (2) with
/// a status (1).
fn write_response(verdict: &Verdict) -> Vec<u8> {
    let mut response = Vec::new();
    match verdict {
        Verdict::Permit(headers) => {
            let mut ok = Vec::new();
            for (name, value) in headers {
                let mut header = Vec::new();
                write_member(&mut header, 1, name.as_bytes());
                write_member(&mut header, 2, value);
                let mut option = Vec::new();
                write_member(&mut option, 1, &header);
                write_member(&mut ok, 2, &option);
            }
            write_member(&mut response, 1, &[]);
            write_member(&mut response, 3, &ok);
        }
        Verdict::Deny(status) => {
            // PERMISSION_DENIED of google.rpc.Code.
            write_member(&mut response, 1, &[0x08, 7]);
            let mut code = vec![0x08];
            write_varint(&mut code, u64::from(*status));
            let mut denied = Vec::new();
            write_member(&mut denied, 1, &code);
            write_member(&mut response, 2, &denied);
        }
    }
    response
}

fn write_member(to: &mut Vec<u8>, number: u8, bytes: &[u8]) {
    to.push((number << 3) | 2);
    write_varint(to, bytes.len() as u64);
    to.extend_from_slice(bytes);
}

fn write_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = u32::try_from(message.len()).unwrap_or(0).to_be_bytes();
    [&[0], &length[..], message].concat()
}

#[cfg(test)]
mod tests {
    use super::{CheckRequest, write_member};

    #[test]
    fn header_fields_are_found_in_a_check_request() {
        let (mut entry, mut http, mut request) = (Vec::new(), Vec::new(), Vec::new());
        let (mut attributes, mut check) = (Vec::new(), Vec::new());
        write_member(&mut entry, 1, b"authorization");
        write_member(&mut entry, 2, &[b'x'; 300]);
        write_member(&mut http, 1, b"id");
        write_member(&mut http, 3, &entry);
        write_member(&mut request, 2, &http);
        write_member(&mut attributes, 4, &request);
        write_member(&mut check, 1, &attributes);
        let read = CheckRequest::read(&check).unwrap();
        assert_eq!(read.fields, [(&b"authorization"[..], &[b'x'; 300][..])]);
    }
}
