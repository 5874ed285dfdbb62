//! One listener: binds, accepts within its limits, speaks HTTP/1.1 and HTTP/2 with prior knowledge,
//! stops in order.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use super::connection::{Requests, TimedStream};
use crate::config::LimitsSection;
use crate::limits::Peer;

/// Streams of one HTTP/2 connection at a time; Envoy opens another connection for more.
const MAX_STREAMS: u32 = 128;
/// What a stream and a connection of HTTP/2 may send before it is read: the least that RFC 9113
/// §6.9.2 lets a connection have, and twice that. It is memory of each connection, and nobody has
/// said yet who sends.
const STREAM_WINDOW: u32 = 65_535;
const CONNECTION_WINDOW: u32 = 2 * STREAM_WINDOW;
/// Longest head of a request; ours are well under a kilobyte.
const MAX_HEAD_BYTES: usize = 64 * 1024;
/// Connections that wait in the kernel to be accepted; as the standard library has it.
const BACKLOG: i32 = 1024;
/// Pause after a failed accept: out of file descriptors, trying at once again helps nobody.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// A bound listener.
pub struct Listener {
    kind: Kind,
}

enum Kind {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

/// An address cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {place}: {reason}")]
pub struct BindError {
    place: String,
    reason: String,
}

impl Listener {
    /// Listens on an IP address.
    ///
    /// # Errors
    ///
    /// [`BindError`] when the address is in use or not ours.
    pub async fn tcp(address: SocketAddr) -> Result<Self, BindError> {
        let bound = TcpListener::bind(address).await;
        let failed = |error: io::Error| bind_error(&address, &error);
        bound.map(|listener| Self { kind: Kind::Tcp(listener) }).map_err(failed)
    }

    /// Listens on a Unix socket with these permissions. A socket that nobody listens on any more is
    /// replaced.
    ///
    /// # Errors
    ///
    /// [`BindError`] when somebody listens there, something else has the name, or the directory
    /// cannot be written.
    pub fn unix(path: &Path, mode: u32) -> Result<Self, BindError> {
        let failed = |error: io::Error| bind_error(&path.display(), &error);
        match fs::symlink_metadata(path) {
            Ok(metadata) if !metadata.file_type().is_socket() => {
                return Err(bind_error(
                    &path.display(),
                    &"something that is no socket has this name",
                ));
            }
            Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
                return Err(bind_error(&path.display(), &"another process listens there"));
            }
            Ok(_) | Err(_) => {}
        }
        // Under another name first, so that a client finds the old socket or the finished one.
        let mut name = path.as_os_str().to_owned();
        name.push(".new");
        let new = PathBuf::from(name);
        // What a crash left behind; if it cannot be removed then bind says why.
        let _ = fs::remove_file(&new);
        let socket = bound(&new, mode).map_err(failed)?;
        rustix::net::listen(&socket, BACKLOG).map_err(|error| failed(error.into()))?;
        fs::rename(&new, path).map_err(failed)?;
        let listener = UnixListener::from_std(socket.into()).map_err(failed)?;
        Ok(Self { kind: Kind::Unix(listener, path.to_owned()) })
    }

    /// Where it listens, for the log.
    pub fn place(&self) -> String {
        match &self.kind {
            Kind::Tcp(listener) => {
                listener.local_addr().map_or_else(|error| error.to_string(), |it| it.to_string())
            }
            Kind::Unix(_, path) => path.display().to_string(),
        }
    }

    /// The path of the socket, if it is one.
    pub(super) fn socket_path(&self) -> Option<PathBuf> {
        match &self.kind {
            Kind::Tcp(_) => None,
            Kind::Unix(_, path) => Some(path.clone()),
        }
    }

    /// Serves until told to stop and all requests under way are answered.
    pub(super) async fn serve(
        self,
        router: Router,
        limits: LimitsSection,
        mut stop: watch::Receiver<bool>,
    ) {
        let places = Arc::new(Semaphore::new(limits.connections.size()));
        let server = Server { router, limits, graceful: GracefulShutdown::new() };
        loop {
            // A place first: connections over the limit wait in the kernel.
            let accepted = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => break,
                accepted = accept(&self.kind, &places) => accepted,
            };
            match accepted {
                Ok((Stream::Tcp(stream, peer), place)) => {
                    server.spawn(stream, Peer(Some(peer)), place);
                }
                Ok((Stream::Unix(stream), place)) => server.spawn(stream, Peer(None), place),
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.kind);
        server.graceful.shutdown().await;
    }
}

/// A socket with its name and permissions that does not listen yet: between bind and chmod it has
/// the permissions of the umask, and whoever connected in that moment would stay connected.
fn bound(path: &Path, mode: u32) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    Ok(socket)
}

enum Stream {
    Tcp(tokio::net::TcpStream, SocketAddr),
    Unix(tokio::net::UnixStream),
}

async fn accept(
    kind: &Kind,
    places: &Arc<Semaphore>,
) -> io::Result<(Stream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let stream = match kind {
        Kind::Tcp(listener) => {
            let (stream, peer) = listener.accept().await?;
            // Small answers go out at once; without this they wait for the peer's acknowledgement.
            stream.set_nodelay(true)?;
            Stream::Tcp(stream, peer)
        }
        Kind::Unix(listener, _) => Stream::Unix(listener.accept().await?.0),
    };
    Ok((stream, place))
}

struct Server {
    router: Router,
    limits: LimitsSection,
    graceful: GracefulShutdown,
}

impl Server {
    fn spawn<S>(&self, stream: S, peer: Peer, place: tokio::sync::OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let first = Duration::from_millis(self.limits.header_timeout_milliseconds.0);
        let idle = Duration::from_secs(self.limits.idle_timeout_seconds.0);
        let requests = Requests::default();
        let stream = TokioIo::new(TimedStream::new(stream, first, idle, requests.clone()));
        let router = TowerToHyperService::new(self.router.clone());
        let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
            request.extensions_mut().insert(peer);
            let under_way = requests.begin();
            let answer = router.call(request);
            async move {
                let answer = answer.await;
                drop(under_way);
                answer
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http1()
            .timer(TokioTimer::new())
            // Its deadline for a head runs between requests too; the stream has a better one.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD_BYTES);
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(MAX_STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX));
        let connection = builder.serve_connection(stream, service).into_owned();
        let connection = self.graceful.watch(connection);
        tokio::spawn(async move {
            // A client that goes away or times out is no news.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
            drop(place);
        });
    }
}

fn bind_error(place: &dyn std::fmt::Display, reason: &dyn std::fmt::Display) -> BindError {
    BindError { place: place.to_string(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::ErrorKind;
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::net::UnixStream;

    use super::bound;

    #[test]
    fn a_socket_has_its_permissions_before_anyone_can_connect() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let socket = bound(&path, 0o640).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        let refused = UnixStream::connect(&path).err().map(|error| error.kind());
        assert_eq!(refused, Some(ErrorKind::ConnectionRefused));
        rustix::net::listen(&socket, 1).unwrap();
        assert!(UnixStream::connect(&path).is_ok());
    }
}
