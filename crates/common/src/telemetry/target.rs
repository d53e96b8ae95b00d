//! Where lines are written.

use std::io::{self, Write as _};
use std::thread;
use std::time::Duration;

/// How long to wait before trying a destination again that is not ready: a pipe that somebody set non-blocking.
const RETRY: Duration = Duration::from_millis(5);

/// Where whole lines are written.
pub trait Write: Send + 'static {
    /// Writes all of `lines`, one or more complete ones.
    ///
    /// # Errors
    /// What the system says; the lines then count as dropped.
    fn write(&mut self, lines: &[u8]) -> io::Result<()>;
}

/// The standard output.
pub(super) struct Stdout;

impl Write for Stdout {
    fn write(&mut self, mut lines: &[u8]) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        while !lines.is_empty() {
            match stdout.write(lines) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => lines = &lines[written..],
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    #[expect(clippy::disallowed_methods, reason = "this thread does nothing else")]
                    thread::sleep(RETRY);
                }
                Err(error) => return Err(error),
            }
        }
        stdout.flush()
    }
}
