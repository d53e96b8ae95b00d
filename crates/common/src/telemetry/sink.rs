//! Where lines are written to, behind a bounded buffer.
//!
//! Whoever logs appends to a buffer under a short lock; a thread swaps the buffer and writes it out in one
//! call. A destination that does not keep up fills the buffer; lines are then dropped and counted, and nobody waits.

use std::path::Path;
use std::sync::{Arc, Condvar, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use std::{fmt, mem, thread};

use prometheus_client::metrics::counter::Counter;

use super::error::TelemetryError;
use super::rotation::RotatingFile;
use super::target::{Stdout, Write};

/// The most bytes that wait for one destination: some 10 000 lines.
const BUFFER_LIMIT: usize = 4 * 1024 * 1024;

/// From this on the writer does not wait for more lines.
const WORTH_WRITING: usize = 128 * 1024;

/// How long the writer lets lines gather: long enough to write many at once, and short of the 100 ms
/// in which a line is to be on its way.
const GATHER: Duration = Duration::from_millis(20);

/// How much buffer to keep when there is little to write.
const KEPT_CAPACITY: usize = 64 * 1024;

static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// The process's count of lines that no destination took.
pub(crate) fn dropped_lines() -> Counter {
    DROPPED.clone()
}

/// A destination of lines; clones share it.
#[derive(Clone)]
pub struct Sink(Kind);

#[derive(Clone)]
enum Kind {
    Buffered(Arc<Buffer>),
    Direct(Arc<Mutex<dyn Write>>),
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").finish_non_exhaustive()
    }
}

#[derive(Default)]
struct Buffer {
    state: Mutex<State>,
    /// For the writer: there are lines, or somebody waits for them to be written.
    filled: Condvar,
    /// For those who flush: a batch was written.
    written: Condvar,
}

#[derive(Default)]
struct State {
    lines: Vec<u8>,
    /// How many lines there are in `lines`.
    count: u64,
    /// The writer is busy with a batch it took.
    writing: bool,
    /// Somebody waits: do not gather.
    flush: bool,
}

impl Sink {
    pub(super) fn stdout() -> Result<Self, TelemetryError> {
        Self::buffered(Stdout)
    }

    pub(super) fn file(folder: &Path, name: &str) -> Result<Self, TelemetryError> {
        let path = folder.join(name);
        let file = RotatingFile::open(path.clone())
            .map_err(|source| TelemetryError::LogDir { path, source })?;
        Self::buffered(file)
    }

    /// A sink with a buffer and a thread that writes it to `target`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn buffered(target: impl Write) -> Result<Self, TelemetryError> {
        let buffer = Arc::new(Buffer::default());
        let shared = Arc::clone(&buffer);
        thread::Builder::new()
            .name("log-writer".into())
            .spawn(move || write_batches(&shared, target))
            .map_err(TelemetryError::Thread)?;
        Ok(Self(Kind::Buffered(buffer)))
    }

    /// A sink that writes each line at once, for tests.
    pub fn direct(target: impl Write) -> Self {
        Self(Kind::Direct(Arc::new(Mutex::new(target))))
    }

    /// Takes one line, newline included. Never waits for the target, unless the sink is direct.
    pub fn push(&self, line: &[u8]) {
        match &self.0 {
            Kind::Buffered(buffer) => buffer.push(line),
            Kind::Direct(target) => {
                let mut target = target.lock().unwrap_or_else(PoisonError::into_inner);
                if target.write(line).is_err() {
                    DROPPED.inc();
                }
            }
        }
    }

    /// Waits until all lines taken so far are written, at most `timeout`. Returns whether they are.
    #[must_use]
    pub fn flush(&self, timeout: Duration) -> bool {
        match &self.0 {
            Kind::Buffered(buffer) => buffer.flush(timeout),
            Kind::Direct(_) => true,
        }
    }
}

impl Buffer {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.lock();
        let before = state.lines.len();
        if before + line.len() > BUFFER_LIMIT {
            DROPPED.inc();
            return;
        }
        state.lines.extend_from_slice(line);
        state.count += 1;
        // Waking costs a system call: once a batch, not once a line.
        let wake = before == 0 || (before < WORTH_WRITING && state.lines.len() >= WORTH_WRITING);
        drop(state);
        if wake {
            self.filled.notify_one();
        }
    }

    fn flush(&self, timeout: Duration) -> bool {
        let deadline = Instant::now() + timeout;
        let mut state = self.lock();
        while !state.lines.is_empty() || state.writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state.flush = true;
            self.filled.notify_one();
            state =
                self.written.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    /// Waits for lines, lets some more gather, and takes them in exchange for an empty buffer.
    fn take(&self, empty: &mut Vec<u8>) -> u64 {
        let state = self.lock();
        let state = self
            .filled
            .wait_while(state, |state| state.lines.is_empty())
            .unwrap_or_else(PoisonError::into_inner);
        let (mut state, _) = self
            .filled
            .wait_timeout_while(state, GATHER, |state| {
                !state.flush && state.lines.len() < WORTH_WRITING
            })
            .unwrap_or_else(PoisonError::into_inner);
        mem::swap(&mut state.lines, empty);
        state.writing = true;
        state.flush = false;
        mem::take(&mut state.count)
    }

    fn batch_done(&self) {
        self.lock().writing = false;
        self.written.notify_all();
    }
}

fn write_batches(buffer: &Buffer, mut target: impl Write) {
    let mut batch = Vec::new();
    loop {
        let count = buffer.take(&mut batch);
        if target.write(&batch).is_err() {
            DROPPED.inc_by(count);
        }
        let oversized = batch.capacity() > KEPT_CAPACITY && batch.len() < batch.capacity() / 4;
        batch.clear();
        if oversized {
            batch.shrink_to(KEPT_CAPACITY);
        }
        buffer.batch_done();
    }
}
