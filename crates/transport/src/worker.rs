//! The threads that serve connections.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use actix_http::body::{BoxBody, MessageBody};
use actix_http::{KeepAlive, Request, Response, ServiceConfig};
use actix_service::ServiceFactory;
use actix_web::rt::net::TcpStream;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clients::ClientPermit;
use crate::connections::Connections;
use crate::dispatcher::Dispatcher;

/// Threads for blocking work, of all workers together: each has a stack and a heap of its own, some 150 KiB.
const BLOCKING_THREADS: usize = 64;

/// How long an idle one stays: the allocator gives back what it has freed for others when it ends.
const BLOCKING_KEEP_ALIVE: Duration = Duration::from_secs(2);

/// How much nicer one is than a worker. Each serves one request, and the worker all of them: as equals, a
/// worker beside 64 of them would have a small part of the processor. 10 is a tenth of its weight (`sched(7)`).
#[cfg(target_os = "linux")]
const BLOCKING_NICENESS: i32 = 10;

/// A connection that may be served.
pub(crate) struct Accepted {
    pub(crate) stream: std::net::TcpStream,
    pub(crate) peer: SocketAddr,
    /// What it takes of the memory budget.
    pub(crate) memory: ClientPermit,
    /// What it takes of the descriptors.
    pub(crate) descriptor: ClientPermit,
}

/// What the workers of a listener share.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Connections that clients have open.
    pub(crate) open: Gauge,
    /// Connections whose first head is not complete.
    pub(crate) awaiting_first_request: Arc<AtomicUsize>,
    /// Connections end at once.
    pub(crate) abort: CancellationToken,
    /// Held by each worker until it ends.
    pub(crate) ended: watch::Receiver<()>,
}

/// The workers of a listener; dropped, they serve what they have and end.
pub(crate) struct Workers {
    threads: Vec<Worker>,
    awaiting_first_request: Arc<AtomicUsize>,
    next: usize,
}

struct Worker {
    connections: mpsc::UnboundedSender<Accepted>,
    load: Arc<AtomicUsize>,
}

impl Workers {
    /// Starts that many threads. `build` makes each one's service on its own thread.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start<F, S, B>(
        number: NonZeroUsize,
        shared: &Shared,
        build: F,
    ) -> io::Result<Self>
    where
        F: Fn() -> (Connections, S) + Clone + Send + 'static,
        S: ServiceFactory<Request, Config = ()> + 'static,
        S::Response: Into<Response<B>>,
        S::Error: Into<Response<BoxBody>>,
        B: MessageBody,
    {
        let number = number.get();
        let start = |number_of: usize| {
            let (connections, receiver) = mpsc::unbounded_channel();
            let load = Arc::new(AtomicUsize::new(0));
            let (build, shared, served) = (build.clone(), shared.clone(), Arc::clone(&load));
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads((BLOCKING_THREADS / number).max(1))
                .thread_keep_alive(BLOCKING_KEEP_ALIVE)
                // The worker is the thread that blocks on the runtime; only those for blocking work start.
                .on_thread_start(let_workers_go_first)
                .build()?;
            thread::Builder::new().name(format!("worker-{number_of}")).spawn(move || {
                let serve = async {
                    shared.abort.run_until_cancelled(serve(build, receiver, &shared, served)).await;
                };
                LocalSet::new().block_on(&runtime, serve);
                drop(shared.ended);
            })?;
            Ok(Worker { connections, load })
        };
        let threads = (0..number).map(start).collect::<io::Result<_>>()?;
        Ok(Self {
            threads,
            awaiting_first_request: Arc::clone(&shared.awaiting_first_request),
            next: 0,
        })
    }

    /// Hands a connection to the worker that has the fewest.
    pub(crate) fn serve(&mut self, accepted: Accepted) {
        let number = self.threads.len();
        self.next = (self.next + 1) % number;
        let turns = (0..number).map(|turn| &self.threads[(self.next + turn) % number]);
        let Some(worker) = turns.min_by_key(|worker| worker.load.load(Ordering::Relaxed)) else {
            return;
        };
        worker.load.fetch_add(1, Ordering::Relaxed);
        self.awaiting_first_request.fetch_add(1, Ordering::Relaxed);
        // A worker that has ended was aborted: the connection ends, too.
        let _ = worker.connections.send(accepted);
    }
}

/// Makes the calling thread one for blocking work.
fn let_workers_go_first() {
    // Elsewhere niceness is the process's, not the thread's. A thread that cannot is as urgent as a worker.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(BLOCKING_NICENESS);
}

/// Counts a connection for as long as it lives.
struct Open {
    gauge: Gauge,
    load: Arc<AtomicUsize>,
    /// Until its first head is complete.
    awaiting_first_request: Option<Arc<AtomicUsize>>,
    _descriptor: ClientPermit,
}

impl Open {
    fn first_head_ended(&mut self) {
        if let Some(awaiting_first_request) = self.awaiting_first_request.take() {
            awaiting_first_request.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.first_head_ended();
        self.load.fetch_sub(1, Ordering::Relaxed);
        self.gauge.dec();
    }
}

async fn serve<F, S, B>(
    build: F,
    mut accepted: mpsc::UnboundedReceiver<Accepted>,
    shared: &Shared,
    load: Arc<AtomicUsize>,
) where
    F: Fn() -> (Connections, S),
    S: ServiceFactory<Request, Config = ()> + 'static,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody,
{
    let (connections, factory) = build();
    let Ok(service) = factory.new_service(()).await else {
        tracing::error!("A worker cannot start");
        return;
    };
    // Time limits are the connections' own.
    let config = ServiceConfig::new(KeepAlive::Os, Duration::ZERO, Duration::ZERO, false, None);
    let (dispatcher, served) = (Rc::new(Dispatcher::new(service, config)), TaskTracker::new());
    while let Some(Accepted { stream, peer, memory, descriptor }) = accepted.recv().await {
        shared.open.inc();
        let mut open = Open {
            gauge: shared.open.clone(),
            load: Arc::clone(&load),
            awaiting_first_request: Some(Arc::clone(&shared.awaiting_first_request)),
            _descriptor: descriptor,
        };
        let (connections, dispatcher) = (connections.clone(), Rc::clone(&dispatcher));
        served.spawn_local(async move {
            let accepted = async {
                let stream = TcpStream::from_std(stream)?;
                connections.accept(stream, memory, dispatcher.config()).await
            };
            if let Ok(Some(connection)) = accepted.await {
                // How it ends is the client's business.
                let _ = dispatcher.serve(connection, peer, || open.first_head_ended()).await;
            }
        });
    }
    served.close();
    served.wait().await;
}
