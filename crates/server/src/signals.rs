//! What the system asks of the process.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::running::{Stop, StopHandle};

/// The signals that stop the process, listened to from here on.
#[derive(Debug)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Takes the signals over from the system's default, which ends the process.
    ///
    /// # Errors
    /// When the system refuses.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) -> Stop {
        tokio::select! {
            _ = self.terminate.recv() => Stop::AfterDrainDelay,
            _ = self.interrupt.recv() => Stop::SkipDrainDelay,
        }
    }

    /// The first signal stops the service in order; returns at the second, when patience is over.
    pub(crate) async fn until_second(mut self, handle: &StopHandle) {
        handle.stop(self.next().await);
        self.next().await;
    }
}
