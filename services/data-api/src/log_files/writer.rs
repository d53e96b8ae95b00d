//! Writes log files, all that are waiting with the same syncs.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use rustix::io::Errno;
use tokio::sync::{mpsc, oneshot};
use tokio::task::spawn_blocking;

use super::directory::{Directory, Temporary};
use super::stamp::Stamp;
use super::volume::Volume;

/// How many files are written with the same syncs; each is open until then.
pub(super) const MAX_BATCH: usize = 1024;

/// A file to be written.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) message: &'static str,
    /// Gets the file's stamp once the file is durable.
    pub(super) done: oneshot::Sender<Result<Stamp, Errno>>,
}

/// Writes whatever comes, one batch after the other: so a file has an older name than all that are
/// written after it was answered for, unless the clock was set back.
pub(super) async fn run(volume: Arc<Volume>, mut jobs: mpsc::Receiver<Job>) {
    let mut batch = Vec::new();
    while jobs.recv_many(&mut batch, MAX_BATCH).await > 0 {
        let (volume, batch) = (Arc::clone(&volume), std::mem::take(&mut batch));
        if let Err(panic) = spawn_blocking(move || write_batch(&volume, batch)).await {
            // Those who wait learn it from their senders' end.
            tracing::error!(error = %panic, "A batch of log files was not written");
        }
    }
}

fn write_batch(volume: &Volume, batch: Vec<Job>) {
    let (started, metrics) = (Instant::now(), &volume.metrics);
    let written = volume.open().and_then(|directory| {
        let written = write_all(&directory, &batch)?;
        // Before anybody is told: who was answered finds the file.
        let new = written.iter().flatten().copied();
        volume.with_index(|index| index.add(directory.id, new));
        Ok(written)
    });
    let written = written.unwrap_or_else(|error| vec![Err(errno(&error)); batch.len()]);
    metrics.write_duration.observe(started.elapsed().as_secs_f64());
    metrics.batch_files.observe(f64::from(u32::try_from(batch.len()).unwrap_or(u32::MAX)));
    for (job, written) in batch.into_iter().zip(written) {
        if written.is_ok() { &metrics.written } else { &metrics.write_failures }.inc();
        // Whoever asked may have gone.
        let _ = job.done.send(written);
    }
    if volume.with_index(|index| index.stamps.len()) > volume.retention {
        volume.wake.notify_one();
    }
}

/// Writes the files: complete, synced, under their final names, and those synced. An error is that of
/// all files.
fn write_all(directory: &Directory, batch: &[Job]) -> io::Result<Vec<Result<Stamp, Errno>>> {
    let mut next = Stamp::FIRST;
    let write = |job: &Job| {
        let stamp = next.max(Stamp::now());
        next = stamp.next();
        directory.write(stamp, &format!("{}\n", job.message))
    };
    let temporaries: Vec<io::Result<Temporary<'_>>> = batch.iter().map(write).collect();
    directory.sync_files(&temporaries.iter().flatten().collect::<Vec<_>>())?;
    let publish = |temporary: io::Result<Temporary<'_>>| temporary?.publish();
    let published: Vec<_> = temporaries
        .into_iter()
        .map(|temporary| publish(temporary).map_err(|error| errno(&error)))
        .collect();
    directory.sync().inspect_err(|_| {
        // Nobody is told of these files, so nobody should find them.
        for stamp in published.iter().flatten() {
            let _ = directory.remove(&stamp.to_string());
        }
    })?;
    Ok(published)
}

fn errno(error: &io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
