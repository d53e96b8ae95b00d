//! Takes connections from the kernel and hands them to the workers.

use std::ffi::c_int;
use std::io::{self, ErrorKind, Write as _};
use std::net::{self, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use common::memory::MemoryUse;
use socket2::{SockFilter, SockRef};
use tokio::net::TcpListener;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::clients::ClientQuota;
use crate::connection::CONNECTION_BYTES;
use crate::limits::TimeLimits;
use crate::refusals::{Refused, UNAVAILABLE};
use crate::state::Scheme;
use crate::worker::{Accepted, Workers};

/// How long to wait when the process or the system has no file descriptor left.
const NO_DESCRIPTOR_BACK_OFF: Duration = Duration::from_millis(100);

/// How many connections the kernel may hold until they are accepted: its own default limit (`net.core.somaxconn`).
const BACKLOG: c_int = 4096;

/// How many bytes of each connection's answer may wait in the kernel until they are sent. Without a limit some megabytes
/// do, which are made at once for a client that takes none of them.
#[cfg(target_os = "linux")]
const UNSENT_BYTES: u32 = 128 * 1024;

/// What is needed to accept connections.
pub(crate) struct Acceptor {
    pub(crate) listener: net::TcpListener,
    pub(crate) workers: Workers,
    pub(crate) memory: Arc<ClientQuota>,
    pub(crate) descriptors: Arc<ClientQuota>,
    pub(crate) refused: Refused,
    pub(crate) scheme: Scheme,
}

impl Acceptor {
    /// Accepts until `stop`, then what the backlog holds, and closes the socket: whoever was let in by the kernel is
    /// served, and whoever comes later is refused by it and can go elsewhere.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> io::Result<()> {
        self.listener.set_nonblocking(true)?;
        // What `bind` asked for is filled by any crowd, and whoever does not fit waits a second to try again.
        SockRef::from(&self.listener).listen(BACKLOG)?;
        // Connections inherit it.
        #[cfg(target_os = "linux")]
        SockRef::from(&self.listener).set_tcp_notsent_lowat(UNSENT_BYTES)?;
        let listener = TcpListener::from_std(self.listener.try_clone()?)?;
        while let Some(accepted) = stop.run_until_cancelled(accept(&listener)).await {
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &stop).await,
                Err(error) if is_of_the_client(&error) => {}
                Err(error) => {
                    tracing::error!(error = %error, "Cannot accept connections");
                    sleep(NO_DESCRIPTOR_BACK_OFF).await;
                }
            }
        }
        // Where filters are not to be had, a handshake that ends in this very moment is lost.
        let _ = SockRef::from(&self.listener).attach_filter(&no_new_handshakes());
        while let Ok(accepted) = timeout(TimeLimits::LAST_HANDSHAKES, accept(&listener)).await {
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer, &stop).await,
                Err(error) if is_of_the_client(&error) => {}
                Err(_) => break,
            }
        }
        Ok(())
    }

    /// Hands a connection to a worker, if there is memory and a file descriptor for it. If there is none for anybody,
    /// it waits, and all others behind it in the backlog.
    async fn admit(&mut self, stream: TcpStream, peer: SocketAddr, stop: &CancellationToken) {
        let client = peer.ip();
        let refused = loop {
            let (released, closed) = (self.memory.released(), self.descriptors.released());
            let Ok(descriptor) = self.descriptors.take(client, MemoryUse::Connections, 1) else {
                if self.descriptors.is_full(1) && !stop.is_cancelled() {
                    let _ = stop.run_until_cancelled(closed).await;
                    continue;
                }
                break &self.refused.descriptors;
            };
            match self.memory.take(client, MemoryUse::Connections, CONNECTION_BYTES) {
                Ok(memory) => {
                    return self.workers.serve(Accepted { stream, peer, memory, descriptor });
                }
                Err(_) if self.memory.is_full(CONNECTION_BYTES) && !stop.is_cancelled() => {
                    let _ = stop.run_until_cancelled(released).await;
                }
                Err(_) => {
                    self.memory.count_refusal(MemoryUse::Connections);
                    break &self.refused.memory;
                }
            }
        };
        refused.inc();
        // Whoever does not take it at once does not see it.
        if self.scheme == Scheme::Http {
            let _ = (&stream).write(UNAVAILABLE);
        }
    }
}

/// A connection for the runtime of a worker.
async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (stream, peer) = listener.accept().await?;
    Ok((stream.into_std()?, peer))
}

/// Errors that concern one connection and no other (accept(2)).
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted
            | ErrorKind::ConnectionReset
            | ErrorKind::ConnectionRefused
            | ErrorKind::Interrupted
            | ErrorKind::TimedOut
            | ErrorKind::HostUnreachable
            | ErrorKind::NetworkUnreachable
    )
}

/// A packet filter for a listening socket that drops what begins a handshake, and lets others end. Without it a
/// connection that is established between the last `accept` and `close` would be reset.
///
/// Classic BPF: it sees a segment from its TCP header on, whose flags are the 14th byte (RFC 9293, 3.1).
fn no_new_handshakes() -> [SockFilter; 5] {
    const LOAD_BYTE: u16 = 0x30; // BPF_LD | BPF_B | BPF_ABS
    const AND: u16 = 0x54; // BPF_ALU | BPF_AND | BPF_K
    const JUMP_IF_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const ACK: u32 = 0x10;
    [
        SockFilter::new(LOAD_BYTE, 0, 0, FLAGS),
        SockFilter::new(AND, 0, 0, SYN | ACK),
        SockFilter::new(JUMP_IF_EQUAL, 0, 1, SYN),
        SockFilter::new(RETURN, 0, 0, 0),
        SockFilter::new(RETURN, 0, 0, u32::MAX),
    ]
}
