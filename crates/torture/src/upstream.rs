//! The external service that backend-api downloads from: it answers anything with a gibibyte of log lines.

use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The length of an answer.
const BYTES: usize = 1 << 30;

/// It ends when dropped.
#[derive(Debug)]
pub struct Upstream {
    /// Where it listens.
    pub address: SocketAddr,
    _answers: JoinSet<()>,
}

/// Starts to listen.
///
/// # Errors
/// When there is no free port.
pub async fn start() -> std::io::Result<Upstream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let mut answers = JoinSet::new();
    answers.spawn(async move {
        let mut answers = JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            while answers.try_join_next().is_some() {}
            answers.spawn(answer(stream));
        }
    });
    Ok(Upstream { address, _answers: answers })
}

async fn answer(mut stream: TcpStream) -> std::io::Result<()> {
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
