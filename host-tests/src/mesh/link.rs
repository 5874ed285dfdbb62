//! A TCP proxy that can be cut: the network between two processes, under the control of a test.

use std::{net::SocketAddr, path::PathBuf};

use anyhow::{Error, Result, anyhow};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UnixStream},
    runtime::Runtime,
    sync::watch,
};

/// Bytes that are passed on at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// What becomes of bytes and connections.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Cut {
    /// They pass.
    Healed,
    /// Nothing passes and nobody is told, as with a cable that is pulled out; what was sent arrives
    /// once the link is healed.
    Silent,
    /// Connections are closed, and new ones at once too.
    Closed,
}

/// What a link leads to.
#[derive(Clone, Debug)]
pub enum Target {
    /// A TCP port.
    Tcp(SocketAddr),
    /// A Unix socket, which may be that of a process in another network.
    Socket(PathBuf),
}

/// A link; it ends when dropped.
pub struct Link {
    address: SocketAddr,
    state: watch::Sender<Cut>,
    runtime: Option<Runtime>,
}

impl Link {
    /// Listens on a free port of loopback, for connections to `target`.
    ///
    /// # Errors
    ///
    /// When the machine has none.
    pub fn to(target: Target) -> Result<Self> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        let listener = runtime.block_on(TcpListener::bind(("127.0.0.1", 0)))?;
        let address = listener.local_addr()?;
        let (state, watched) = watch::channel(Cut::Healed);
        runtime.spawn(accept(listener, target, watched));
        Ok(Self { address, state, runtime: Some(runtime) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts or heals it.
    pub fn set(&self, cut: Cut) {
        self.state.send_replace(cut);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn accept(listener: TcpListener, target: Target, state: watch::Receiver<Cut>) {
    while let Ok((near, _)) = listener.accept().await {
        let (target, state) = (target.clone(), state.clone());
        // Either side hanging up is what this is about.
        tokio::spawn(async move { drop(join(near, target, state).await) });
    }
}

async fn join(near: TcpStream, target: Target, mut state: watch::Receiver<Cut>) -> Result<()> {
    pass(&mut state).await?;
    near.set_nodelay(true)?;
    match target {
        Target::Tcp(address) => {
            let far = TcpStream::connect(address).await?;
            far.set_nodelay(true)?;
            relay(near, far, state).await
        }
        Target::Socket(path) => relay(near, UnixStream::connect(path).await?, state).await,
    }
}

/// How one direction has ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// Whoever sends has nothing more to say.
    Over,
    /// Whoever should hear it takes no more.
    Deaf,
}

async fn relay<F>(near: TcpStream, far: F, state: watch::Receiver<Cut>) -> Result<()>
where
    F: AsyncRead + AsyncWrite,
{
    let ((near_in, near_out), (far_in, far_out)) = (near.into_split(), tokio::io::split(far));
    let back = pump(far_in, near_out, state.clone());
    tokio::pin!(back);
    let end = tokio::select! {
        end = pump(near_in, far_out, state) => end?,
        end = &mut back => return end.map(drop),
    };
    // A server may answer without reading all of a request, and then closes: its answer is under way.
    if end == End::Deaf {
        back.await?;
    }
    Ok(())
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<Cut>,
) -> Result<End> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = tokio::select! {
            read = from.read(&mut chunk) => read?,
            error = closed(state.clone()) => return Err(error),
        };
        pass(&mut state).await?;
        if read == 0 {
            return Ok(End::Over);
        }
        if to.write_all(chunk.get(..read).unwrap_or_default()).await.is_err() {
            return Ok(End::Deaf);
        }
    }
}

/// Returns once the link is healed.
async fn pass(state: &mut watch::Receiver<Cut>) -> Result<()> {
    match *state.wait_for(|state| *state != Cut::Silent).await? {
        Cut::Healed => Ok(()),
        Cut::Closed | Cut::Silent => Err(anyhow!("the link is cut")),
    }
}

async fn closed(mut state: watch::Receiver<Cut>) -> Error {
    match state.wait_for(|state| *state == Cut::Closed).await {
        Ok(_) => anyhow!("the link is cut"),
        Err(error) => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io,
        pin::Pin,
        task::{Context, Poll},
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
        net::{TcpListener, TcpStream},
        sync::{mpsc, watch},
    };

    use super::{Cut, Link, Target};
    use crate::{
        envoy::client::{Connection, Request},
        upstream::Upstream,
    };

    #[test]
    fn a_cut_link_is_silent_or_closed_and_heals() {
        let upstream = Upstream::start().unwrap();
        let link = Link::to(Target::Tcp(upstream.address())).unwrap();
        let mut connection = Connection::open(link.address()).unwrap();
        connection.set_deadline(Duration::from_millis(200)).unwrap();
        let request = Request::get("/");
        assert_eq!(connection.exchange(&request).unwrap().status, 200);
        link.set(Cut::Silent);
        assert!(connection.exchange(&request).is_err(), "nothing comes");
        link.set(Cut::Healed);
        assert_eq!(connection.read_answer(false).unwrap().status, 200, "what was held up comes");
        link.set(Cut::Closed);
        assert!(connection.exchange(&request).is_err());
        assert!(request.send(link.address()).is_err());
        link.set(Cut::Healed);
        assert_eq!(request.send(link.address()).unwrap().status, 200);
    }

    /// Takes nothing, and tells of each try.
    struct Deaf(mpsc::UnboundedSender<()>);

    impl AsyncWrite for Deaf {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            _: &[u8],
        ) -> Poll<io::Result<usize>> {
            self.0.send(()).unwrap();
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[tokio::test]
    async fn an_answer_arrives_also_if_its_server_does_not_read_all_of_the_question() {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (near, _) = listener.accept().await.unwrap();
        let (refused, mut tries) = mpsc::unbounded_channel();
        let (answers, mut server) = tokio::io::duplex(64);
        let far = tokio::io::join(answers, Deaf(refused));
        let (_state, watched) = watch::channel(Cut::Healed);
        let relay = tokio::spawn(super::relay(near, far, watched));
        client.write_all(b"the rest of a question").await.unwrap();
        tries.recv().await.unwrap();
        server.write_all(b"answer").await.unwrap();
        drop(server);
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        assert_eq!(heard, b"answer");
        relay.await.unwrap().unwrap();
    }
}
