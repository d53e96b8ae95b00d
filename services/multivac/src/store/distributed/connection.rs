//! The connections to Redis.

use std::time::Duration;

use redis::aio::{ConnectionManager, ConnectionManagerConfig};
use redis::io::tcp::TcpSettings;
use redis::{IntoConnectionInfo as _, RedisResult, cmd};

use crate::error::Error;

/// How long a read may wait for a job.
pub(super) const BLOCK_TIMEOUT: Duration = Duration::from_millis(500);

/// How long a connection and an answer may take.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The connections of a process; clones share them.
#[derive(Clone)]
pub(super) struct Connections {
    commands: ConnectionManager,
    reads: ConnectionManager,
}

impl Connections {
    /// Connects when it is first needed.
    ///
    /// # Errors
    /// When the URL is none.
    pub(super) fn open(url: &str) -> RedisResult<Self> {
        let tcp = TcpSettings::default().set_nodelay(true);
        // Without it a host that has vanished is waited for, for a quarter of an hour.
        #[cfg(target_os = "linux")]
        let tcp = tcp.set_user_timeout(TIMEOUT);
        let client = redis::Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
        let connect = |timeout| {
            let config = ConnectionManagerConfig::new()
                // A request fails at once; the next one connects again.
                .set_number_of_retries(0)
                .set_connection_timeout(Some(TIMEOUT))
                .set_response_timeout(Some(timeout));
            ConnectionManager::new_lazy_with_config(client.clone(), config)
        };
        Ok(Self { commands: connect(TIMEOUT)?, reads: connect(BLOCK_TIMEOUT + TIMEOUT)? })
    }

    /// The connection of commands that do not block.
    pub(super) fn commands(&self) -> ConnectionManager {
        self.commands.clone()
    }

    /// The connection of blocking reads, which would hold up all other commands on their connection.
    pub(super) fn reads(&self) -> ConnectionManager {
        self.reads.clone()
    }

    /// Whether Redis answers.
    pub(super) async fn check(&self) -> Result<(), Error> {
        Ok(cmd("PING").exec_async(&mut self.commands()).await?)
    }
}
