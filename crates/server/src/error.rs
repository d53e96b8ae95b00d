//! Why a service cannot start.

use std::io;
use std::net::SocketAddr;

use transport::tls::TlsError;

/// Why a service could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be listened on.
    #[error("cannot listen on {address}")]
    Bind {
        /// The address, from `HOST` and `PORT`.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error("cannot speak HTTPS")]
    Tls(#[source] TlsError),
    /// The server's threads cannot be started.
    #[error("cannot start the server")]
    Server(#[source] io::Error),
    /// Something else that the service needs from the start.
    #[error("cannot start")]
    Other(#[from] Box<dyn std::error::Error + Send + Sync>),
}
