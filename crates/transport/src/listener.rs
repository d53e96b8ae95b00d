//! A listener: who serves its connections, and how it ends.

use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{io, thread};

use actix_http::body::{BoxBody, MessageBody};
use actix_http::{Request, Response};
use actix_service::{IntoServiceFactory, ServiceFactory};
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::acceptor::Acceptor;
use crate::clients::ClientQuota;
use crate::connections::{ConnectionSettings, Connections};
use crate::limits::TimeLimits;
use crate::refusals::Refused;
use crate::state::Scheme;
use crate::worker::{self, Workers};

/// How the connections of a listener are served.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many threads serve them.
    pub workers: NonZeroUsize,
    /// How much time clients have.
    pub limits: TimeLimits,
    /// None for plain HTTP.
    pub tls: Option<Arc<rustls::ServerConfig>>,
    /// What clients hold of the memory budget.
    pub memory: Arc<ClientQuota>,
    /// What they hold of the file descriptors.
    pub descriptors: Arc<ClientQuota>,
    /// Connections that clients have open.
    pub open: Gauge,
    /// Connections that were refused.
    pub refused: Refused,
}

/// Serves what `app` makes, once on each worker's thread, and again on one that replaces another.
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
        awaiting_first_request: Arc::clone(&shutdown.awaiting_first_request),
        abort: shutdown.abort.clone(),
        release: shutdown.release.clone(),
        _ended: shutdown.ended.subscribe(),
    };
    let scheme = if settings.tls.is_some() { Scheme::Https } else { Scheme::Http };
    let connections = ConnectionSettings {
        limits: settings.limits,
        tls: settings.tls,
        closing: shutdown.close.clone(),
        end_idle: shutdown.end_idle.clone(),
    };
    let build = move || (Connections::new(connections.clone()), app().into_factory());
    let acceptor = Acceptor {
        listener,
        workers: Workers::start(settings.workers, &shared, build)?,
        memory: settings.memory,
        descriptors: settings.descriptors,
        refused: settings.refused,
        scheme,
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
    release: CancellationToken,
    awaiting_first_request: Arc<AtomicUsize>,
    ended: watch::Sender<()>,
}

/// A port that is served; dropped, it is closed, its connections end, and so do the tasks on the runtimes of its workers.
#[derive(Debug)]
pub struct Listener(Shutdown);

impl Listener {
    /// Has what is in the backlog accepted, and then the socket closed; it does not wait for that.
    pub fn close(&self) {
        self.0.close.cancel();
    }

    /// How many connections have not sent a whole head yet.
    #[must_use]
    pub fn awaiting_first_request(&self) -> usize {
        self.0.awaiting_first_request.load(Ordering::Relaxed)
    }

    /// Ends idle connections, and waits until all connections have ended.
    pub async fn close_idle_and_wait(&self) {
        self.0.end_idle.cancel();
        self.0.ended.closed().await;
    }

    /// Closes the port and ends its connections, whatever is in progress on them. The runtimes of the workers go on.
    pub fn abort(&self) {
        self.0.close.cancel();
        self.0.abort.cancel();
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.abort();
        self.0.release.cancel();
    }
}
