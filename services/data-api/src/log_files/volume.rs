//! The directory of the log files together with what is known of it.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::directory::{Directory, DirectoryId};
use super::index::Index;
use super::metrics::LogFilesMetrics;
use super::stamp::Stamp;
use crate::error::Error;

/// How many files are removed in one step.
const REMOVAL_STEP: usize = 256;

/// How old a temporary file is that nobody writes any more.
const LEFTOVER_AGE: Duration = Duration::from_mins(10);

/// A log file that was read.
#[derive(Debug)]
pub(crate) struct LogFile {
    pub(crate) stamp: Stamp,
    pub(crate) bytes: Vec<u8>,
}

impl LogFile {
    /// The line that the file holds.
    pub(crate) fn message(&self) -> String {
        let line = self.bytes.strip_suffix(b"\n").unwrap_or(&self.bytes);
        String::from_utf8_lossy(line).into_owned()
    }
}

/// The directory and its index, which requests and background work share.
#[derive(Debug)]
pub(super) struct Volume {
    path: PathBuf,
    pub(super) retention: usize,
    index: Mutex<Index>,
    /// The directory that this process has for itself, and the lock.
    owned: Mutex<Option<(DirectoryId, File)>>,
    /// There is something to list or to remove.
    pub(super) wake: Notify,
    pub(super) metrics: LogFilesMetrics,
}

impl Volume {
    pub(super) fn new(path: PathBuf, retention: usize, metrics: LogFilesMetrics) -> Self {
        Self {
            path,
            retention,
            index: Mutex::default(),
            owned: Mutex::default(),
            wake: Notify::new(),
            metrics,
        }
    }

    /// Opens the directory. If it is another than the last time, the index begins anew.
    pub(super) fn open(&self) -> io::Result<Directory> {
        if self.with_index(|index| index.directory.is_none()) {
            // Not later on: then a directory that is missing belongs to a volume that is.
            std::fs::create_dir_all(&self.path)?;
        }
        let directory = Directory::open(&self.path)?;
        self.own(&directory)?;
        if self.with_index(|index| index.reset_if_changed(directory.id)) {
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

    pub(super) fn with_index<T>(&self, f: impl FnOnce(&mut Index) -> T) -> T {
        let mut index = self.index.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut index);
        self.metrics.held.set(i64::try_from(index.stamps.len()).unwrap_or(i64::MAX));
        result
    }

    /// Reads the files that are chosen, until they have `most` bytes; with the first that was not read any more.
    /// Those that are gone are forgotten.
    pub(super) fn read<F>(
        &self,
        most: usize,
        choose: F,
    ) -> Result<(Vec<LogFile>, Option<Stamp>), Error>
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
    pub(super) fn maintain(&self) -> io::Result<bool> {
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
