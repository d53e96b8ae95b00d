//! Variables, right and wrong.

use std::time::Duration;

use common::Loader;
use common::config::{ByteSize, LogFormat, Secret};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};
use server::Config;

use crate::demo;

fn load(variables: &[(&str, &str)]) -> Result<(Config, String, Vec<String>), String> {
    let mut loader = Loader::new(variables.iter().copied());
    let config = Config::load(&demo::SERVICE, &mut loader);
    let finished = loader.finish(config).map_err(|invalid| invalid.to_string());
    finished.map(|(config, effective)| (config, effective.to_string(), effective.near_misses))
}

#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(default)]
struct Store {
    database_url: Option<Secret>,
    external_integration_key: Option<Secret>,
    pool_size: Option<u32>,
}

fn load_store(variables: &[(&str, &str)]) -> Result<(Store, String), String> {
    let mut loader = Loader::new(variables.iter().copied());
    let store: Store = loader.section();
    loader.require("EXTERNAL_INTEGRATION_KEY", store.external_integration_key.as_ref());
    let finished = loader.finish(store).map_err(|invalid| invalid.to_string());
    finished.map(|(store, effective)| (store, effective.to_string()))
}

#[test]
fn without_variables_the_defaults_hold() {
    let (config, effective, near_misses) = load(&[]).unwrap();

    assert_eq!(config.server.host.to_string(), "0.0.0.0");
    assert_eq!(config.server.port, 8080);
    assert_eq!(config.server.body_limit, ByteSize(65_536));
    assert_eq!(config.server.request_timeout, Duration::from_secs(10));
    assert_eq!(config.server.drain_delay, Duration::ZERO);
    assert_eq!(config.server.shutdown_grace_period, Duration::from_secs(20));
    assert!(effective.contains("PORT=8080\n"), "{effective}");
    assert!(effective.contains("REQUEST_TIMEOUT=10s\n"), "{effective}");
    assert_eq!(near_misses, Vec::<String>::new());
}

#[test]
fn variables_are_read() {
    let (config, ..) = load(&[
        ("HOST", "::1"),
        ("PORT", "1"),
        ("WORKERS", "3"),
        ("BODY_LIMIT", "1MiB"),
        ("REQUEST_TIMEOUT", "500ms"),
        ("DRAIN_DELAY", "2m"),
        ("LOG_LEVEL", "warn,sqlx=debug"),
        ("LOG_FORMAT", "pretty"),
        ("LOG_DIR", "/tmp/x"),
    ])
    .unwrap();

    assert_eq!(config.server.host.to_string(), "::1");
    assert_eq!(config.server.port, 1);
    assert_eq!(config.server.workers.get(), 3);
    assert_eq!(config.server.body_limit, ByteSize(1024 * 1024));
    assert_eq!(config.server.request_timeout, Duration::from_millis(500));
    assert_eq!(config.server.drain_delay, Duration::from_mins(2));
    assert_eq!(config.log.log_format, LogFormat::Pretty);
    assert_eq!(config.log.log_dir.unwrap().to_str(), Some("/tmp/x"));
}

#[test]
fn under_kubernetes_a_stop_is_delayed() {
    let delay = |variables: &[_]| load(variables).unwrap().0.server.drain_delay;

    let kubernetes = ("KUBERNETES_SERVICE_HOST", "10.0.0.1");
    assert_eq!(delay(&[kubernetes]), Duration::from_secs(3));
    assert_eq!(delay(&[kubernetes, ("DRAIN_DELAY", "1s")]), Duration::from_secs(1));
}

#[test]
fn an_empty_variable_is_not_set() {
    let (config, ..) = load(&[("PORT", ""), ("LOG_DIR", ""), ("LOG_LEVEL", "")]).unwrap();

    assert_eq!(config.server.port, 8080);
    assert_eq!(config.log.log_dir, None);
}

#[test]
fn each_wrong_variable_is_reported_with_a_reason() {
    for (name, value, reason) in [
        ("HOST", "localhost", "invalid IP address syntax"),
        ("PORT", "http", "invalid digit found in string"),
        ("PORT", "65536", "number too large to fit in target type"),
        ("PORT", "-1", "invalid digit found in string"),
        ("WORKERS", "0", "expected a nonzero usize"),
        ("BODY_LIMIT", "much", "expected a size such as 65536, 64KiB or 1MiB"),
        ("REQUEST_TIMEOUT", "10", "expected a duration"),
        ("DRAIN_DELAY", "-1s", "expected a duration"),
        ("SHUTDOWN_GRACE_PERIOD", "soon", "expected a duration"),
        ("LOG_LEVEL", "loud", "expected trace, debug, info"),
        ("LOG_LEVEL", "info,=", "expected trace, debug, info"),
        ("LOG_FORMAT", "xml", "expected `json` or `pretty`"),
        ("REQUEST_TIMEOUT", "0s", "must be more than 0s"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4318", "expected a URL such as"),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "ftp://collector", "expected a URL such as"),
    ] {
        let error = load(&[(name, value)]).unwrap_err();
        let line = error.lines().nth(1).unwrap();
        assert!(line.starts_with(&format!("{name}: {reason}")), "{name}={value}: {line}");
        assert_eq!(error.lines().count(), 2, "{error}");
    }
}

#[test]
fn a_link_that_kubernetes_sets_for_a_service_is_said_to_be_one_and_ignored() {
    for link in ["tcp://10.0.0.1:80", "udp://10.0.0.1:53", "sctp://[2001:db8::1]:7"] {
        let (config, _, hints) = load(&[("ADMIN_PORT", link), ("PORT", "1")]).unwrap();

        assert_eq!((config.server.admin_port, config.server.port), (None, 1));
        assert!(
            hints[0].starts_with("ADMIN_PORT: is a link to a Service of Kubernetes"),
            "{hints:?}"
        );
        assert!(!hints[0].contains("10.0.0.1"), "{hints:?}");
    }
    assert!(load(&[("HOST", "tcp://10.0.0.1:80")]).is_err());
}

#[test]
fn all_wrong_variables_are_reported_together() {
    let error = load(&[("PORT", "x"), ("HOST", "y"), ("LOG_FORMAT", "z"), ("DRAIN_DELAY", "d")])
        .unwrap_err();

    for name in ["PORT", "HOST", "LOG_FORMAT", "DRAIN_DELAY"] {
        assert!(error.lines().any(|line| line.starts_with(&format!("{name}: "))), "{error}");
    }
}

proptest! {
    #[test]
    fn no_report_repeats_a_value(value in "[a-z,=' `\"\\PC]{6,40}") {
        let names = [
            "HOST", "PORT", "WORKERS", "BODY_LIMIT", "REQUEST_TIMEOUT", "DRAIN_DELAY",
            "SHUTDOWN_GRACE_PERIOD", "LOG_LEVEL", "LOG_FORMAT", "POOL_SIZE",
        ];
        let variables = names.map(|name| (name, value.as_str()));
        for report in [load(&variables).err(), load_store(&variables).err()].into_iter().flatten() {
            prop_assert!(!report.contains(&value), "{}", report);
        }
    }
}

#[test]
fn a_required_variable_is_missed_and_a_near_miss_pointed_out() {
    let error = load_store(&[("EXTERNAL_INTGERATION_KEY", "hush-hush")]).unwrap_err();

    assert!(error.contains("EXTERNAL_INTEGRATION_KEY: is required"), "{error}");
    assert!(
        error.contains(
            "EXTERNAL_INTGERATION_KEY: is read by nothing; did you mean EXTERNAL_INTEGRATION_KEY?"
        ),
        "{error}"
    );
    assert!(!error.contains("hush"), "{error}");
}

#[test]
fn a_near_miss_of_an_optional_variable_is_a_warning() {
    let foreign = [("PATH", "/bin"), ("SSL_CERT_FILE", "/etc/ssl/certs/ca-certificates.crt")];
    let near = [("LOG_LEVLE", "info"), ("PROT", "1")];
    let near_misses = load(&[foreign, near].concat()).unwrap().2;

    assert_eq!(
        near_misses,
        [
            "LOG_LEVLE: is read by nothing; did you mean LOG_LEVEL?",
            "PROT: is read by nothing; did you mean PORT?"
        ]
    );
}

#[test]
fn a_secret_is_shown_nowhere() {
    let (store, effective) = load_store(&[
        ("EXTERNAL_INTEGRATION_KEY", "hush-hush"),
        ("DATABASE_URL", "postgres://u:hush-hush@h/d"),
    ])
    .unwrap();

    assert_eq!(store.external_integration_key.as_ref().unwrap().expose(), "hush-hush");
    assert!(effective.contains("EXTERNAL_INTEGRATION_KEY=********\n"), "{effective}");
    assert!(!format!("{store:?}{effective}").contains("hush"), "{store:?}{effective}");
}

#[test]
fn a_secret_can_come_from_a_file() {
    let folder = tempfile::tempdir().unwrap();
    for (content, secret) in [
        ("hush", "hush"),
        ("hush\n", "hush"),
        ("hush\r\n", "hush"),
        ("hush\n\n", "hush\n"),
        (" a b ", " a b "),
    ] {
        let path = folder.path().join("key");
        std::fs::write(&path, content).unwrap();

        let file = [("EXTERNAL_INTEGRATION_KEY_FILE", path.to_str().unwrap())];
        let store = load_store(&file).unwrap().0;

        assert_eq!(store.external_integration_key.unwrap().expose(), secret, "{content:?}");
    }
}

#[test]
fn a_secret_file_that_is_not_right_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "\n").unwrap();
    let (empty, missing) = (empty.to_str().unwrap(), "/nonexistent/hush");

    for (variables, reason) in [
        (
            vec![("EXTERNAL_INTEGRATION_KEY_FILE", missing)],
            "the file cannot be read: entity not found",
        ),
        (vec![("EXTERNAL_INTEGRATION_KEY_FILE", empty)], "the file is empty"),
        (
            vec![("EXTERNAL_INTEGRATION_KEY_FILE", empty), ("EXTERNAL_INTEGRATION_KEY", "hush")],
            "cannot be set together with EXTERNAL_INTEGRATION_KEY",
        ),
    ] {
        let error = load_store(&variables).unwrap_err();

        assert!(error.contains(&format!("EXTERNAL_INTEGRATION_KEY_FILE: {reason}")), "{error}");
        assert!(!error.contains("is required"), "one problem is enough: {error}");
        assert!(!error.contains("hush"), "{error}");
    }
}

#[test]
fn what_does_not_go_together_is_reported() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty");
    std::fs::write(&empty, "").unwrap();
    let empty = empty.to_str().unwrap();

    for (variables, reason) in [
        (vec![("TLS_CERT_FILE", empty)], "TLS_KEY_FILE: is required with TLS_CERT_FILE"),
        (vec![("TLS_KEY_FILE", empty)], "TLS_CERT_FILE: is required with TLS_KEY_FILE"),
        (
            vec![("TLS_CERT_FILE", "/nonexistent"), ("TLS_KEY_FILE", empty)],
            "TLS_CERT_FILE, TLS_KEY_FILE: cannot read /nonexistent",
        ),
        (
            vec![("TLS_CERT_FILE", empty), ("TLS_KEY_FILE", empty)],
            "TLS_CERT_FILE, TLS_KEY_FILE: no certificate in the file",
        ),
        (vec![("FORCE_HTTPS", "true")], "FORCE_HTTPS: needs TRUSTED_PROXIES or"),
        (vec![("FORCE_HTTPS", "yes")], "FORCE_HTTPS: provided string was not `true` or `false`"),
        (vec![("ADMIN_PORT", "8080")], "ADMIN_PORT: is the same as PORT"),
        (vec![("TRUSTED_PROXIES", "10.0.0.0/33")], "TRUSTED_PROXIES: expected networks such as"),
        (vec![("TRUSTED_PROXIES", "10.1.0.0/16,")], "TRUSTED_PROXIES: expected networks such as"),
        (vec![("RATE_LIMIT", "50")], "RATE_LIMIT: expected none or a rate such as"),
        (vec![("RATE_LIMIT", "0/s")], "RATE_LIMIT: expected none or a rate such as"),
        (vec![("RATE_LIMIT", "1/d")], "RATE_LIMIT: expected none or a rate such as"),
    ] {
        let error = load(&variables).unwrap_err();
        assert!(error.lines().any(|line| line.starts_with(reason)), "{variables:?}: {error}");
    }
}

#[test]
fn networks_and_rates_are_read() {
    let (config, effective, _) =
        load(&[("TRUSTED_PROXIES", "10.0.0.0/8, fd00::/8 ,192.0.2.7"), ("RATE_LIMIT", "50/s")])
            .unwrap();

    assert!(config.server.trusted_proxies.contains("192.0.2.7".parse().unwrap()));
    assert!(!config.server.trusted_proxies.contains("192.0.2.8".parse().unwrap()));
    assert!(
        effective.contains("TRUSTED_PROXIES=10.0.0.0/8,fd00::/8,192.0.2.7/32\n"),
        "{effective}"
    );
    assert!(effective.contains("RATE_LIMIT=50/s\n"), "{effective}");
    assert!(load(&[("RATE_LIMIT", "none")]).unwrap().1.contains("RATE_LIMIT=none\n"));
}
