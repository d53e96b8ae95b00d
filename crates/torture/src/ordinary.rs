//! The ordinary clients beside a crowd: they ask a few times a second and have no patience.

use std::net::SocketAddr;
use std::time::{Duration, Instant};
use std::{fmt, io, thread};

use anyhow::{Context as _, ensure};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::sync::CancellationToken;

/// The name that a server's certificate is for.
pub(crate) const SERVER_NAME: &str = "localhost";

/// How long a client waits for an answer before it counts as failed.
const LIMIT: Duration = Duration::from_secs(5);

/// How long it waits between two requests.
const PAUSE: Duration = Duration::from_millis(20);

/// Where to ask, and how.
#[derive(Clone)]
pub struct Server {
    /// Its address.
    pub address: SocketAddr,
    /// By HTTPS, if it speaks that.
    pub tls: Option<TlsConnector>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl From<SocketAddr> for Server {
    fn from(address: SocketAddr) -> Self {
        Self { address, tls: None }
    }
}

/// What an ordinary client has seen.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// How long each answer took.
    pub times: Vec<Duration>,
    /// What went wrong.
    pub failures: Vec<String>,
}

impl Seen {
    /// The time within which this part of all answers came.
    #[must_use]
    pub fn quantile(&self, part: f64) -> Duration {
        let mut times = self.times.clone();
        times.sort_unstable();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a place among some thousand"
        )]
        let place = (times.len() as f64 * part) as usize;
        times.get(place.min(times.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}

/// Asks two servers at once on a thread of its own, which nothing else of this process delays, until told to leave.
///
/// # Errors
/// When there is no thread.
pub fn ask_apart(
    servers: [(Server, Vec<&'static str>); 2],
    leave: &CancellationToken,
) -> io::Result<oneshot::Receiver<[Seen; 2]>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let [first, second] = servers.map(|(server, paths)| ask(server, paths, leave.clone()));
    let (done, seen) = oneshot::channel();
    thread::Builder::new().name("ordinary".into()).spawn(move || {
        let seen = runtime.block_on(async { tokio::join!(first, second) });
        let _ = done.send(seen.into());
    })?;
    Ok(seen)
}

/// Asks for these paths in turns, until told to leave.
async fn ask(server: Server, paths: Vec<&'static str>, leave: CancellationToken) -> Seen {
    let mut seen = Seen::default();
    for path in paths.iter().cycle() {
        let begun = Instant::now();
        let Some(answer) = leave.run_until_cancelled(get(&server, path)).await else { break };
        match answer {
            Ok(200) => seen.times.push(begun.elapsed()),
            Ok(status) => seen.failures.push(format!("{path}: {status}")),
            // Too late for any limit; whether that is the service's fault is for others to judge.
            Err(_) if begun.elapsed() >= LIMIT => seen.times.push(begun.elapsed()),
            Err(error) => seen.failures.push(format!("{path}: {error:#}")),
        }
        if leave.run_until_cancelled(sleep(PAUSE)).await.is_none() {
            break;
        }
    }
    seen
}

/// The status of a GET on a connection of its own.
///
/// # Errors
/// When there is no connection or no answer within 5 s.
pub async fn get(server: &Server, path: &str) -> anyhow::Result<u16> {
    let text = fetch(server, path).await?;
    let status = text.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    status.context("no answer")?.parse().context("no status")
}

/// The body of a GET.
///
/// # Errors
/// When there is no answer within 5 s, or it is not 200.
pub async fn get_text(server: &Server, path: &str) -> anyhow::Result<String> {
    let text = fetch(server, path).await?;
    ensure!(text.starts_with("HTTP/1.1 200 "), "{path}: no 200");
    Ok(text.split_once("\r\n\r\n").map_or("", |(_, body)| body).to_owned())
}

async fn fetch(server: &Server, path: &str) -> anyhow::Result<String> {
    let fetch = async {
        let stream = TcpStream::connect(server.address).await.context("no connection")?;
        match &server.tls {
            None => exchange(stream, path).await,
            Some(connector) => {
                let name = ServerName::try_from(SERVER_NAME)?;
                let stream = connector.connect(name, stream).await.context("no handshake")?;
                exchange(stream, path).await
            }
        }
    };
    timeout(LIMIT, fetch).await.context("no answer in time")?
}

async fn exchange(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
) -> anyhow::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: torture\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.context("cannot ask")?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.context("no whole answer")?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
