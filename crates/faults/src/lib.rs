#![doc = include_str!("../README.md")]

mod metrics;
mod rule;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;

use metrics::{FaultMetrics, Live};
use rule::Active;

pub use rule::{Body, Connection, Invalid, Latency, Off, Rule, Rules, Store, Time};

/// What is to be done to a request.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fault {
    /// How long to wait before anything else.
    pub latency: Duration,
    /// The status to answer with, instead of asking the handler.
    pub status: Option<u16>,
    /// Whether the answer breaks off within its body.
    pub breaks_body: bool,
    /// Whether the connection ends without an answer.
    pub drops_connection: bool,
}

/// A store that is unavailable because a rule says so.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("fault injection: {} is unavailable", .0.name())]
pub struct Outage(pub Store);

/// The faults of a process; clones share them.
#[derive(Clone, Debug)]
pub struct Faults(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    rules: Arc<ArcSwap<Vec<Active>>>,
    /// Whether no rule applies to a route.
    is_exempt: fn(&str) -> bool,
    metrics: FaultMetrics,
}

impl Faults {
    /// None, and no way to set any.
    #[must_use]
    pub fn off() -> Self {
        Self(None)
    }

    /// None yet; their metrics are registered. No rule applies to routes that are exempt.
    #[must_use]
    pub fn on(registry: &mut Registry, is_exempt: fn(&str) -> bool) -> Self {
        let rules = Arc::<ArcSwap<Vec<Active>>>::default();
        let metrics = FaultMetrics::register(registry, Live(Arc::clone(&rules)));
        Self(Some(Arc::new(Inner { rules, is_exempt, metrics })))
    }

    /// Whether rules can be set.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Puts these rules in force, instead of those that are.
    ///
    /// # Errors
    /// When one of them is of no use. Then none is changed.
    pub fn set(&self, rules: Rules) -> Result<(), Invalid> {
        let Some(inner) = &self.0 else { return Err(Invalid::IsOff) };
        for rule in &rules.rules {
            rule.check(inner.is_exempt)?;
        }
        let now = SystemTime::now();
        let active = |rule: Rule| Active { ends: now + rule.duration, rule };
        inner.rules.store(Arc::new(rules.rules.into_iter().map(active).collect()));
        Ok(())
    }

    /// The rules in force, each with the time that it has left, in full seconds.
    #[must_use]
    pub fn rules(&self) -> Rules {
        let now = SystemTime::now();
        let mut rules = Vec::new();
        self.each(|active| {
            let left = active.ends.duration_since(now).unwrap_or_default();
            let duration = Duration::from_secs(left.as_secs().max(1));
            rules.push(Rule { duration, ..active.rule.clone() });
        });
        Rules { rules }
    }

    /// Whether a rule says that the service is not ready.
    #[must_use]
    pub fn is_unready(&self) -> bool {
        let mut off = false;
        self.each(|active| off |= active.rule.readiness.is_some());
        off
    }

    /// What is to be done to a request for a route; none, for most.
    #[must_use]
    pub fn of_request(&self, route: &str) -> Option<Fault> {
        let inner = self.0.as_ref().filter(|inner| !(inner.is_exempt)(route))?;
        let mut fault = None;
        self.each(|Active { rule, .. }| {
            if !rule.is_for_request(route) || !rand::random_bool(rule.share.unwrap_or(1.0)) {
                return;
            }
            let fault: &mut Fault = fault.get_or_insert_default();
            fault.latency += rule.latency.as_ref().map_or(Duration::ZERO, Latency::draw);
            fault.status = rule.status.or(fault.status);
            fault.breaks_body |= rule.body.is_some();
            fault.drops_connection |= rule.connection.is_some();
        });
        if fault.is_some() {
            inner.metrics.count("request");
        }
        fault
    }

    /// Asked before a store is: waits as long as a rule says.
    ///
    /// # Errors
    /// When a rule says that the store is unavailable.
    pub async fn reach(&self, store: Store) -> Result<(), Outage> {
        if self.0.is_none() {
            return Ok(());
        }
        self.reach_with_faults(store).await
    }

    async fn reach_with_faults(&self, store: Store) -> Result<(), Outage> {
        let (mut latency, mut outage) = (Duration::ZERO, false);
        self.each(|Active { rule, .. }| {
            if rule.store == Some(store) && rand::random_bool(rule.share.unwrap_or(1.0)) {
                latency += rule.latency.as_ref().map_or(Duration::ZERO, Latency::draw);
                outage |= rule.outage;
            }
        });
        if let Some(inner) = self.0.as_ref().filter(|_| outage || !latency.is_zero()) {
            inner.metrics.count(store.name());
        }
        if !latency.is_zero() {
            tokio::time::sleep(latency).await;
        }
        if outage { Err(Outage(store)) } else { Ok(()) }
    }

    /// Looks at the rules in force.
    fn each(&self, mut look: impl FnMut(&Active)) {
        if let Some(inner) = &self.0 {
            let now = SystemTime::now();
            inner.rules.load().iter().filter(|active| active.is_live(now)).for_each(&mut look);
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn on() -> Faults {
        Faults::on(&mut Registry::default(), |route| {
            ["/healthz", "/readyz", "/metrics"].contains(&route)
        })
    }

    fn with(rules: &serde_json::Value) -> Faults {
        let faults = on();
        faults.set(serde_json::from_value(json!({ "rules": rules })).unwrap()).unwrap();
        faults
    }

    #[test]
    fn a_rule_is_for_its_route_and_ends_by_itself() {
        let faults = with(&json!([{ "route": "/a", "status": 503, "duration": "1h" }]));
        assert_eq!(faults.of_request("/a").unwrap().status, Some(503));
        assert_eq!(faults.of_request("/b"), None);
        for route in ["/healthz", "/readyz", "/metrics"] {
            let everything = with(&json!([{ "status": 503, "duration": "1h" }]));
            assert_eq!(everything.of_request(route), None, "{route}");
            assert!(everything.of_request("/a").is_some());
        }
        let short = with(&json!([{ "status": 503, "duration": "1ms" }]));
        while short.of_request("/a").is_some() {}
        assert!(short.rules().rules.is_empty());
    }

    #[test]
    fn a_share_of_requests_is_met() {
        let faults = with(&json!([{ "status": 500, "share": 0.5, "duration": "1h" }]));
        let met = (0..1000).filter(|_| faults.of_request("/a").is_some()).count();
        assert!((300..700).contains(&met), "{met}");
    }

    #[test]
    fn what_is_of_no_use_is_refused_by_name() {
        let faults = on();
        for (rule, reason) in [
            (json!({ "status": 503, "duration": "0s" }), "duration"),
            (json!({ "status": 503, "duration": "61m" }), "duration"),
            (json!({ "status": 200, "duration": "1m" }), "status"),
            (json!({ "status": 503, "share": 0.0, "duration": "1m" }), "share"),
            (json!({ "status": 503, "share": 1.5, "duration": "1m" }), "share"),
            (json!({ "duration": "1m" }), "nothing"),
            (json!({ "store": "redis", "duration": "1m" }), "outage"),
            (json!({ "store": "redis", "outage": true, "route": "/", "duration": "1m" }), "route"),
            (json!({ "outage": true, "duration": "1m" }), "store"),
            (json!({ "readiness": "off", "status": 503, "duration": "1m" }), "readiness"),
            (json!({ "latency": "2m", "duration": "1m" }), "latency"),
            (json!({ "latency": { "from": "2s", "to": "1s" }, "duration": "1m" }), "latency"),
            (json!({ "route": "/healthz", "status": 503, "duration": "1m" }), "route"),
        ] {
            let rules = serde_json::from_value(json!({ "rules": [rule] })).unwrap();
            let said = faults.set(rules).unwrap_err().to_string();
            assert!(said.contains(reason), "{rule} {said}");
        }
        for unknown in [json!({ "statuz": 503, "duration": "1m" }), json!({ "status": 503 })] {
            assert!(serde_json::from_value::<Rule>(unknown).is_err());
        }
        assert!(Faults::off().set(Rules::default()).is_err());
    }

    #[tokio::test]
    async fn a_store_is_unavailable_for_itself_alone() {
        let faults = with(&json!([{ "store": "redis", "outage": true, "duration": "1m" }]));
        assert!(faults.reach(Store::Redis).await.is_err());
        assert!(faults.reach(Store::Mongodb).await.is_ok());
        assert!(Faults::off().reach(Store::Redis).await.is_ok());
        faults.set(Rules::default()).unwrap();
        assert!(faults.reach(Store::Redis).await.is_ok());
    }
}
