//! The connections to Redis.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::redis::aio::{ConnectionManager, ConnectionManagerConfig};
use ::redis::io::tcp::TcpSettings;
use ::redis::{Client, IntoConnectionInfo as _, RedisError, RedisResult, cmd};
use common::secrets::Refusal;
use tokio::sync::{RwLock, RwLockReadGuard};

/// How long a read may wait for a job.
pub const BLOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a connection and an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The error codes of a node that is not, or not yet, the primary.
const NOT_PRIMARY: [&str; 4] = ["READONLY", "LOADING", "MASTERDOWN", "CLUSTERDOWN"];

/// The other error codes of a Redis that has refused a script before its first write.
const REFUSALS: [&str; 6] = ["MISCONF", "NOREPLICAS", "BUSY", "NOAUTH", "WRONGPASS", "MOVED"];

/// Whether a command or script that failed so has changed nothing.
#[must_use]
pub fn was_refused(error: &RedisError) -> bool {
    error.is_connection_refusal()
        || error.code().is_some_and(|code| NOT_PRIMARY.contains(&code) || REFUSALS.contains(&code))
}

/// Whether a text is the URL of a Redis.
///
/// # Errors
/// What is expected.
pub fn check_url(url: &str) -> Result<(), &'static str> {
    Client::open(url).map(drop).map_err(|_| "expected a URL such as redis://host:6379")
}

/// The connections of a process; clones share them.
#[derive(Clone)]
pub struct Connections(Arc<Inner>);

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

struct Inner {
    current: Mutex<Pair>,
    /// Held shared by whoever must not have the server switched meanwhile.
    switch_lock: RwLock<()>,
    write_check: &'static str,
}

#[derive(Clone)]
struct Pair {
    client: Client,
    commands: ConnectionManager,
    reads: ConnectionManager,
}

impl Connections {
    /// Connects when it is first needed. `write_check` is a key that never exists, which [`Self::check`] deletes.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn open(url: &str, write_check: &'static str) -> RedisResult<Self> {
        let tcp = TcpSettings::default().set_nodelay(true);
        // Without it a host that has vanished is waited for, for a quarter of an hour.
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(TIMEOUT);
        let client = Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
        let current = Mutex::new(Pair::open(&client)?);
        Ok(Self(Arc::new(Inner { current, switch_lock: RwLock::default(), write_check })))
    }

    /// Keeps the connections from being switched to another server as long as the guard lives.
    pub async fn hold_server(&self) -> RwLockReadGuard<'_, ()> {
        self.0.switch_lock.read().await
    }

    /// Switches to the connections that a new URL leads to, if Redis takes writes there. What is under way ends on the
    /// old ones. Another server is refused while this one `holds_jobs`.
    ///
    /// # Errors
    /// Why the old connections stay.
    pub async fn switch_to<E: Into<Refusal>>(
        &self,
        url: &str,
        holds_jobs: impl Future<Output = Result<bool, E>> + Send,
    ) -> Result<(), Refusal> {
        check_url(url)?;
        let other = Self::open(url, self.0.write_check)?;
        other.check().await?;
        let other = other.with_current(|pair| pair.clone());
        let mut exclusive = None;
        if self.with_current(|pair| pair.server()) != other.server() {
            exclusive = Some(self.0.switch_lock.write().await);
            if holds_jobs.await.map_err(Into::into)? {
                return Err("it is another server, and jobs wait that do not move there".into());
            }
        }
        self.with_current(|current| *current = other);
        drop(exclusive);
        Ok(())
    }

    /// The connection of commands that do not block.
    #[must_use]
    pub fn commands(&self) -> ConnectionManager {
        self.with_current(|pair| pair.commands.clone())
    }

    /// The connection of blocking reads, which would hold up all other commands on their connection.
    #[must_use]
    pub fn reads(&self) -> ConnectionManager {
        self.with_current(|pair| pair.reads.clone())
    }

    /// Whether Redis takes writes. With a node that does not, as after a failover, the next commands resolve the name
    /// again, and connect to the node that it leads to by then.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> RedisResult<()> {
        // A write that changes nothing and needs no memory: a Redis without memory is a full queue, and
        // ready.
        let checked = cmd("DEL").arg(self.0.write_check).exec_async(&mut self.commands()).await;
        if let Err(error) = &checked {
            self.reconnect_if_not_primary(error)?;
        }
        checked
    }

    /// Opens other connections if a node has refused a command because it is not the primary.
    ///
    /// # Errors
    /// When the URL is of no use, which it was before.
    pub fn reconnect_if_not_primary(&self, error: &RedisError) -> RedisResult<()> {
        if error.code().is_some_and(|code| NOT_PRIMARY.contains(&code)) {
            let client = self.with_current(|pair| pair.client.clone());
            let pair = Pair::open(&client)?;
            self.with_current(|current| *current = pair);
        }
        Ok(())
    }

    fn with_current<T>(&self, f: impl FnOnce(&mut Pair) -> T) -> T {
        f(&mut self.0.current.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Pair {
    fn open(client: &Client) -> RedisResult<Self> {
        let connect = |timeout| {
            let config = ConnectionManagerConfig::new()
                // A request fails at once; the next one connects again.
                .set_number_of_retries(0)
                .set_connection_timeout(Some(TIMEOUT))
                .set_response_timeout(Some(timeout));
            ConnectionManager::new_lazy_with_config(client.clone(), config)
        };
        Ok(Self {
            client: client.clone(),
            commands: connect(TIMEOUT)?,
            reads: connect(BLOCK_TIMEOUT + TIMEOUT)?,
        })
    }

    /// Which server and which database there.
    fn server(&self) -> (String, i64) {
        let info = self.client.get_connection_info();
        (info.addr().to_string(), info.redis_settings().db())
    }
}
