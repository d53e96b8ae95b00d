//! Metrics in Prometheus form.
//!
//! A service adds its own with [`Metrics::add`]; metrics are structs whose handles are kept, so that
//! counting costs some nanoseconds. No label takes a value that a client chose.

mod process;

use std::fmt::{self, Debug};
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use memchr::memchr;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::TypedMetric;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry, Unit};

use crate::Service;

/// The text formats in which metrics are exposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The Prometheus text format 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.0.
    OpenMetrics,
}

impl Format {
    /// The value of `Content-Type`.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The metrics of one application; clones share them.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Mutex<Registry>>,
}

impl Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// The metrics that every service has.
    #[must_use]
    pub fn new(service: &Service) -> Self {
        let mut registry = Registry::default();
        let build = Info::new(vec![
            ("service", service.name),
            ("version", service.version),
            ("revision", Service::revision()),
        ]);
        // `Info` appends its suffix itself.
        registry.register("build", "What is running", build);
        registry.register(
            "log_lines_dropped",
            "Log lines that no place took because it did not keep up or failed",
            crate::telemetry::dropped_lines(),
        );
        crate::telemetry::register_spans(&mut registry);
        registry.register_collector(Box::new(process::Process));
        Self { registry: Arc::new(Mutex::new(registry)) }
    }

    /// Adds a metric and returns it. Its name is `<service>_<thing>`, for what a service counts itself; a
    /// counter's gets `_total` appended.
    pub fn add<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.register(|registry| registry.register(name, help, metric.clone()));
        metric
    }

    /// Adds a metric of a unit, which is appended to its name, and returns it.
    pub fn add_with_unit<M: Metric + Clone>(
        &self,
        (name, unit): (&str, Unit),
        help: &str,
        metric: M,
    ) -> M {
        self.register(|registry| registry.register_with_unit(name, help, unit, metric.clone()));
        metric
    }

    /// Adds a metric with a series for each of these labels, and returns it. They begin at 0, so that the first event of
    /// each can be seen.
    pub fn add_family<L, M>(
        &self,
        name: &str,
        help: &str,
        labels: impl IntoIterator<Item = L>,
    ) -> Family<L, M>
    where
        L: EncodeLabelSet + Clone + Debug + Hash + Eq + Send + Sync + 'static,
        M: EncodeMetric + TypedMetric + Clone + Debug + Default + Send + Sync + 'static,
    {
        let family = Family::default();
        for labels in labels {
            drop(family.get_or_create_owned(&labels));
        }
        self.add(name, help, family)
    }

    /// Adds what makes its metrics when they are read.
    pub fn add_collector(&self, collector: impl Collector) {
        self.register(|registry| registry.register_collector(Box::new(collector)));
    }

    /// Registers several metrics at once.
    pub fn register<T>(&self, register: impl FnOnce(&mut Registry) -> T) -> T {
        register(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// All metrics as text.
    ///
    /// # Errors
    /// When a collector fails.
    pub fn encode(&self, format: Format) -> Result<String, fmt::Error> {
        let mut text = String::with_capacity(32 * 1024);
        encode(&mut text, &self.registry.lock().unwrap_or_else(PoisonError::into_inner))?;
        Ok(match format {
            Format::OpenMetrics => text,
            Format::Prometheus => prometheus_text(&text),
        })
    }
}

/// OpenMetrics in the older format: there a counter's or info's family has its samples' name, and neither
/// units nor exemplars nor an end mark exist.
fn prometheus_text(openmetrics: &str) -> String {
    let mut text = String::with_capacity(openmetrics.len());
    // The help comes before the type that decides the family's name.
    let mut help: Option<&str> = None;
    let mut rest = openmetrics;
    while !rest.is_empty() {
        let end = memchr(b'\n', rest.as_bytes()).map_or(rest.len(), |end| end + 1);
        let (line, after) = rest.split_at(end);
        rest = after;
        let Some(comment) = line.strip_prefix("# ") else {
            push_sample(&mut text, line);
            continue;
        };
        let comment = comment.strip_suffix('\n').unwrap_or(comment);
        if let Some(rest) = comment.strip_prefix("HELP ") {
            help = Some(rest);
        } else if let Some((family, kind)) =
            comment.strip_prefix("TYPE ").and_then(|rest| rest.split_once(' '))
        {
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                "unknown" => ("", "untyped"),
                other => ("", other),
            };
            if let Some((_, help)) = help.take().and_then(|help| help.split_once(' ')) {
                push_all(&mut text, &["# HELP ", family, suffix, " ", help, "\n"]);
            }
            push_all(&mut text, &["# TYPE ", family, suffix, " ", kind, "\n"]);
        }
    }
    text
}

/// What begins an exemplar, behind the value of a sample.
const EXEMPLAR: &str = " # {";

/// Appends a sample without what follows its value. Histograms alone have exemplars, and labels from fixed sets, so that
/// there is no other mark of this form.
fn push_sample(text: &mut String, line: &str) {
    // Most lines have no such character at all.
    let may_have_one = memchr(b'#', line.as_bytes()).is_some();
    let exemplar = if may_have_one { line.split_once(EXEMPLAR) } else { None };
    match exemplar {
        Some((sample, _)) if is_bucket(sample) => push_all(text, &[sample, "\n"]),
        _ => text.push_str(line),
    }
}

fn is_bucket(sample: &str) -> bool {
    sample.split_once('{').is_some_and(|(name, _)| name.ends_with("_bucket"))
}

fn push_all(text: &mut String, parts: &[&str]) {
    for part in parts {
        text.push_str(part);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_families_as_their_samples() {
        let openmetrics = "# HELP a_seconds Time.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                           a_seconds_total 1\n# HELP b B.\n# TYPE b info\nb_info{x=\"y\"} 1\n\
                           # HELP c C.\n# TYPE c gauge\nc{x=\"y # {\"} 2\n# TYPE d histogram\n\
                           d_bucket{le=\"1.0\"} 3 # {trace_id=\"ab\"} 0.5 1.5\n# EOF\n";

        assert_eq!(
            prometheus_text(openmetrics),
            "# HELP a_seconds_total Time.\n# TYPE a_seconds_total counter\na_seconds_total 1\n\
             # HELP b_info B.\n# TYPE b_info gauge\nb_info{x=\"y\"} 1\n\
             # HELP c C.\n# TYPE c gauge\nc{x=\"y # {\"} 2\n# TYPE d histogram\n\
             d_bucket{le=\"1.0\"} 3\n"
        );
    }
}
