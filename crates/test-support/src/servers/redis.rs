use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use percent_encoding::percent_decode_str;
use tokio::sync::OnceCell;
use url::Url;

use super::database::Database;
use super::process::{
    Durability, EXCHANGE, Launch, STARTUP, Server, blocking, find_program, url_variable, words,
};
use crate::child::ChildProcess;
use crate::skips::skip;
use crate::wait::{free_port, wait_until};

/// A Redis server.
pub struct Redis {
    /// Its process.
    pub server: Server,
    url: Arc<Url>,
}

impl Redis {
    /// The server that all tests of this process share: the one that `TEST_REDIS_URL` names, else
    /// a child. None, and a note by [`skip`], where there is none to be had.
    ///
    /// # Panics
    /// When there is one, and it does not answer.
    pub async fn shared() -> Option<&'static Self> {
        static SHARED: OnceCell<Option<Redis>> = OnceCell::const_new();
        let start = async || match url_variable("TEST_REDIS_URL") {
            Some(url) => Some(Self::external(url).await),
            None => Self::start_own(Durability::Fast).await,
        };
        SHARED.get_or_init(start).await.as_ref()
    }

    /// A server for one test alone, which may kill, freeze and restart it; always a child.
    pub async fn start_own(durability: Durability) -> Option<Self> {
        let Some(program) = find_program(&["redis-server", "valkey-server"], &[]) else {
            skip("redis", "there is no redis-server on the PATH");
            return None;
        };
        let port = free_port();
        let append_only = if durability == Durability::Durable { "yes" } else { "no" };
        let settings = format!(
            "--port {port} --bind 127.0.0.1 --databases 1024 --appendonly {append_only} \
             --appendfsync always"
        );
        let no_snapshots = vec!["--save".into(), String::new()];
        let arguments = [words(&settings), no_snapshots].concat();
        let launch = Launch { program, arguments, user: None, ready: answers };
        let server = Server::start(ChildProcess::new("redis", "", &[]), port, launch).await;
        Some(Self { url: Arc::new(url_of(server.addr())), server })
    }

    async fn external(url: Url) -> Self {
        blocking(move || {
            let server = Connection::open(&url)
                .and_then(|mut redis| redis.call(&["PING"]))
                .and_then(|_| Server::external(&url, 6379))
                .unwrap_or_else(|error| panic!("TEST_REDIS_URL does not answer: {error}"));
            Self { server, url: Arc::new(url) }
        })
        .await
    }

    /// How a client gets to it, and there to database 0. That is not for tests on a shared server.
    pub fn url(&self) -> &str {
        self.url.as_str()
    }

    /// A numbered database for one test, empty. Channels, scripts and settings belong to the whole
    /// server; a test that needs these wants [`Self::start_own`].
    ///
    /// # Panics
    /// When all are in use for a minute.
    pub async fn database(&self) -> Database {
        let mut claimed = None;
        wait_until("a database of Redis is free", STARTUP, async || {
            let url = Arc::clone(&self.url);
            claimed = blocking(move || claim_database(&url)).await.expect("Redis answers");
            claimed.is_some()
        })
        .await;
        let number = claimed.expect("just claimed");
        let mut database = Url::clone(&self.url);
        database.set_path(&number.to_string());
        let url = Arc::clone(&self.url);
        Database::new(database, move || {
            // A server that the test has killed needs no cleaning.
            let _ = release_database(&url, number);
        })
    }
}

fn url_of(addr: SocketAddr) -> Url {
    Url::parse(&format!("redis://{addr}")).expect("an address makes a URL")
}

fn answers(addr: SocketAddr) -> bool {
    Connection::open(&url_of(addr)).and_then(|mut redis| redis.call(&["PING"])).is_ok()
}

/// Claims are kept in database 0, so that processes which share a server do not meet. They expire:
/// what a killed process has left is taken over after an hour.
fn claim_of(number: u32) -> String {
    format!("test-support:claim:{number}")
}

/// None when all that the server has are in use.
fn claim_database(url: &Url) -> io::Result<Option<u32>> {
    let mut redis = Connection::open(url)?;
    for number in 1.. {
        // The first that does not exist is an error, and ends the search.
        if redis.call(&["SELECT", &number.to_string()]).is_err() {
            break;
        }
        redis.call(&["SELECT", "0"])?;
        if redis.call(&["SET", &claim_of(number), "1", "NX", "EX", "3600"])?.is_some() {
            redis.call(&["SELECT", &number.to_string()])?;
            redis.call(&["FLUSHDB"])?;
            return Ok(Some(number));
        }
    }
    Ok(None)
}

fn release_database(url: &Url, number: u32) -> io::Result<()> {
    let mut redis = Connection::open(url)?;
    redis.call(&["SELECT", &number.to_string()])?;
    redis.call(&["FLUSHDB"])?;
    redis.call(&["SELECT", "0"])?;
    redis.call(&["DEL", &claim_of(number)])?;
    Ok(())
}

/// As much of the protocol (RESP 2) as this file needs, so that the tests depend on no client.
struct Connection(BufReader<TcpStream>);

impl Connection {
    fn open(url: &Url) -> io::Result<Self> {
        if url.scheme() != "redis" {
            return Err(io::Error::other("only redis:// is supported here, without TLS"));
        }
        let stream = TcpStream::connect_timeout(&Server::external(url, 6379)?.addr(), EXCHANGE)?;
        stream.set_read_timeout(Some(EXCHANGE))?;
        stream.set_write_timeout(Some(EXCHANGE))?;
        stream.set_nodelay(true)?;
        let mut connection = Self(BufReader::new(stream));
        if let Some(password) = url.password() {
            let user = if url.username().is_empty() { "default" } else { url.username() };
            let [user, password] =
                [user, password].map(|part| percent_decode_str(part).decode_utf8_lossy());
            connection.call(&["AUTH", &user, &password])?;
        }
        Ok(connection)
    }

    /// Sends a command, and reads an answer that is no list. None stands for nil.
    fn call(&mut self, words: &[&str]) -> io::Result<Option<String>> {
        let words_sent = words.iter().map(|word| format!("${}\r\n{word}\r\n", word.len()));
        let request = format!("*{}\r\n{}", words.len(), words_sent.collect::<String>());
        self.0.get_mut().write_all(request.as_bytes())?;
        let mut line = String::new();
        self.0.read_line(&mut line)?;
        let line = line.trim_end();
        match line.split_at_checked(1) {
            Some(("+" | ":", value)) => Ok(Some(value.to_owned())),
            Some(("$", "-1")) => Ok(None),
            Some(("$", length)) => {
                let length: usize = length.parse().map_err(io::Error::other)?;
                let mut value = vec![0; length + 2];
                self.0.read_exact(&mut value)?;
                Ok(Some(String::from_utf8_lossy(&value[..length]).into_owned()))
            }
            _ => Err(io::Error::other(format!("Redis answered {line:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connect(url: &str) -> Connection {
        Connection::open(&Url::parse(url).unwrap()).unwrap()
    }

    fn select(url: &str) -> Connection {
        let mut redis = connect(url);
        redis.call(&["SELECT", url.rsplit('/').next().unwrap()]).unwrap();
        redis
    }

    #[tokio::test]
    async fn each_test_has_a_database_of_its_own() {
        let Some(redis) = Redis::shared().await else {
            return;
        };
        let (one, two) = tokio::join!(redis.database(), redis.database());
        assert_ne!(one.url(), two.url());
        select(one.url()).call(&["SET", "key", "one"]).unwrap();
        assert_eq!(select(two.url()).call(&["GET", "key"]).unwrap(), None);
        assert_eq!(select(one.url()).call(&["GET", "key"]).unwrap().unwrap(), "one");
    }

    #[tokio::test]
    async fn a_dropped_database_is_emptied_and_free_again() {
        let Some(redis) = Redis::start_own(Durability::Fast).await else {
            return;
        };
        let first = redis.database().await;
        select(first.url()).call(&["SET", "key", "value"]).unwrap();
        let url = first.url().to_owned();
        drop(first);
        assert_eq!(select(&url).call(&["DBSIZE"]).unwrap().unwrap(), "0");
        let second = redis.database().await;
        assert_eq!(second.url(), url);
        assert_eq!(select(second.url()).call(&["DBSIZE"]).unwrap().unwrap(), "0");
        drop(second);
        assert_eq!(connect(redis.url()).call(&["DBSIZE"]).unwrap().unwrap(), "0");
    }

    #[tokio::test]
    async fn a_durable_server_keeps_what_it_confirmed_over_a_kill() {
        let Some(mut redis) = Redis::start_own(Durability::Durable).await else {
            return;
        };
        let addr = redis.server.addr();
        connect(redis.url()).call(&["SET", "key", "value"]).unwrap();
        redis.server.kill();
        assert!(!answers(addr));
        redis.server.restart().await;
        redis.server.restart().await;
        let pid = format!("process_id:{}\r", redis.server.pid().unwrap());
        assert!(connect(redis.url()).call(&["INFO"]).unwrap().unwrap().contains(&pid));
        assert_eq!(redis.server.addr(), addr);
        assert_eq!(connect(redis.url()).call(&["GET", "key"]).unwrap().unwrap(), "value");
    }

    #[tokio::test]
    async fn a_frozen_server_accepts_and_answers_when_it_is_thawed() {
        let Some(mut redis) = Redis::start_own(Durability::Fast).await else {
            return;
        };
        redis.server.freeze();
        let mut stream = TcpStream::connect(redis.server.addr()).unwrap();
        stream.write_all(b"PING\r\n").unwrap();
        stream.set_nonblocking(true).unwrap();
        let mut answer = [0; 7];
        assert_eq!(stream.read(&mut answer).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        redis.server.thaw();
        stream.set_nonblocking(false).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
    }

    #[tokio::test]
    async fn a_password_in_the_url_is_used() {
        let Some(own) = Redis::start_own(Durability::Fast).await else {
            return;
        };
        connect(own.url()).call(&["CONFIG", "SET", "requirepass", "se/cret"]).unwrap();
        let mut url = Url::parse(own.url()).unwrap();
        url.set_password(Some("se/cret")).unwrap();
        let redis = Redis::external(url.clone()).await;
        assert_eq!(redis.server.pid(), None);
        assert!(redis.database().await.url().ends_with("/1"));
        url.set_password(Some("wrong")).unwrap();
        assert!(Connection::open(&url).is_err());
    }
}
