//! Moves jobs from the queue into the store.

use std::sync::Arc;
use std::time::Duration;

use common::causes;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::metrics::JobMetrics;
use crate::store::Store;

/// The shortest and the longest pause after a failure.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// How long a step that has begun may take when the service stops. What is left of it then comes again.
const LAST_STEP: Duration = Duration::from_secs(8);

/// How often the gauges of the queue are brought up to date.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

/// Works until it is told to stop, and then finishes what it has begun.
pub(crate) async fn work(store: Arc<dyn Store>, stop: CancellationToken) {
    let mut pause = None;
    while !stop.is_cancelled() {
        let too_late = async {
            stop.cancelled().await;
            sleep(LAST_STEP).await;
        };
        let result = tokio::select! {
            result = store.work() => result,
            () = too_late => return,
        };
        match result {
            Ok(()) => {
                if pause.take().is_some() {
                    tracing::info!("Jobs are stored again");
                }
            }
            Err(error) => {
                if pause.is_none() {
                    tracing::warn!(error = causes(&error), "Jobs wait: they cannot be stored");
                }
                let this = pause.map_or(PAUSES.0, |last: Duration| PAUSES.1.min(last * 2));
                pause = Some(this);
                stop.run_until_cancelled(sleep(this)).await;
            }
        }
    }
}

/// Keeps the gauges of the queue up to date; while it cannot be asked, they keep their last values.
pub(crate) async fn observe(store: Arc<dyn Store>, metrics: JobMetrics) {
    loop {
        // The readiness check reports a store that is away.
        if let Ok(queue) = store.queue().await {
            metrics.see(&queue);
        }
        sleep(SAMPLE_INTERVAL).await;
    }
}
