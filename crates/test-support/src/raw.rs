use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

/// How long an answer may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A connection on which a test says what it likes.
#[derive(Debug)]
pub struct RawConnection(BufReader<TcpStream>);

/// An answer as it came.
#[derive(Clone, Debug, Default)]
pub struct RawResponse {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl RawConnection {
    /// Connects.
    ///
    /// # Panics
    /// When nobody listens.
    pub async fn open(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).await.expect("somebody listens");
        stream.set_nodelay(true).expect("a socket option");
        Self(BufReader::new(stream))
    }

    /// Connects from this address of the loopback, as another client.
    ///
    /// # Errors
    /// When nobody listens.
    pub async fn try_open_from(client: Ipv4Addr, addr: SocketAddr) -> io::Result<Self> {
        let socket = TcpSocket::new_v4()?;
        socket.bind((client, 0).into())?;
        let stream = socket.connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the connection is closed.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the connection is open");
    }

    /// Sends bytes, as far as the other side takes them.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref()).await
    }

    /// Says that nothing more will be sent.
    ///
    /// # Errors
    /// When the connection is closed.
    pub async fn try_finish(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    /// The next answer, its body by `content-length`; none when the connection ends instead.
    ///
    /// # Panics
    /// When neither comes, or the answer breaks off.
    pub async fn response(&mut self) -> Option<RawResponse> {
        timeout(TIMEOUT, self.read_response()).await.expect("an answer or the end")
    }

    async fn read_response(&mut self) -> Option<RawResponse> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            match self.0.read_u8().await {
                Ok(byte) => head.push(byte),
                Err(_) if head.is_empty() => return None,
                Err(error) => panic!("a head breaks off: {error}"),
            }
        }
        let head = String::from_utf8(head).expect("a head is ASCII").to_lowercase();
        let status = head.split(' ').nth(1)?.parse().expect("a status is a number");
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().expect("a length is a number"));
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.expect("a body is complete");
        Some(RawResponse { status, head, body: String::from_utf8_lossy(&body).into_owned() })
    }

    /// Everything until the connection ends.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn rest(&mut self) -> String {
        let mut rest = Vec::new();
        // A reset is an end too.
        let _ = timeout(TIMEOUT, self.0.read_to_end(&mut rest)).await.expect("the connection ends");
        String::from_utf8_lossy(&rest).into_owned()
    }
}
