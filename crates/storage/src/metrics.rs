//! What the database does, by OpenTelemetry's names for database clients.

use std::sync::{Arc, Mutex, PoisonError};

use common::Metrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;

use crate::pools::Pools;

/// In seconds: a read by key takes some 100 µs, a time-out 5 s.
const DURATIONS: [f64; 12] =
    [0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

/// In rows.
const BATCH_SIZES: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct OperationLabel {
    pub(crate) operation: &'static str,
}

/// The metrics of one database; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct StorageMetrics {
    pub(crate) durations: Family<OperationLabel, Histogram, fn() -> Histogram>,
    pub(crate) waits: Histogram,
    pub(crate) batches: Histogram,
    pub(crate) refused: Counter,
    pub(crate) lost: Counter,
}

impl StorageMetrics {
    pub(crate) fn register(metrics: &Metrics) -> Self {
        let durations = Family::new_with_constructor(duration as fn() -> Histogram);
        Self {
            durations: metrics.add_with_unit(
                ("db_client_operation_duration", Unit::Seconds),
                "How long operations took, with the wait for a connection or a batch",
                durations,
            ),
            waits: metrics.add_with_unit(
                ("db_client_connection_wait_time", Unit::Seconds),
                "How long it took to get a connection from the pool",
                duration(),
            ),
            batches: metrics.add(
                "db_client_batch_size",
                "Rows that were committed together; as many batches as commits",
                Histogram::new(BATCH_SIZES),
            ),
            refused: metrics.add(
                "db_client_operations_refused",
                "Operations that were refused because too many waited",
                Counter::default(),
            ),
            lost: metrics.add(
                "db_client_rows_lost",
                "Rows that nobody waited for and the database did not take",
                Counter::default(),
            ),
        }
    }
}

fn duration() -> Histogram {
    Histogram::new(DURATIONS)
}

/// Reads the pools whenever the metrics are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct PoolGauges(Arc<Mutex<Option<Pools>>>);

impl PoolGauges {
    pub(crate) fn set(&self, pools: Option<Pools>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = pools;
    }
}

impl Collector for PoolGauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let pools = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let (idle, used) = pools.map_or((0, 0), |pools| pools.connections());
        let mut family = encoder.encode_descriptor(
            "db_client_connections",
            "Connections of the pool",
            None,
            prometheus_client::metrics::MetricType::Gauge,
        )?;
        for (state, count) in [("idle", idle), ("used", used)] {
            let labels = [("state", state)];
            ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX))
                .encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}
