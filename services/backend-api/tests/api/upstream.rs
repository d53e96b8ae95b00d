//! An external service that does as it is told, byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use test_support::wait_until;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::KEY;

pub(crate) const TIMEOUT: Duration = Duration::from_secs(20);

/// What it does once it has read a request. After the last step it closes.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Send(Vec<u8>),
    /// Sends 64 KiB so often, as chunks of a chunked body or plainly.
    SendBlocks {
        times: u64,
        chunked: bool,
    },
    /// Waits until a permit is added.
    Await(Arc<Semaphore>),
    /// Waits until the other side closes.
    Hang,
    Reset,
    /// Reads the next request on the same connection.
    NextRequest,
}

/// Sends this text.
pub(crate) fn send(text: impl AsRef<[u8]>) -> Step {
    Step::Send(text.as_ref().to_vec())
}

/// A whole answer without a body, after which the connection may be used again.
pub(crate) fn empty(status: &str, headers: &str) -> Vec<Step> {
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: 0\r\n\r\n");
    vec![send(head), Step::NextRequest]
}

/// A 200 with a body.
pub(crate) fn ok(body: &str) -> Vec<Step> {
    let length = body.len();
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n{body}");
    vec![send(head), Step::NextRequest]
}

#[derive(Debug, Default)]
struct Seen {
    requests: Mutex<Vec<String>>,
    accepted: AtomicU64,
    closed: AtomicU64,
    sent: AtomicU64,
    blocked: AtomicBool,
}

/// It listens on the loopback until it is dropped.
#[derive(Debug)]
pub(crate) struct Upstream {
    addr: SocketAddr,
    seen: Arc<Seen>,
    _tasks: JoinSet<()>,
}

impl Upstream {
    /// The n-th request is answered by the n-th script, each further one by the last.
    pub(crate) async fn start(scripts: Vec<Vec<Step>>) -> Self {
        Self::start_on(0, scripts).await
    }

    pub(crate) async fn start_on(port: u16, scripts: Vec<Vec<Step>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
        let addr = listener.local_addr().unwrap();
        let seen = Arc::<Seen>::default();
        let (scripts, shared) = (Arc::new(scripts), Arc::clone(&seen));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                shared.accepted.fetch_add(1, Ordering::Relaxed);
                let (scripts, seen) = (Arc::clone(&scripts), Arc::clone(&shared));
                connections.spawn(async move {
                    // Its end is what is looked at, not its reason.
                    let _ = serve(stream, &scripts, &seen).await;
                    seen.closed.fetch_add(1, Ordering::Relaxed);
                });
            }
        });
        Self { addr, seen, _tasks: tasks }
    }

    pub(crate) fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    /// The heads of the requests so far, in lower case.
    pub(crate) fn requests(&self) -> MutexGuard<'_, Vec<String>> {
        self.seen.requests.lock().unwrap()
    }

    /// How many connections there have been.
    pub(crate) fn accepted(&self) -> u64 {
        self.seen.accepted.load(Ordering::Relaxed)
    }

    /// How many bytes of blocks were sent.
    pub(crate) fn sent(&self) -> u64 {
        self.seen.sent.load(Ordering::Relaxed)
    }

    /// Waits for a request.
    pub(crate) async fn wait_for_request(&self) {
        wait_until("a request has arrived", TIMEOUT, async || !self.requests().is_empty()).await;
    }

    /// Waits until nobody takes blocks any more.
    pub(crate) async fn wait_until_blocked(&self) {
        wait_until("nobody takes what is sent", TIMEOUT, async || {
            self.seen.blocked.load(Ordering::Relaxed)
        })
        .await;
    }

    /// Waits until every connection that there was is closed.
    pub(crate) async fn wait_until_left(&self) {
        wait_until("all connections are closed", TIMEOUT, async || {
            self.accepted() > 0 && self.accepted() == self.seen.closed.load(Ordering::Relaxed)
        })
        .await;
    }
}

async fn serve(stream: TcpStream, scripts: &[Vec<Step>], seen: &Seen) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    'requests: loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        // Lower case would hide a key in the wrong case.
        let head = if head.contains(KEY) { head.to_lowercase() } else { head };
        let number = {
            let mut requests = seen.requests.lock().unwrap();
            requests.push(head);
            requests.len() - 1
        };
        for step in &scripts[number.min(scripts.len() - 1)] {
            match step {
                Step::Send(bytes) => stream.write_all(bytes).await?,
                Step::SendBlocks { times, chunked } => {
                    send_blocks(stream.get_mut(), *times, *chunked, seen).await?;
                }
                Step::Await(gate) => gate.acquire().await.unwrap().forget(),
                Step::Hang => drop(stream.read_u8().await),
                Step::Reset => {
                    stream.get_ref().set_zero_linger()?;
                    return Ok(());
                }
                Step::NextRequest => continue 'requests,
            }
        }
        return stream.shutdown().await;
    }
}

async fn send_blocks(
    stream: &mut TcpStream,
    times: u64,
    chunked: bool,
    seen: &Seen,
) -> std::io::Result<()> {
    const BLOCK: usize = 64 * 1024;
    let plain = vec![b'x'; BLOCK];
    let chunk = [b"10000\r\n".as_slice(), &plain, b"\r\n"].concat();
    let block = if chunked { chunk } else { plain };
    for _ in 0..times {
        let mut rest = block.as_slice();
        while !rest.is_empty() {
            let write = stream.write(rest);
            let Ok(written) = timeout(Duration::from_millis(300), write).await else {
                seen.blocked.store(true, Ordering::Relaxed);
                continue;
            };
            rest = &rest[written?..];
        }
        seen.sent.fetch_add(BLOCK as u64, Ordering::Relaxed);
    }
    Ok(())
}

/// An address that answers no attempt to connect: its queue is full and nobody empties it.
#[cfg(target_os = "linux")]
pub(crate) struct BlackHole {
    pub(crate) addr: SocketAddr,
    _listener: TcpListener,
    _waiting: Vec<TcpStream>,
}

#[cfg(target_os = "linux")]
impl BlackHole {
    pub(crate) async fn start() -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
        let listener = socket.listen(1).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut waiting = Vec::new();
        // A connect that takes this long was dropped.
        while let Ok(stream) = timeout(Duration::from_millis(200), TcpStream::connect(addr)).await {
            waiting.push(stream.unwrap());
        }
        Self { addr, _listener: listener, _waiting: waiting }
    }
}
