//! Clients that want more than they should, many at once. A crowd is a process of its own: one process has too few
//! file descriptors for all, and the ordinary clients beside it are not to wait for it.

use std::io::{self, Read as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// How many connections are opened at the same time.
const OPENING: usize = 256;

/// How long a connection may take to open: the kernel tries again after one, three and seven seconds.
const OPEN_LIMIT: Duration = Duration::from_secs(20);

/// How long an answer may take.
const ANSWER_LIMIT: Duration = Duration::from_mins(1);

/// Small, so that a server soon waits for a client that takes little.
const RECEIVE_BUFFER: usize = 4096;

/// Stands before what a client sends again and again.
pub(crate) const AGAIN: char = '\u{1e}';

/// What the clients of a crowd do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// They begin a request's head, and wait.
    HalfHeads,
    /// They send half of a body at the size limit, and wait.
    HalfBodies,
    /// They ask for the largest answer, and take a byte a second of it.
    SlowReaders,
    /// They begin a TLS handshake, and wait.
    SlowHandshakes,
    /// They ask as anybody does, all at once, and stay connected.
    InFlight,
    /// They send requests without end, and read no answer.
    Pipelining,
    /// They send a form whose part has headers without end.
    EndlessForms,
}

/// What a crowd is to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// What each client does.
    pub kind: Kind,
    /// How many clients there are.
    pub size: usize,
    /// Whom they ask.
    pub server: SocketAddr,
    /// The address that they all have.
    pub from: Ipv4Addr,
    /// The port of the first client; the others have those behind it. The kernel's own choice would avoid every port
    /// of which it remembers a connection, until there are none left.
    pub first_port: u16,
    /// What each sends.
    pub bytes: String,
}

/// How it went for the clients of a crowd.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Never got a connection.
    pub unconnected: usize,
    /// Answered with success.
    pub answered: usize,
    /// Answered 503.
    pub refused: usize,
    /// Answered otherwise.
    pub other: usize,
    /// Their connection was ended by the server without an answer.
    pub ended: usize,
    /// Were still connected when the crowd went, without an answer.
    pub held: usize,
}

impl Outcome {
    fn count(&mut self, end: End) {
        *match end {
            End::Unconnected => &mut self.unconnected,
            End::Answered(200..=299) => &mut self.answered,
            End::Answered(503) => &mut self.refused,
            End::Answered(_) => &mut self.other,
            End::Ended => &mut self.ended,
            End::Held => &mut self.held,
        } += 1;
    }

    /// The clients of both.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self {
            unconnected: self.unconnected + other.unconnected,
            answered: self.answered + other.answered,
            refused: self.refused + other.refused,
            other: self.other + other.other,
            ended: self.ended + other.ended,
            held: self.held + other.held,
        }
    }
}

#[derive(Clone, Copy)]
enum End {
    Unconnected,
    Answered(u16),
    Ended,
    Held,
}

/// Does what the order on stdin says, a line of JSON, until stdin ends; then prints the outcome.
///
/// # Errors
/// When the order cannot be read.
pub fn run_as_process() -> anyhow::Result<Outcome> {
    // A crowd is somewhere else; here it would take the service's processor from it.
    let _ = rustix::process::nice(19);
    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line).context("no order")?;
    let leave = CancellationToken::new();
    let left = leave.clone();
    std::thread::spawn(move || {
        let _ = io::stdin().read(&mut [0]);
        left.cancel();
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(run(order, leave)))
}

async fn run(order: Order, leave: CancellationToken) -> Outcome {
    let order = Arc::new(order);
    let opening = Arc::new(Semaphore::new(OPENING));
    let mut clients = JoinSet::new();
    for number in 0..order.size {
        let (order, opening, leave) = (Arc::clone(&order), Arc::clone(&opening), leave.clone());
        clients.spawn(async move {
            let permit = leave.run_until_cancelled(opening.acquire()).await;
            let Some(Ok(permit)) = permit else { return End::Unconnected };
            let opened = leave.run_until_cancelled(timeout(OPEN_LIMIT, open(&order, number))).await;
            let Some(Ok(Ok(mut stream))) = opened else { return End::Unconnected };
            drop(permit);
            let end = leave.run_until_cancelled(behave(&mut stream, &order)).await;
            let end = end.unwrap_or(End::Held);
            if matches!(end, End::Answered(200..=299)) {
                leave.cancelled().await;
            }
            end
        });
    }
    let mut outcome = Outcome::default();
    while let Some(end) = clients.join_next().await {
        outcome.count(end.unwrap_or(End::Ended));
    }
    outcome
}

async fn open(order: &Order, number: usize) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if order.kind == Kind::SlowReaders {
        SockRef::from(&socket).set_recv_buffer_size(RECEIVE_BUFFER)?;
    }
    socket.set_reuseaddr(true)?;
    let port = usize::from(order.first_port) + number;
    socket.bind((order.from, u16::try_from(port).map_err(io::Error::other)?).into())?;
    socket.connect(order.server).await
}

async fn behave(stream: &mut TcpStream, order: &Order) -> End {
    match order.kind {
        Kind::HalfHeads | Kind::HalfBodies | Kind::SlowHandshakes => {
            // Whoever is refused meanwhile has an answer to read.
            let _ = stream.write_all(order.bytes.as_bytes()).await;
            read_end(stream).await
        }
        Kind::SlowReaders => {
            if stream.write_all(order.bytes.as_bytes()).await.is_err() {
                return read_end(stream).await;
            }
            let mut head = [0; 12];
            if stream.read_exact(&mut head).await.is_err() {
                return End::Ended;
            }
            if status(&head) != Some(200) {
                return status(&head).map_or(End::Ended, End::Answered);
            }
            loop {
                match stream.read_u8().await {
                    Ok(_) => sleep(Duration::from_secs(1)).await,
                    Err(_) => return End::Ended,
                }
            }
        }
        Kind::InFlight => {
            if stream.write_all(order.bytes.as_bytes()).await.is_err() {
                return End::Ended;
            }
            timeout(ANSWER_LIMIT, read_end(stream)).await.unwrap_or(End::Held)
        }
        Kind::Pipelining | Kind::EndlessForms => {
            let (mut reader, mut writer) = stream.split();
            let (once, again) = order.bytes.split_once(AGAIN).unwrap_or(("", &order.bytes));
            let send = async {
                let _ = writer.write_all(once.as_bytes()).await;
                while writer.write_all(again.as_bytes()).await.is_ok() {}
            };
            if order.kind == Kind::Pipelining {
                send.await;
                return End::Ended;
            }
            let mut head = [0; 12];
            tokio::select! {
                () = send => End::Ended,
                read = reader.read_exact(&mut head) =>
                    read.ok().and_then(|_| status(&head)).map_or(End::Ended, End::Answered),
            }
        }
    }
}

/// Waits for an answer or the connection's end.
async fn read_end(stream: &mut TcpStream) -> End {
    let mut head = [0; 12];
    match stream.read_exact(&mut head).await {
        Ok(_) => status(&head).map_or(End::Ended, End::Answered),
        Err(_) => End::Ended,
    }
}

/// The status of an answer that begins like this.
fn status(head: &[u8]) -> Option<u16> {
    str::from_utf8(head.strip_prefix(b"HTTP/1.1 ")?).ok()?.parse().ok()
}
