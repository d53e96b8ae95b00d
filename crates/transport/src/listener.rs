//! A listener: who serves its connections, and how it ends.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use std::{io, thread};

use actix_http::body::{BoxBody, MessageBody};
use actix_http::{Request, Response};
use actix_service::{IntoServiceFactory, ServiceFactory};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::acceptor::Acceptor;
use crate::clients::Clients;
use crate::connections::Connections;
use crate::refusals::Refused;
use crate::worker::{self, Workers};

/// How the connections of a listener are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many threads serve them.
    pub workers: NonZeroUsize,
    /// How long a head or a TLS handshake may take.
    pub head_timeout: Duration,
    /// How long answers may take once the port is closed.
    pub grace_period: Duration,
    /// None for plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What clients hold of the memory budget.
    pub clients: Arc<Clients>,
    /// What they hold of the file descriptors.
    pub descriptors: Arc<Clients>,
    /// Connections that clients have open.
    pub open: Gauge,
    /// Connections that were refused.
    pub refused: Refused,
}

/// Serves what `app` makes, once on each worker's thread.
///
/// # Errors
/// When the system gives no threads.
pub fn listen<A, I, S, B>(listener: TcpListener, settings: Settings, app: A) -> io::Result<Listener>
where
    A: Fn() -> I + Clone + Send + 'static,
    I: IntoServiceFactory<S, Request>,
    S: ServiceFactory<Request, Config = ()> + 'static,
    S::Error: Into<Response<BoxBody>>,
    S::Response: Into<Response<B>>,
    B: MessageBody,
{
    let shutdown = Shutdown::default();
    let shared = worker::Shared {
        open: settings.open,
        fresh: Arc::clone(&shutdown.fresh),
        abort: shutdown.abort.clone(),
        ended: shutdown.ended.subscribe(),
    };
    let plain = settings.tls.is_none();
    let (head_timeout, grace, tls) = (settings.head_timeout, settings.grace_period, settings.tls);
    let (closing, end_idle) = (shutdown.close.clone(), shutdown.end_idle.clone());
    let build = move || {
        let connections =
            Connections::new(head_timeout, grace, tls.clone(), closing.clone(), end_idle.clone());
        (connections, app().into_factory())
    };
    let acceptor = Acceptor {
        listener,
        workers: Workers::start(settings.workers, &shared, build)?,
        clients: settings.clients,
        descriptors: settings.descriptors,
        refused: settings.refused,
        plain,
    };
    let stop = shutdown.close.clone();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let accept = move || {
        if let Err(error) = runtime.block_on(acceptor.run(stop)) {
            tracing::error!(error = %error, "Connections are not accepted");
        }
    };
    thread::Builder::new().name("acceptor".into()).spawn(accept)?;
    Ok(Listener(shutdown))
}

/// What ends a listener, step by step.
#[derive(Debug, Default)]
struct Shutdown {
    close: CancellationToken,
    end_idle: CancellationToken,
    abort: CancellationToken,
    fresh: Arc<AtomicUsize>,
    ended: watch::Sender<()>,
}

/// A port that is served; dropped, it is closed and its connections end.
#[derive(Debug)]
pub struct Listener(Shutdown);

impl Listener {
    /// Accepts what is in the backlog and closes the socket.
    pub fn close(&self) {
        self.0.close.cancel();
    }

    /// How many connections have not sent a whole head yet.
    #[must_use]
    pub fn fresh(&self) -> usize {
        self.0.fresh.load(Ordering::Relaxed)
    }

    /// Waits until all connections have ended; idle ones end now.
    pub async fn ended(&self) {
        self.0.end_idle.cancel();
        self.0.ended.closed().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.close.cancel();
        self.0.abort.cancel();
    }
}
