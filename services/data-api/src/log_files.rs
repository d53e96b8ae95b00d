//! The log files: written durably, counted in memory, read, and removed when they are too many.

mod directory;
mod index;
mod metrics;
mod stamp;
mod volume;
mod writer;

use std::ops::Range;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use common::ServiceContext;
use common::probes::CheckError;
use futures_util::{Stream, StreamExt as _, future, stream};
use rustix::io::Errno;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

pub(crate) use index::Order;
use metrics::LogFilesMetrics;
pub(crate) use stamp::Stamp;
pub(crate) use volume::LogFile;
use volume::Volume;
use writer::{Job, MAX_BATCH};

use crate::config::LogFilesConfig;
use crate::error::{Error, IN_USE};

/// How many files of a download are read at once.
const CHUNK: usize = 256;

/// The same of a page of the list.
const PAGE_BYTES: usize = 256 * 1024;

/// From how many bytes on no more are read for now: a client may take its time with what it gets.
const CHUNK_BYTES: usize = 32 * 1024;

/// How long requests go first between two steps of a removal.
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// How long to wait after a failure before the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// The log files; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    jobs: mpsc::Sender<Job>,
    volume: Arc<Volume>,
}

/// Some files, and the range that those behind them are in.
pub(crate) type Page = (Vec<LogFile>, Option<Range<Stamp>>);

impl LogFiles {
    /// Begins to read the directory, and to write, remove and check in the background.
    pub(crate) fn start(config: &LogFilesConfig, context: &ServiceContext) -> Self {
        let (path, retention) = (config.log_files_dir.clone(), config.log_retention_files.get());
        let metrics = LogFilesMetrics::register(&context.metrics);
        let volume = Arc::new(Volume::new(path, retention, metrics));
        let (jobs, queue) = mpsc::channel(MAX_BATCH);
        context.tasks.spawn(writer::run(Arc::clone(&volume), queue));
        context.tasks.spawn(maintain(Arc::clone(&volume)));
        let (checked, permit) = (Arc::clone(&volume), Arc::new(Semaphore::new(1)));
        context.readiness.check(&context.tasks, "log-volume", move || {
            check(Arc::clone(&checked), Arc::clone(&permit))
        });
        Self { jobs, volume }
    }

    /// Writes a message and a newline to a file of its own. The file is durable when this returns.
    pub(crate) async fn write(&self, message: &'static str) -> Result<Stamp, Error> {
        let (done, written) = oneshot::channel();
        let sent = self.jobs.send(Job { message, done }).await.is_ok();
        let written = if sent { written.await.ok() } else { None };
        // The writer outlives all requests, unless it panicked or the grace period ran out.
        written.unwrap_or(Err(Errno::CANCELED)).map_err(Error::not_written)
    }

    /// One file.
    pub(crate) async fn read(&self, stamp: Stamp) -> Result<LogFile, Error> {
        let volume = Arc::clone(&self.volume);
        let found = blocking(move || volume.read(usize::MAX, |_| Ok(vec![stamp]))).await;
        found?.0.pop().ok_or(Error::NotFound)
    }

    /// The first files of a range, at most `limit`; fewer where some are gone, or together are large.
    pub(crate) async fn page(
        &self,
        range: Range<Stamp>,
        order: Order,
        limit: usize,
    ) -> Result<Page, Error> {
        self.first(range, order, limit, PAGE_BYTES).await
    }

    async fn first(
        &self,
        range: Range<Stamp>,
        order: Order,
        limit: usize,
        most: usize,
    ) -> Result<Page, Error> {
        let volume = Arc::clone(&self.volume);
        blocking(move || {
            let (Range { start, end }, mut rest) = (range.clone(), None);
            let (files, unread) = volume.read(most, |index| {
                let stamps;
                (stamps, rest) = index.first(range, order, limit)?;
                Ok(stamps)
            })?;
            let left = unread.map(|unread| match order {
                Order::OldestFirst => unread..end,
                Order::NewestFirst => start..unread.next(),
            });
            Ok((files, left.or(rest)))
        })
        .await
    }

    /// The files of a time and later, those that are there now, oldest first, some at once: the next are
    /// read when these have been taken.
    pub(crate) async fn download(
        &self,
        since: Stamp,
    ) -> Result<impl Stream<Item = Result<Vec<LogFile>, Error>> + use<>, Error> {
        let end = self
            .volume
            .with_index(|index| index.stamps.last().map_or(Stamp::FIRST, |last| last.next()));
        // What is wrong with the volume at the start can still be answered.
        let (first, rest) = self.first(since..end, Order::OldestFirst, CHUNK, CHUNK_BYTES).await?;
        let files = self.clone();
        let others = stream::try_unfold(rest, move |rest| {
            let files = files.clone();
            async move {
                match rest {
                    Some(range) => {
                        files.first(range, Order::OldestFirst, CHUNK, CHUNK_BYTES).await.map(Some)
                    }
                    None => Ok(None),
                }
            }
        });
        Ok(stream::once(future::ready(Ok(first))).chain(others))
    }
}

/// Lists and removes whenever there is something to.
async fn maintain(volume: Arc<Volume>) {
    loop {
        let worker = Arc::clone(&volume);
        match blocking(move || worker.maintain()).await {
            Ok(true) => sleep(REMOVAL_PAUSE).await,
            Ok(false) => volume.wake.notified().await,
            // The readiness check tells of it, until the other one ends.
            Err(error) if Errno::from_io_error(&error) == Some(IN_USE) => sleep(RETRY).await,
            Err(error) => {
                tracing::warn!(%error, "The log files cannot be listed or removed");
                sleep(RETRY).await;
            }
        }
    }
}

/// Whether files can be written, and it is known which there are.
async fn check(volume: Arc<Volume>, permit: Arc<Semaphore>) -> Result<(), CheckError> {
    // A volume that hangs takes one thread, and not one more with each check.
    let permit = permit.try_acquire_owned()?;
    blocking(move || {
        let _permit = permit;
        volume.open().map_err(Error::not_read)?.probe()?;
        volume.with_index(|index| index.loaded).then_some(()).ok_or(Error::Loading.into())
    })
    .await
}

/// Does what may take its time where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
