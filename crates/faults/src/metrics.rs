//! That faults can be set, how many rules there are, and what they have done.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

use crate::rule::Active;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Target {
    target: &'static str,
}

#[derive(Debug)]
pub(crate) struct FaultMetrics {
    injected: Family<Target, Counter>,
}

impl FaultMetrics {
    pub(crate) fn register(registry: &mut Registry, live: Live) -> Self {
        let (on, injected) = (Gauge::<i64>::default(), Family::default());
        on.set(1);
        registry.register("fault_injection_enabled", "Whether faults can be set: 1", on);
        registry.register(
            "faults_injected",
            "Faults that were injected into requests and uses of a store",
            injected.clone(),
        );
        registry.register_collector(Box::new(live));
        Self { injected }
    }

    pub(crate) fn count(&self, target: &'static str) {
        self.injected.get_or_create(&Target { target }).inc();
    }
}

/// Counts the rules in force whenever the metrics are read.
#[derive(Debug)]
pub(crate) struct Live(pub(crate) Arc<ArcSwap<Vec<Active>>>);

impl Collector for Live {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let now = SystemTime::now();
        let live = self.0.load().iter().filter(|active| active.is_live(now)).count();
        let help = "Rules of fault injection in force";
        let gauge = ConstGauge::new(i64::try_from(live).unwrap_or(i64::MAX));
        gauge.encode(encoder.encode_descriptor("fault_rules", help, None, MetricType::Gauge)?)
    }
}
