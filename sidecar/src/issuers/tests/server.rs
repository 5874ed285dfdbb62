//! An issuer that says what a test wants.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::pki_types::{PrivateKeyDer, pem::PemObject as _};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

/// What the issuer answers.
#[derive(Clone)]
pub(super) enum Answer {
    Status(u16, String, String),
    Paths(Vec<(&'static str, String)>),
    /// Nothing, ever.
    Silence,
}

pub(super) struct Server {
    address: SocketAddr,
    answer: Arc<Mutex<Answer>>,
    asked: Arc<AtomicUsize>,
    certificate: Option<String>,
}

impl Answer {
    pub(super) fn json(body: String) -> Self {
        Self::Status(200, "cache-control: max-age=600\r\n".to_owned(), body)
    }

    pub(super) fn status(status: u16) -> Self {
        Self::Status(status, String::new(), String::new())
    }

    pub(super) fn redirect(location: &str) -> Self {
        Self::Status(302, format!("location: {location}\r\n"), String::new())
    }
}

impl Server {
    pub(super) async fn start(answer: Answer) -> Self {
        Self::run(answer, None).await
    }

    /// With a certificate of its own for `localhost`.
    pub(super) async fn start_tls(answer: Answer) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let key = PrivateKeyDer::from_pem_slice(made.signing_key.serialize_pem().as_bytes());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key.unwrap())
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let mut server = Self::run(answer, Some(acceptor)).await;
        server.certificate = Some(made.cert.pem());
        server
    }

    async fn run(answer: Answer, tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answer = Arc::new(Mutex::new(answer));
        let asked = Arc::new(AtomicUsize::new(0));
        let (answers, count) = (Arc::clone(&answer), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, count, tls) = (Arc::clone(&answers), Arc::clone(&count), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &answers, &count).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, &answers, &count).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, answer, asked, certificate: None }
    }

    pub(super) fn url(&self, path: &str) -> String {
        match self.certificate {
            None => format!("http://127.0.0.1:{}{path}", self.address.port()),
            Some(_) => format!("https://localhost:{}{path}", self.address.port()),
        }
    }

    pub(super) fn say(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    pub(super) fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    pub(super) fn certificate(&self) -> &str {
        self.certificate.as_deref().unwrap()
    }
}

async fn serve<S>(mut stream: S, answer: &Mutex<Answer>, asked: &AtomicUsize)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    asked.fetch_add(1, Ordering::SeqCst);
    let answer = answer.lock().unwrap().clone();
    let (status, headers, body) = match answer {
        Answer::Status(status, headers, body) => (status, headers, body),
        Answer::Paths(paths) => {
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().to_owned();
            match paths.into_iter().find(|(known, _)| *known == path) {
                Some((_, body)) => (200, String::new(), body),
                None => (404, String::new(), String::new()),
            }
        }
        Answer::Silence => return std::future::pending().await,
    };
    let length = body.len();
    let text = format!(
        "HTTP/1.1 {status} x\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    // Who has read enough may go before the end.
    let _ = stream.write_all(text.as_bytes()).await;
    let _ = stream.shutdown().await;
}
