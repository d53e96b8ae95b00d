//! Moves jobs from the queue into the store.

use std::sync::Arc;
use std::time::Duration;

use common::causes;
use server::{Application, Running, StartError};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, WORKER};
use crate::store::{self, Store};

/// The pauses after failures: the first, and the longest of those that follow.
const BACK_OFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long the last batch may take when the service stops. What is not stored by then is delivered again.
const STOP_TIMEOUT: Duration = Duration::from_secs(8);

/// Starts the worker, which serves what every service serves. Must be called inside a tokio runtime.
///
/// # Errors
/// When its address cannot be listened on.
pub fn build(config: &Config) -> Result<Running, StartError> {
    let application = Application::new(WORKER, &config.common);
    let store = store::open(config, &application.context)?;
    application.context.tasks.spawn_until(|stop| run(store, stop));
    application.serve(|_| {})
}

/// Stores jobs until the service stops, and then finishes the batch that it has begun.
pub(crate) async fn run(store: Arc<dyn Store>, stop: CancellationToken) {
    let mut pause = None;
    while !stop.is_cancelled() {
        let timeout = async {
            stop.cancelled().await;
            sleep(STOP_TIMEOUT).await;
        };
        let result = tokio::select! {
            result = store.store_next() => result,
            () = timeout => return,
        };
        match result {
            Ok(()) => {
                if pause.take().is_some() {
                    tracing::info!("Jobs are stored again");
                }
            }
            // The connections end with the service. What is not stored is delivered again.
            Err(_) if stop.is_cancelled() => return,
            Err(error) => {
                if pause.is_none() {
                    tracing::warn!(error = causes(&error), "Jobs cannot be stored");
                }
                let this = pause.map_or(BACK_OFF.0, |last: Duration| BACK_OFF.1.min(last * 2));
                pause = Some(this);
                stop.run_until_cancelled(sleep(this)).await;
            }
        }
    }
}
