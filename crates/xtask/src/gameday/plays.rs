//! What is played.

use reqwest::Method;
use serde_json::Value;

/// What a client sees that gets no whole answer, beside statuses.
pub(super) const BROKEN: u16 = 0;

/// A fault, and what it does to whom.
#[derive(Debug)]
pub(super) struct Play {
    /// In a few words.
    pub(super) name: &'static str,
    /// The service with the fault.
    pub(super) faulty: &'static str,
    /// The rules, without their duration.
    rules: &'static str,
    /// The service that clients ask, and whose metrics are looked at.
    pub(super) seen_at: &'static str,
    pub(super) method: Method,
    pub(super) path: &'static str,
    pub(super) body: Option<&'static str>,
    /// The status that clients get at other times.
    pub(super) usual: u16,
    /// What they get with the fault.
    pub(super) promised: u16,
    /// Whether some of them still get the usual one.
    pub(super) is_partial: bool,
    /// The check that `/readyz` names first, if it is not ready.
    pub(super) check: Option<&'static str>,
    /// The alert that fires.
    pub(super) alert: &'static str,
    /// What clients get, in words.
    clients: &'static str,
}

/// A GET that is usually answered 200, of a service with a fault of its own.
const GET: Play = Play {
    name: "",
    faulty: "",
    rules: "",
    seen_at: "",
    method: Method::GET,
    path: "/",
    body: None,
    usual: 200,
    promised: 200,
    is_partial: false,
    check: None,
    alert: "",
    clients: "",
};

pub(super) const PLAYS: &[Play] = &[
    Play {
        name: "half of the requests fail",
        faulty: "sre-kata",
        seen_at: "sre-kata",
        rules: r#"[{"route":"/query","status":500,"share":0.5}]"#,
        path: "/query?param=acx333x",
        promised: 500,
        is_partial: true,
        alert: "HttpErrorBudgetBurnFast",
        clients: "500 for half of the requests",
        ..GET
    },
    Play {
        name: "requests are slow",
        faulty: "sre-kata",
        seen_at: "sre-kata",
        rules: r#"[{"latency":{"from":"150ms","to":"400ms"}}]"#,
        path: "/query?param=acx333x",
        alert: "HttpLatencyBudgetBurnFast",
        clients: "200, later",
        ..GET
    },
    Play {
        name: "it says that it is not ready",
        faulty: "sre-kata",
        seen_at: "sre-kata",
        rules: r#"[{"readiness":"off"}]"#,
        path: "/query?param=acx333x",
        check: Some("fault-injection"),
        alert: "ServiceNotReady",
        clients: "200, whoever still asks it",
        ..GET
    },
    Play {
        name: "answers break off",
        faulty: "data-api",
        seen_at: "data-api",
        rules: r#"[{"route":"/","body":"broken"}]"#,
        promised: BROKEN,
        alert: "FaultInjectionEnabled",
        clients: "a connection that ends before the body does",
        ..GET
    },
    Play {
        name: "the external service drops connections",
        faulty: "data-api",
        seen_at: "backend-api",
        rules: r#"[{"route":"/logs/download","connection":"dropped"}]"#,
        path: "/download_external_logs",
        promised: 502,
        alert: "HttpErrorBudgetBurnFast",
        clients: "502 after the retries",
        ..GET
    },
    Play {
        name: "the external service refuses the key",
        faulty: "data-api",
        seen_at: "backend-api",
        rules: r#"[{"route":"/logs/download","status":401}]"#,
        path: "/download_external_logs",
        promised: 502,
        alert: "BackendApiKeyRefused",
        clients: "502 that says so",
        ..GET
    },
    Play {
        name: "the database is unavailable",
        faulty: "randomize",
        seen_at: "randomize",
        rules: r#"[{"store":"database","outage":true}]"#,
        method: Method::POST,
        path: "/api/randomizes",
        body: Some(r#"{"word":"string"}"#),
        usual: 201,
        promised: 503,
        check: Some("database"),
        alert: "RandomizeRequestsUnaudited",
        clients: "503 with `Retry-After`",
        ..GET
    },
    Play {
        name: "the database of lookups is unavailable",
        faulty: "stakefish",
        seen_at: "stakefish",
        rules: r#"[{"store":"database","outage":true}]"#,
        path: "/history",
        promised: 503,
        check: Some("database"),
        alert: "ServiceNotReady",
        clients: "503 with `Retry-After`",
        ..GET
    },
    Play {
        name: "queue and store are unavailable",
        faulty: "multivac",
        seen_at: "multivac",
        rules: r#"[{"store":"database","outage":true}]"#,
        path: "/multivac",
        promised: 503,
        check: Some("database"),
        alert: "ServiceNotReady",
        clients: "503 with `Retry-After`",
        ..GET
    },
];

impl Play {
    /// The rules, which end by themselves should nobody end them.
    pub(super) fn rules(&self) -> Value {
        let mut rules: Value = serde_json::from_str(self.rules).unwrap_or_default();
        for rule in rules.as_array_mut().into_iter().flatten() {
            rule["duration"] = "5m".into();
        }
        rules
    }

    /// Its row in `docs/failures.md`.
    pub(super) fn row(&self) -> String {
        let Self { name, faulty, rules, seen_at, clients, alert, .. } = self;
        let readiness = self.check.map_or("ready".to_owned(), |check| format!("503, `{check}`"));
        format!(
            "| {name} | {faulty} | `{rules}` | {seen_at}: {clients} | {readiness} | `{alert}` |"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_play_has_rules_and_an_alert_of_ours() {
        let rules = concat!(
            include_str!("../../../../charts/stack/files/rules/services.yaml"),
            include_str!("../../../../charts/stack/files/rules/http.yaml"),
            include_str!("../../../../charts/stack/files/rules/components.yaml"),
        );
        for play in PLAYS {
            assert_eq!(play.rules()[0]["duration"], "5m", "{play:?}");
            assert!(rules.contains(&format!("alert: {}\n", play.alert)), "{play:?}");
        }
    }
}
