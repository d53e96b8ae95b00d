use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdTcpListener};
use std::ops::ControlFlow;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use url::Url;

use crate::wait::free_port;

const CHUNK_BYTES: usize = 64 * 1024;
/// A throttled connection forwards this often, so that its rate is even.
const THROTTLE_STEPS_PER_SECOND: u64 = 50;

/// The end of a connection that bytes travel to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Toward {
    /// From the upstream to the client: answers.
    Client,
    /// From the client to the upstream: requests.
    Upstream,
}

/// What a [`Proxy`] does with its connections, those that it has and those to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Forwards everything at once. A new proxy starts so.
    Forward,
    /// Resets every connection, and every new one as soon as it is accepted.
    Cut,
    /// Forwards nothing and closes nothing, as a network does that loses every packet. What is
    /// sent waits, and arrives in a later mode.
    Stall,
    /// Forwards each chunk, of at most 64 KiB, so long after it has come.
    Delay(Duration),
    /// Forwards at most so many bytes a second in each direction of each connection.
    Throttle(u64),
    /// Forwards exactly so many bytes of each connection in one direction, counted from the call,
    /// then closes it.
    CutAfter {
        /// The direction that counts; the other is forwarded meanwhile.
        toward: Toward,
        /// How many bytes pass.
        bytes: u64,
    },
}

/// A TCP proxy on a port of the loopback, between a client and the server that it needs, which
/// fails on command.
///
/// It runs on a thread of its own, so it works from any runtime, also from one that a test blocks.
/// On drop its connections are reset and its port is closed.
#[derive(Debug)]
pub struct Proxy {
    addr: SocketAddr,
    commands: Option<mpsc::UnboundedSender<Command>>,
    thread: Option<JoinHandle<()>>,
}

struct Command {
    mode: Mode,
    done: oneshot::Sender<()>,
}

impl Proxy {
    /// Listens, and connects to `upstream` for each connection that it accepts. The client of an
    /// upstream that refuses is reset.
    pub fn start(upstream: SocketAddr) -> Self {
        // Not port 0: after the drop, such a port could be somebody else's at once.
        let addr = (Ipv4Addr::LOCALHOST, free_port()).into();
        let listener = StdTcpListener::bind(addr).expect("the port is free");
        let (commands, inbox) = mpsc::unbounded_channel();
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be made")
                .block_on(run(listener, upstream, inbox));
        });
        Self { addr, commands: Some(commands), thread: Some(thread) }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// A server's URL with this proxy's host and port in place of the server's.
    pub fn url(&self, server: &str) -> String {
        let mut url = Url::parse(server).expect("a server's URL");
        url.set_host(Some(&self.addr.ip().to_string())).expect("it has a host");
        url.set_port(Some(self.addr.port())).expect("it has a host");
        url.into()
    }

    /// Changes the mode. When this returns, no byte passes under the old one any more, and with
    /// [`Mode::Cut`] every connection has been reset.
    pub async fn set(&self, mode: Mode) {
        let (done, applied) = oneshot::channel();
        let commands = self.commands.as_ref().expect("open until the drop");
        commands.send(Command { mode, done }).expect("the proxy runs");
        applied.await.expect("the proxy runs");
    }

    /// [`Self::set`] with [`Mode::Cut`].
    pub async fn cut(&self) {
        self.set(Mode::Cut).await;
    }

    /// [`Self::set`] with [`Mode::Forward`]. Connections that were cut stay so.
    pub async fn heal(&self) {
        self.set(Mode::Forward).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        drop(self.commands.take());
        let panicked = self.thread.take().is_some_and(|thread| thread.join().is_err());
        assert!(!panicked || std::thread::panicking(), "the proxy has panicked");
    }
}

/// All tasks are on this one thread, and each looks for a new mode first whenever it is woken.
/// So a mode is applied as soon as it is sent.
async fn run(
    listener: StdTcpListener,
    upstream: SocketAddr,
    mut commands: mpsc::UnboundedReceiver<Command>,
) {
    listener.set_nonblocking(true).expect("a socket can be made so");
    let listener = TcpListener::from_std(listener).expect("there is a runtime");
    let (modes, mode) = watch::channel(Mode::Forward);
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            command = commands.recv() => {
                let Some(Command { mode, done }) = command else { return };
                modes.send_replace(mode);
                if mode == Mode::Cut {
                    connections.shutdown().await;
                }
                // Nobody needs to wait for it.
                let _ = done.send(());
            }
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                let client = match accepted {
                    Ok((client, _)) => Guarded::new(client),
                    // It has gone while it waited.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
                    Err(error) => panic!("the proxy cannot accept: {error}"),
                };
                if *mode.borrow() != Mode::Cut {
                    connections.spawn(relay(client, upstream, mode.clone()));
                }
            }
        }
    }
}

/// Why a connection ends before both sides have closed it.
enum Abort {
    /// It is lost, on either side or by our doing.
    Reset,
    /// [`Mode::CutAfter`]: what has passed must arrive, which a reset does not promise.
    Close,
}

impl From<io::Error> for Abort {
    fn from(_: io::Error) -> Self {
        Self::Reset
    }
}

/// Resets its connection on drop, unless that is to be closed.
struct Guarded {
    stream: TcpStream,
    close: bool,
}

impl Guarded {
    fn new(stream: TcpStream) -> Self {
        Self { stream, close: false }
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if !self.close {
            // It fails for one that the other side has reset.
            let _ = self.stream.set_zero_linger();
        }
    }
}

async fn relay(
    mut client: Guarded,
    upstream: SocketAddr,
    mode: watch::Receiver<Mode>,
) -> io::Result<()> {
    let mut upstream = Guarded::new(TcpStream::connect(upstream).await?);
    for side in [&client, &upstream] {
        side.stream.set_nodelay(true)?;
    }
    let (from_client, to_client) = client.stream.split();
    let (from_upstream, to_upstream) = upstream.stream.split();
    let end = tokio::try_join!(
        Pump::new(Toward::Upstream, from_client, to_upstream).run(mode.clone()),
        Pump::new(Toward::Client, from_upstream, to_client).run(mode),
    );
    let close = !matches!(end, Err(Abort::Reset));
    (client.close, upstream.close) = (close, close);
    Ok(())
}

/// One direction of a connection.
struct Pump<'a> {
    toward: Toward,
    from: ReadHalf<'a>,
    to: WriteHalf<'a>,
    /// What was read and not yet written.
    chunk: Vec<u8>,
    read_at: Instant,
    /// When a throttled direction may go on.
    idle_until: Instant,
    /// Bytes forwarded since the mode was set.
    passed: u64,
}

impl<'a> Pump<'a> {
    fn new(toward: Toward, from: ReadHalf<'a>, to: WriteHalf<'a>) -> Self {
        let now = Instant::now();
        let chunk = Vec::with_capacity(CHUNK_BYTES);
        Self { toward, from, to, chunk, read_at: now, idle_until: now, passed: 0 }
    }

    async fn run(mut self, mut modes: watch::Receiver<Mode>) -> Result<(), Abort> {
        loop {
            let mode = *modes.borrow_and_update();
            self.passed = 0;
            loop {
                tokio::select! {
                    biased;
                    changed = modes.changed() => match changed {
                        Ok(()) => break,
                        Err(_) => return Err(Abort::Reset),
                    },
                    step = self.step(mode) => if step?.is_break() {
                        return Ok(());
                    },
                }
            }
        }
    }

    /// Reads or writes once. It can be dropped at any `await` and nothing is lost.
    async fn step(&mut self, mode: Mode) -> Result<ControlFlow<()>, Abort> {
        let mut limit = u64::MAX;
        match mode {
            Mode::CutAfter { toward, bytes } if toward == self.toward => {
                limit = bytes - self.passed;
                if limit == 0 {
                    self.to.shutdown().await?;
                    return Err(Abort::Close);
                }
            }
            Mode::Throttle(rate) => {
                limit = (rate / THROTTLE_STEPS_PER_SECOND).max(1);
                sleep_until(self.idle_until).await;
            }
            Mode::Stall | Mode::Cut => pending().await,
            Mode::CutAfter { .. } | Mode::Delay(_) | Mode::Forward => {}
        }
        if self.chunk.is_empty() {
            let wanted = limit.min(CHUNK_BYTES as u64);
            let read = (&mut self.from).take(wanted).read_buf(&mut self.chunk).await?;
            self.read_at = Instant::now();
            if read == 0 {
                self.to.shutdown().await?;
                return Ok(ControlFlow::Break(()));
            }
        }
        if let Mode::Delay(delay) = mode {
            sleep_until(self.read_at + delay).await;
        }
        let length = self.chunk.len().min(usize::try_from(limit).unwrap_or(usize::MAX));
        let written = self.to.write(&self.chunk[..length]).await?;
        self.chunk.drain(..written);
        self.passed += written as u64;
        if let Mode::Throttle(rate) = mode {
            let nanos = written as u64 * 1_000_000_000 / rate.max(1);
            self.idle_until = Instant::now() + Duration::from_nanos(nanos);
        }
        Ok(ControlFlow::Continue(()))
    }
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;

    use super::*;

    const SOON: Duration = Duration::from_secs(20);
    /// Longer than anything on a loopback takes, shorter than a person minds.
    const A_WHILE: Duration = Duration::from_millis(200);

    /// A proxy, and the listener behind it.
    async fn proxy() -> (Proxy, TcpListener) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        (Proxy::start(listener.local_addr().unwrap()), listener)
    }

    /// Both ends of a connection through the proxy.
    async fn connect(proxy: &Proxy, listener: &TcpListener) -> (TcpStream, TcpStream) {
        let (client, server) = tokio::join!(TcpStream::connect(proxy.addr()), listener.accept());
        let (mut client, (mut server, _)) = (client.unwrap(), server.unwrap());
        pass(&mut client, &mut server).await;
        (client, server)
    }

    async fn pass(from: &mut TcpStream, to: &mut TcpStream) {
        from.write_all(b"hello").await.unwrap();
        let mut received = [0; 5];
        tokio::time::timeout(SOON, to.read_exact(&mut received)).await.unwrap().unwrap();
        assert_eq!(&received, b"hello");
    }

    /// A reset may come before the client sees its connection stand, or after.
    async fn connect_and_read(proxy: &Proxy) -> io::Result<u8> {
        let mut client = TcpStream::connect(proxy.addr()).await?;
        tokio::time::timeout(SOON, client.read_u8()).await.unwrap()
    }

    async fn read_end(stream: &mut TcpStream) -> (Vec<u8>, io::Result<usize>) {
        let mut received = Vec::new();
        let end = tokio::time::timeout(SOON, stream.read_to_end(&mut received)).await.unwrap();
        (received, end)
    }

    #[tokio::test]
    async fn bytes_pass_both_ways_and_a_half_closed_connection_still_answers() {
        let (proxy, listener) = proxy().await;
        let (mut client, mut server) = connect(&proxy, &listener).await;
        let body: Vec<u8> = (0..3_000_000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let sent = body.clone();
        let sender = async move {
            client.write_all(&sent).await.unwrap();
            client.shutdown().await.unwrap();
            client
        };
        let (mut client, (received, _)) = tokio::join!(sender, read_end(&mut server));
        assert_eq!(received, body);
        server.write_all(&body).await.unwrap();
        drop(server);
        assert_eq!(read_end(&mut client).await.0, body);
    }

    #[tokio::test]
    async fn a_cut_resets_present_and_new_connections_until_it_is_healed() {
        let (proxy, listener) = proxy().await;
        let (mut client, mut server) = connect(&proxy, &listener).await;
        proxy.cut().await;
        for stream in [&mut client, &mut server] {
            assert_eq!(read_end(stream).await.1.unwrap_err().kind(), ErrorKind::ConnectionReset);
        }
        assert_eq!(connect_and_read(&proxy).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        proxy.heal().await;
        connect(&proxy, &listener).await;
    }

    #[tokio::test]
    async fn a_stall_holds_bytes_back_without_closing() {
        let (proxy, listener) = proxy().await;
        let (mut client, mut server) = connect(&proxy, &listener).await;
        proxy.set(Mode::Stall).await;
        client.write_all(b"hello").await.unwrap();
        client.shutdown().await.unwrap();
        let mut received = [0; 5];
        let read = server.read_exact(&mut received);
        tokio::time::timeout(A_WHILE, read).await.unwrap_err();
        proxy.heal().await;
        assert_eq!(read_end(&mut server).await.0, b"hello");
    }

    #[tokio::test]
    async fn a_stall_interrupts_a_transfer_that_is_under_way() {
        let (proxy, listener) = proxy().await;
        let (mut client, mut server) = connect(&proxy, &listener).await;
        proxy.set(Mode::Throttle(100_000)).await;
        client.write_all(&vec![b'x'; 100_000]).await.unwrap();
        server.read_u8().await.unwrap();
        proxy.set(Mode::Stall).await;
        let mut received = vec![0; 100_000];
        // What had passed before the stall.
        let passed = server.try_read(&mut received).unwrap_or_default();
        assert!(passed < 99_999);
        let more = server.read(&mut received);
        tokio::time::timeout(A_WHILE, more).await.unwrap_err();
        proxy.heal().await;
        let rest = &mut received[passed + 1..];
        tokio::time::timeout(SOON, server.read_exact(rest)).await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn a_delay_holds_each_chunk_for_its_time() {
        let (proxy, listener) = proxy().await;
        let (mut client, mut server) = connect(&proxy, &listener).await;
        proxy.set(Mode::Delay(A_WHILE)).await;
        let start = Instant::now();
        pass(&mut client, &mut server).await;
        pass(&mut server, &mut client).await;
        assert!(start.elapsed() >= 2 * A_WHILE);
        proxy.set(Mode::Delay(Duration::from_hours(1))).await;
        client.write_all(b"hello").await.unwrap();
        let mut received = [0; 5];
        let read = server.read_exact(&mut received);
        tokio::time::timeout(A_WHILE, read).await.unwrap_err();
        proxy.heal().await;
        server.read_exact(&mut received).await.unwrap();
    }

    #[tokio::test]
    async fn a_throttled_direction_keeps_to_its_rate() {
        let (proxy, listener) = proxy().await;
        let (mut client, mut server) = connect(&proxy, &listener).await;
        proxy.set(Mode::Throttle(100_000)).await;
        let start = Instant::now();
        client.write_all(&vec![b'x'; 40_000]).await.unwrap();
        server.read_exact(&mut vec![0; 40_000]).await.unwrap();
        // The first step of a fiftieth of a second is free.
        assert!(start.elapsed() >= Duration::from_millis(380));
    }

    #[tokio::test]
    async fn a_connection_is_cut_after_exactly_so_many_answered_bytes() {
        let (proxy, listener) = proxy().await;
        let (mut client, mut server) = connect(&proxy, &listener).await;
        // What has passed before does not count.
        pass(&mut server, &mut client).await;
        proxy.set(Mode::CutAfter { toward: Toward::Client, bytes: 70_000 }).await;
        pass(&mut client, &mut server).await;
        server.write_all(&vec![b'x'; 100_000]).await.unwrap();
        let (received, _) = read_end(&mut client).await;
        assert_eq!(received.len(), 70_000);
        read_end(&mut server).await.1.unwrap_err();
    }

    #[tokio::test]
    async fn new_connections_are_cut_after_so_many_bytes_each() {
        let (proxy, listener) = proxy().await;
        proxy.set(Mode::CutAfter { toward: Toward::Upstream, bytes: 3 }).await;
        for _ in 0..2 {
            let mut client = TcpStream::connect(proxy.addr()).await.unwrap();
            let (mut server, _) = listener.accept().await.unwrap();
            client.write_all(b"hello").await.unwrap();
            assert_eq!(read_end(&mut server).await.0, b"hel");
        }
    }

    #[tokio::test]
    async fn the_client_of_an_upstream_that_refuses_is_reset() {
        let proxy = Proxy::start((Ipv4Addr::LOCALHOST, free_port()).into());
        assert_eq!(connect_and_read(&proxy).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_reset_is_passed_on() {
        let (proxy, listener) = proxy().await;
        let (client, mut server) = connect(&proxy, &listener).await;
        client.set_zero_linger().unwrap();
        drop(client);
        assert_eq!(read_end(&mut server).await.1.unwrap_err().kind(), ErrorKind::ConnectionReset);
    }

    #[tokio::test]
    async fn a_dropped_proxy_leaves_no_connection_and_no_port() {
        let (proxy, listener) = proxy().await;
        let addr = proxy.addr();
        let (mut client, _server) = connect(&proxy, &listener).await;
        drop(proxy);
        assert_eq!(read_end(&mut client).await.1.unwrap_err().kind(), ErrorKind::ConnectionReset);
        let refused = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_server_url_is_led_through_the_proxy() {
        let (proxy, _listener) = proxy().await;
        let port = proxy.addr().port();
        let url = proxy.url("postgres://me:secret@db.example:5432/things?sslmode=disable");
        let led = format!("postgres://me:secret@127.0.0.1:{port}/things?sslmode=disable");
        assert_eq!(url, led);
        assert_eq!(proxy.url("redis://db.example/3"), format!("redis://127.0.0.1:{port}/3"));
    }
}
