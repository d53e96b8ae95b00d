//! A queue of jobs, and the store that their data go to, in one of two implementations.

mod distributed;
mod embedded;
mod interface;

use std::sync::Arc;
use std::time::Duration;

use common::ServiceContext;
use server::StartError;
use tokio::time::sleep;

use crate::config::Config;
use crate::metrics::JobMetrics;
use distributed::Distributed;
use embedded::Embedded;

pub(crate) use interface::{QueueState, Status, Store};

/// How often the gauges of the queue are set.
const SAMPLE_INTERVAL: Duration = Duration::from_secs(2);

/// The stores that are configured, with their readiness checks and gauges. They connect when needed.
///
/// # Errors
/// When a URL is of no use.
pub(crate) fn open(
    config: &Config,
    context: &ServiceContext,
) -> Result<Arc<dyn Store>, StartError> {
    let metrics = JobMetrics::register(&context.metrics);
    let store: Arc<dyn Store> = match (&config.stores.redis_url, &config.stores.mongo_url) {
        (Some(redis), Some(mongo)) => {
            Distributed::open((redis, mongo), config, context, metrics.clone())?
        }
        _ => Embedded::open(config, context, metrics.clone())?,
    };
    context.tasks.spawn(sample_queue(Arc::clone(&store), metrics));
    Ok(store)
}

/// Sets the gauges of the queue; while its state cannot be read, they keep their last values.
async fn sample_queue(store: Arc<dyn Store>, metrics: JobMetrics) {
    loop {
        // The readiness check reports a store that cannot be reached.
        if let Ok(queue) = store.queue().await {
            metrics.set_queue(&queue);
        }
        sleep(SAMPLE_INTERVAL).await;
    }
}
