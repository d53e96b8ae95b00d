//! The external service that backend-api downloads from: it answers anything with a gibibyte of log lines.

use std::net::{Ipv4Addr, SocketAddr};
use std::{io, thread};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The length of an answer.
const BYTES: usize = 1 << 30;

/// It ends when dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    _end: DropGuard,
}

/// Starts to listen, on a thread of its own: what it sends delays nothing else of this process.
///
/// # Errors
/// When there is no free port, or no thread.
pub fn start() -> io::Result<Upstream> {
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let end = CancellationToken::new();
    let ended = end.clone();
    thread::Builder::new().name("upstream".into()).spawn(move || {
        runtime.block_on(ended.run_until_cancelled(serve(listener)));
    })?;
    Ok(Upstream { address, _end: end.drop_guard() })
}

async fn serve(listener: std::net::TcpListener) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut answers = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        while answers.try_join_next().is_some() {}
        answers.spawn(answer(stream));
    }
    Ok(())
}

async fn answer(mut stream: TcpStream) -> io::Result<()> {
    let line = format!("{{\"message\":\"{}\"}}\n", "x".repeat(1024 - 15));
    let block = line.repeat(64);
    let _ = stream.read(&mut [0; 4096]).await?;
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/x-ndjson\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        BYTES / block.len() * block.len()
    );
    stream.write_all(head.as_bytes()).await?;
    for _ in 0..BYTES / block.len() {
        stream.write_all(block.as_bytes()).await?;
    }
    Ok(())
}
