//! Liveness and readiness.
//!
//! Checks run in the background, so that probing cannot load a dependency; `/readyz` tells what they last found.

use std::error::Error as StdError;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use tokio::time::{sleep, timeout};
use utoipa::ToSchema;

use crate::{Metrics, Tasks};

/// How long to wait between two runs of a check.
const INTERVAL: Duration = Duration::from_secs(1);

/// How often whoever waits looks whether all checks pass.
const WAIT_INTERVAL: Duration = Duration::from_millis(20);

/// A check that takes longer has failed.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The name of the check that fails while the process stops.
const DRAINING: &str = "draining";

/// Whether a path, with or without a trailing slash, is that of a probe or the metrics: they are answered as long as
/// anything is, and no limit, redirect or injected fault applies to them.
#[must_use]
pub fn is_probe_path(path: &str) -> bool {
    matches!(path.trim_end_matches('/'), "/healthz" | "/readyz" | "/metrics")
}

/// Why a check failed, for the log alone.
pub type CheckError = Box<dyn StdError + Send + Sync>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabel {
    check: &'static str,
}

/// What the service needs to serve, and whether it has it; clones share it.
#[derive(Clone, Debug)]
pub struct Readiness {
    checks: Arc<Mutex<Vec<Check>>>,
    gauges: Family<CheckLabel, Gauge>,
}

/// One check as `/readyz?verbose` shows it.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Check {
    /// What is checked.
    #[schema(example = "database")]
    name: &'static str,
    state: State,
    /// Since when it is in this state.
    #[schema(value_type = String, format = DateTime)]
    #[serde(serialize_with = "rfc3339")]
    since: SystemTime,
    /// How long the last run took, in milliseconds; null before the first has ended.
    last_duration_ms: Option<f64>,
}

impl Check {
    /// What is checked.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the last run found nothing wrong.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.state == State::Ok
    }
}

/// The state of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum State {
    /// It has not run to its end yet.
    Pending,
    Ok,
    Failing,
}

fn rfc3339<S: serde::Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}

impl Readiness {
    /// A readiness without checks: ready until it drains.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        let help = "Whether the service has what it needs: 1 or 0 for each check";
        let gauges = metrics.add("readiness_check_ok", help, Family::default());
        Self { checks: Arc::default(), gauges }
    }

    /// Runs `check` now and then once a second; while it fails, the service is not ready.
    pub fn check<F, Fut>(&self, tasks: &Tasks, name: &'static str, check: F)
    where
        F: Fn() -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), CheckError>> + Send,
    {
        self.set(name, State::Pending, None);
        let readiness = self.clone();
        tasks.spawn(async move {
            loop {
                let started = Instant::now();
                let result = match timeout(TIMEOUT, check()).await {
                    Ok(result) => result,
                    Err(elapsed) => Err(elapsed.into()),
                };
                let state = if result.is_ok() { State::Ok } else { State::Failing };
                if readiness.set(name, state, Some(started.elapsed())) {
                    match result {
                        Ok(()) => tracing::info!(check = name, "Check passes"),
                        Err(error) => tracing::warn!(check = name, error = %error, "Check fails"),
                    }
                }
                sleep(INTERVAL).await;
            }
        });
    }

    /// From now on the service is not ready.
    pub fn drain(&self) {
        self.set(DRAINING, State::Failing, None);
    }

    /// Whether no check fails or has yet to run.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.with(|checks| checks.iter().all(|check| check.state == State::Ok))
    }

    /// All checks, as they last were.
    #[must_use]
    pub fn checks(&self) -> Vec<Check> {
        self.with(|checks| checks.clone())
    }

    /// Waits until all checks pass.
    ///
    /// # Errors
    /// When that takes longer: the names of those that fail, joined by commas.
    pub async fn wait(&self, limit: Duration) -> Result<(), String> {
        let ready = async {
            while !self.is_ready() {
                sleep(WAIT_INTERVAL).await;
            }
        };
        timeout(limit, ready).await.map_err(|_| {
            let checks = self.checks();
            let failing = checks.iter().filter(|check| !check.is_ok()).map(Check::name);
            failing.collect::<Vec<_>>().join(", ")
        })
    }

    /// Notes what a check found; returns whether that is news.
    fn set(&self, name: &'static str, state: State, duration: Option<Duration>) -> bool {
        let last_duration_ms = duration.map(|duration| duration.as_secs_f64() * 1e3);
        let gauge = self.gauges.get_or_create(&CheckLabel { check: name });
        gauge.set(i64::from(state == State::Ok));
        let since = SystemTime::now();
        self.with(|checks| {
            let Some(check) = checks.iter_mut().find(|check| check.name == name) else {
                checks.push(Check { name, state, since, last_duration_ms });
                return true;
            };
            check.last_duration_ms = last_duration_ms;
            let news = check.state != state;
            if news {
                (check.state, check.since) = (state, since);
            }
            news
        })
    }

    fn with<T>(&self, f: impl FnOnce(&mut Vec<Check>) -> T) -> T {
        f(&mut self.checks.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_are_known_with_and_without_a_trailing_slash() {
        for path in ["/healthz", "/readyz", "/metrics", "/healthz/", "/readyz//"] {
            assert!(is_probe_path(path), "{path}");
        }
        for path in ["/", "", "/healthz/x", "/health", "//healthz", "/healthz?x", "healthz"] {
            assert!(!is_probe_path(path), "{path}");
        }
    }
}
