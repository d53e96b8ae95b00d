//! The log files: written durably, counted in memory, read, and removed when they are too many.

mod directory;
mod index;
mod metrics;
mod stamp;
mod writer;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::panic::resume_unwind;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use common::ServiceContext;
use common::probes::CheckError;
use futures_util::{Stream, StreamExt as _, future, stream};
use rustix::io::Errno;
use tokio::sync::{Notify, Semaphore, mpsc, oneshot};
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use directory::{Directory, DirectoryId};
use index::Index;
use metrics::LogFilesMetrics;
pub(crate) use stamp::Stamp;
use writer::{Job, MAX_BATCH};

use crate::config::LogFilesConfig;
use crate::error::{Error, IN_USE};

/// How many files of a download are read at once.
const CHUNK: usize = 256;

/// The same of a page of the list.
const PAGE_BYTES: usize = 256 * 1024;

/// From how many bytes on no more are read for now: a client may take its time with what it gets.
const CHUNK_BYTES: usize = 32 * 1024;

/// How many files are removed before others get their turn.
const REMOVAL_STEP: usize = 256;

/// How long others get their turn.
const REMOVAL_PAUSE: Duration = Duration::from_millis(10);

/// How long to wait after a failure before the next attempt.
const RETRY: Duration = Duration::from_secs(1);

/// How old a temporary file is that nobody writes any more.
const LEFTOVER_AGE: Duration = Duration::from_mins(10);

/// The log files; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct LogFiles {
    jobs: mpsc::Sender<Job>,
    shared: Arc<Shared>,
}

/// A log file that was read.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) stamp: Stamp,
    pub(crate) bytes: Vec<u8>,
}

/// Which files come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    NewestFirst,
    OldestFirst,
}

/// Some files, and the range that those behind them are in.
pub(crate) type Page = (Vec<LogFile>, Option<Range<Stamp>>);

impl LogFiles {
    /// Begins to read the directory, and to write, remove and check in the background.
    pub(crate) fn start(config: &LogFilesConfig, context: &ServiceContext) -> Self {
        let shared = Arc::new(Shared {
            path: config.log_files_dir.clone(),
            retention: config.log_retention_files.get(),
            index: Mutex::default(),
            owned: Mutex::default(),
            wake: Notify::new(),
            metrics: LogFilesMetrics::register(&context.metrics),
        });
        let (jobs, queue) = mpsc::channel(MAX_BATCH);
        context.tasks.spawn(writer::run(Arc::clone(&shared), queue));
        context.tasks.spawn(tend(Arc::clone(&shared)));
        let (checked, turn) = (Arc::clone(&shared), Arc::new(Semaphore::new(1)));
        context.readiness.check(&context.tasks, "log-volume", move || {
            check(Arc::clone(&checked), Arc::clone(&turn))
        });
        Self { jobs, shared }
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
        let shared = Arc::clone(&self.shared);
        let found = blocking(move || shared.read(usize::MAX, |_| Ok(vec![stamp]))).await;
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
        let shared = Arc::clone(&self.shared);
        blocking(move || {
            let (Range { start, end }, mut rest) = (range.clone(), None);
            let (files, unread) = shared.read(most, |index| {
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
            .shared
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

impl LogFile {
    /// The line that the file holds.
    pub(crate) fn message(&self) -> String {
        let line = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        String::from_utf8_lossy(line).into_owned()
    }
}

/// What requests and background work share.
#[derive(Debug)]
struct Shared {
    path: PathBuf,
    retention: usize,
    index: Mutex<Index>,
    /// The directory that this process has for itself, and the lock.
    owned: Mutex<Option<(DirectoryId, File)>>,
    /// There is something to list or to remove.
    wake: Notify,
    metrics: LogFilesMetrics,
}

impl Shared {
    /// Opens the directory. If it is another than the last time, the index begins anew.
    fn open(&self) -> io::Result<Directory> {
        if self.with_index(|index| index.directory.is_none()) {
            // Not later on: then a directory that is missing belongs to a volume that is.
            std::fs::create_dir_all(&self.path)?;
        }
        let directory = Directory::open(&self.path)?;
        self.own(&directory)?;
        if self.with_index(|index| index.turn_to(directory.id)) {
            self.wake.notify_one();
        }
        Ok(directory)
    }

    /// Makes sure that no other process writes or removes files there: it would not be known here.
    fn own(&self, directory: &Directory) -> io::Result<()> {
        let mut owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner);
        if owned.as_ref().is_none_or(|(id, _)| *id != directory.id) {
            *owned = None;
            *owned = Some((directory.id, directory.lock()?));
        }
        Ok(())
    }

    fn with_index<T>(&self, f: impl FnOnce(&mut Index) -> T) -> T {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut index);
        self.metrics.held.set(i64::try_from(index.stamps.len()).unwrap_or(i64::MAX));
        result
    }

    /// Reads the files that are chosen. Those that are gone are forgotten.
    ///
    /// With the first file that was not read any more, because those before it have so many bytes.
    fn read<F>(&self, most: usize, choose: F) -> Result<(Vec<LogFile>, Option<Stamp>), Error>
    where
        F: FnOnce(&Index) -> Result<Vec<Stamp>, Error>,
    {
        let directory = self.open().map_err(Error::not_read)?;
        let stamps = self.with_index(|index| choose(index))?;
        let (mut files, mut gone, mut unread) = (Vec::new(), Vec::new(), None);
        let mut held = 0;
        for stamp in stamps {
            if held >= most {
                unread = Some(stamp);
                break;
            }
            match directory.read(stamp).map_err(Error::NotRead)? {
                Some(bytes) => {
                    held += bytes.len();
                    files.push(LogFile { stamp, bytes });
                }
                None => gone.push(stamp),
            }
        }
        self.with_index(|index| {
            for stamp in &gone {
                index.stamps.remove(stamp);
            }
        });
        Ok((files, unread))
    }

    /// Lists the directory or removes some files; returns whether more is to be done.
    fn tend(&self) -> io::Result<bool> {
        let directory = self.open()?;
        if !self.with_index(|index| index.loaded) {
            let (found, leftovers) = directory.scan(Stamp::before(LEFTOVER_AGE))?;
            tracing::info!(
                log_files.found = found.len(),
                log_files.leftovers = leftovers.len(),
                "Listed the log files"
            );
            self.with_index(|index| index.load(directory.id, found));
            leftovers.iter().try_for_each(|name| directory.remove(name))?;
            return Ok(true);
        }
        let surplus = self.with_index(|index| index.surplus(self.retention, REMOVAL_STEP));
        for stamp in &surplus {
            directory.remove(&stamp.to_string())?;
            self.with_index(|index| index.stamps.remove(stamp));
            self.metrics.removed.inc();
        }
        Ok(surplus.len() == REMOVAL_STEP)
    }
}

/// Lists and removes whenever there is something to.
async fn tend(shared: Arc<Shared>) {
    loop {
        let worker = Arc::clone(&shared);
        match blocking(move || worker.tend()).await {
            Ok(true) => sleep(REMOVAL_PAUSE).await,
            Ok(false) => shared.wake.notified().await,
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
async fn check(shared: Arc<Shared>, turn: Arc<Semaphore>) -> Result<(), CheckError> {
    // A volume that hangs takes one thread, and not one more with each check.
    let turn = turn.try_acquire_owned()?;
    blocking(move || {
        let _turn = turn;
        shared.open().map_err(Error::not_read)?.probe()?;
        shared.with_index(|index| index.loaded).then_some(()).ok_or(Error::Loading.into())
    })
    .await
}

/// Does what may take its time where it holds up nobody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    spawn_blocking(work).await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
}
