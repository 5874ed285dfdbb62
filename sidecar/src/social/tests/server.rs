//! A provider that answers as it is told, and takes a refresh token once.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How the provider behaves.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Manner {
    /// It gives the next tokens, and a new refresh token with them.
    Rotates,
    /// It gives a new access token; the refresh token goes on.
    Keeps,
    /// It answers with this status and no tokens.
    Fails(u16),
    /// It says that the refresh token is over.
    Refuses,
    /// It takes the token, and hangs up without an answer.
    HangsUp,
}

/// What was asked, as it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Asked {
    pub(super) heads: Vec<String>,
    pub(super) forms: Vec<String>,
}

pub(super) struct Provider {
    pub(super) address: SocketAddr,
    state: Arc<Mutex<State>>,
    /// Whether answers are held back.
    held: watch::Sender<bool>,
}

struct State {
    manner: Manner,
    asked: Asked,
    given: u32,
    used: BTreeSet<String>,
    used_twice: bool,
}

impl Provider {
    pub(super) async fn start(manner: Manner) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = State {
            manner,
            asked: Asked::default(),
            given: 0,
            used: BTreeSet::new(),
            used_twice: false,
        };
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let (held, hears) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&shared), hears.clone()));
            }
        });
        Self { address, state, held }
    }

    pub(super) fn behave(&self, manner: Manner) {
        self.state.lock().unwrap().manner = manner;
    }

    /// Holds answers back, or lets them go.
    pub(super) fn hold(&self, held: bool) {
        self.held.send(held).unwrap();
    }

    pub(super) fn asked(&self) -> Asked {
        self.state.lock().unwrap().asked.clone()
    }

    pub(super) fn times(&self) -> usize {
        self.asked().forms.len()
    }

    /// Whether one refresh token was shown twice.
    pub(super) fn was_shown_one_twice(&self) -> bool {
        self.state.lock().unwrap().used_twice
    }
}

async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>, mut hears: watch::Receiver<bool>) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let length = head.to_ascii_lowercase();
    let length = length.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let form = String::from_utf8(body).unwrap();
    // Long enough that those who ask at once all come while this one is under way.
    tokio::time::sleep(Duration::from_millis(100)).await;
    hears.wait_for(|is_held| !is_held).await.unwrap();
    let answer = answer(&mut state.lock().unwrap(), head, form);
    let Some((status, body)) = answer else { return };
    let length = body.len();
    let text = format!("HTTP/1.1 {status} x\r\ncontent-length: {length}\r\n\r\n{body}");
    // Who asked may have gone.
    let _ = stream.write_all(text.as_bytes()).await;
}

fn answer(state: &mut State, head: String, form: String) -> Option<(u16, String)> {
    let token = form.split('&').find_map(|pair| pair.strip_prefix("refresh_token=")).unwrap();
    state.used_twice |= !state.used.insert(token.to_owned());
    state.asked.heads.push(head);
    state.asked.forms.push(form);
    state.given += 1;
    let number = state.given;
    match state.manner {
        Manner::Rotates => {
            let body = format!(
                r#"{{"access_token":"access-{number}","token_type":"bearer","expires_in":3600,"refresh_token":"refresh-{number}"}}"#
            );
            Some((200, body))
        }
        Manner::Keeps => {
            Some((200, format!(r#"{{"access_token":"access-{number}","expires_in":3600}}"#)))
        }
        Manner::Fails(status) => Some((status, "{\"secret\": \"quoted\"}".to_owned())),
        Manner::Refuses => Some((400, r#"{"error":"invalid_grant"}"#.to_owned())),
        Manner::HangsUp => None,
    }
}
