//! The threads that serve connections.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;
use std::time::Duration;

use actix_http::body::{BoxBody, MessageBody};
use actix_http::{KeepAlive, Request, Response, ServiceConfig};
use actix_service::ServiceFactory;
use actix_web::rt::net::TcpStream;
use prometheus_client::metrics::gauge::Gauge;
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::task::LocalSet;
use tokio::time::{Instant, timeout_at};
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

/// A worker that has had so many connections at once, and has none left, makes room for another thread: the framework
/// keeps 128 requests and answers of a thread for the next ones, and after a crowd each of these keeps pages of the
/// allocator in use.
const CROWD: usize = 512;

/// How often a worker that has had a crowd looks whether a connection is left.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

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
    /// Runtimes end.
    pub(crate) release: CancellationToken,
    /// Held by each worker until it has served all that came.
    pub(crate) _ended: watch::Receiver<()>,
}

/// The workers of a listener; dropped, they serve what they have. Their runtimes last until they are released: clients
/// of other servers have tasks on one, which requests of another worker may be waiting for.
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
            let post = Post {
                name: format!("worker-{number_of}"),
                abort: shared.abort.clone(),
                release: shared.release.clone(),
                serve: async move |accepted: &mut mpsc::UnboundedReceiver<Accepted>| {
                    serve(&build, accepted, &shared, &served).await
                },
            };
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .max_blocking_threads((BLOCKING_THREADS / number).max(1))
                .thread_keep_alive(BLOCKING_KEEP_ALIVE)
                // The worker is the thread that blocks on the runtime; only those for blocking work start.
                .on_thread_start(let_workers_go_first)
                .build()?;
            // A thread that has just been started waits for it.
            let _ = post.start()?.send((runtime, receiver));
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

/// What a worker's thread is given, and after it the one that takes its place.
#[derive(Clone)]
struct Post<F> {
    name: String,
    abort: CancellationToken,
    release: CancellationToken,
    /// Serves what comes, from the beginning.
    serve: F,
}

/// Why a worker serves no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    /// Nothing more will come, and what had come is served.
    Stopped,
    /// A crowd has gone, and nobody is left.
    CrowdGone,
}

/// What a thread hands to its successor. The runtime stays the same, as for [`Workers`].
type HandOver = (Runtime, mpsc::UnboundedReceiver<Accepted>);

impl<F> Post<F>
where
    F: AsyncFn(&mut mpsc::UnboundedReceiver<Accepted>) -> Ended + Clone + Send + 'static,
{
    /// Starts a thread that serves what it is then sent.
    ///
    /// # Errors
    /// When the system gives none.
    fn start(self) -> io::Result<SyncSender<HandOver>> {
        let (hand_over, handed_over) = sync_channel::<HandOver>(1);
        thread::Builder::new().name(self.name.clone()).spawn(move || {
            let Ok((runtime, mut accepted)) = handed_over.recv() else { return };
            loop {
                let serve = self.abort.run_until_cancelled((self.serve)(&mut accepted));
                if LocalSet::new().block_on(&runtime, serve) != Some(Ended::CrowdGone) {
                    break;
                }
                // Where there is no other thread, this one begins anew.
                if let Ok(successor) = self.clone().start() {
                    let _ = successor.send((runtime, accepted));
                    return;
                }
            }
            let Self { release, serve, .. } = self;
            drop((serve, accepted));
            runtime.block_on(release.cancelled());
        })?;
        Ok(hand_over)
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
    build: &F,
    accepted: &mut mpsc::UnboundedReceiver<Accepted>,
    shared: &Shared,
    load: &Arc<AtomicUsize>,
) -> Ended
where
    F: Fn() -> (Connections, S),
    S: ServiceFactory<Request, Config = ()> + 'static,
    S::Response: Into<Response<B>>,
    S::Error: Into<Response<BoxBody>>,
    B: MessageBody,
{
    let (connections, factory) = build();
    let Ok(service) = factory.new_service(()).await else {
        tracing::error!("A worker cannot start");
        return Ended::Stopped;
    };
    // Time limits are the connections' own.
    let config = ServiceConfig::new(KeepAlive::Os, Duration::ZERO, Duration::ZERO, false, None);
    let (dispatcher, served) = (Rc::new(Dispatcher::new(service, config)), TaskTracker::new());
    let (mut most, mut looks_at) = (0, Instant::now());
    loop {
        let next = if most < CROWD {
            accepted.recv().await
        } else {
            match timeout_at(looks_at, accepted.recv()).await {
                Ok(next) => next,
                Err(_) if load.load(Ordering::Relaxed) == 0 => return Ended::CrowdGone,
                Err(_) => {
                    looks_at = Instant::now() + LOOK_INTERVAL;
                    continue;
                }
            }
        };
        let Some(Accepted { stream, peer, memory, descriptor }) = next else { break };
        most = most.max(load.load(Ordering::Relaxed));
        shared.open.inc();
        let mut open = Open {
            gauge: shared.open.clone(),
            load: Arc::clone(load),
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
    Ended::Stopped
}
