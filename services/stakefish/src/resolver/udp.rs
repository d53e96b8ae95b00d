//! UDP sockets that notice when nobody listens.
//!
//! The library's own are not connected, so the system cannot tell them that a resolver's port is closed: that would
//! look like a resolver that takes too long. A connected one also hears nobody but the resolver.

use std::io;
use std::net::SocketAddr;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::future::BoxFuture;
use hickory_resolver::net::runtime::{
    DnsUdpSocket, RuntimeProvider, TokioHandle, TokioRuntimeProvider, TokioTime,
};
use tokio::io::{Interest, ReadBuf};
use tokio::net::UdpSocket;

type Connecting<T> = BoxFuture<'static, io::Result<T>>;

/// Tokio, with connected UDP sockets.
#[derive(Clone, Default)]
pub(super) struct Network(TokioRuntimeProvider);

/// A socket, and whom it is connected to.
pub(super) struct ConnectedUdp(UdpSocket, SocketAddr);

impl RuntimeProvider for Network {
    type Handle = TokioHandle;
    type Timer = TokioTime;
    type Udp = ConnectedUdp;
    type Tcp = <TokioRuntimeProvider as RuntimeProvider>::Tcp;

    fn create_handle(&self) -> TokioHandle {
        self.0.create_handle()
    }

    fn connect_tcp(
        &self,
        server: SocketAddr,
        local: Option<SocketAddr>,
        timeout: Option<Duration>,
    ) -> Connecting<Self::Tcp> {
        self.0.connect_tcp(server, local, timeout)
    }

    fn bind_udp(&self, local: SocketAddr, server: SocketAddr) -> Connecting<ConnectedUdp> {
        let socket = self.0.bind_udp(local, server);
        Box::pin(async move {
            let socket = socket.await?;
            socket.connect(server).await?;
            Ok(ConnectedUdp(socket, server))
        })
    }
}

#[async_trait::async_trait]
impl DnsUdpSocket for ConnectedUdp {
    type Time = TokioTime;

    async fn recv_from(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        // A socket with an error alone is not readable to tokio.
        let receive = || self.0.take_error()?.map_or_else(|| self.0.try_recv(buffer), Err);
        let length = self.0.async_io(Interest::READABLE | Interest::ERROR, receive).await?;
        Ok((length, self.1))
    }

    fn poll_recv_from(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<(usize, SocketAddr)>> {
        let mut buffer = ReadBuf::new(buffer);
        ready!(self.0.poll_recv(cx, &mut buffer))?;
        Poll::Ready(Ok((buffer.filled().len(), self.1)))
    }

    fn poll_send_to(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
        _: SocketAddr,
    ) -> Poll<io::Result<usize>> {
        self.0.poll_send(cx, bytes)
    }
}
