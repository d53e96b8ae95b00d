//! Every query of dashboards and rules, on a Prometheus with the configuration of `compose.yaml`.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Url};
use serde_json::Value;
use tokio::process::{Child, Command};

use super::metrics;
use super::sources::{files, rules_folder};
use crate::services::SERVICES;

/// Two scrapes with traffic between them, and an evaluation of rules that stand on rules.
const LIMIT: Duration = Duration::from_mins(3);

/// The service that is also started with a certificate.
const OVER_TLS: &str = "sre-kata";

/// Between two rounds of traffic.
const ROUND: Duration = Duration::from_secs(8);

/// Parts of queries that may return nothing here, and why. One that returns something is to be
/// removed from this list.
const MAY_BE_EMPTY: [(&str, &str); 4] = [
    ("kubelet_volume_stats_", "of the kubelet: only in Kubernetes"),
    ("fault_injection_enabled", "only with FAULT_INJECTION"),
    ("check=\"draining\"", "only while an instance stops"),
    ("ALERTS{", "only while something is wrong"),
];

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The program.
    #[arg(long, value_name = "PATH", default_value = "prometheus")]
    prometheus: PathBuf,
}

/// A query and where it stands.
struct Query {
    origin: String,
    expression: String,
}

/// # Errors
/// When Prometheus cannot be run, a query is refused or returns nothing, or metrics and
/// documentation differ.
pub(super) async fn check(root: &Path, args: &Args) -> anyhow::Result<()> {
    let mut queries = rules(root)?;
    queries.extend(dashboards(root)?);
    let folder = tempfile::tempdir()?;
    let (_over_tls, admin_port) = start_over_tls(folder.path())?;
    let prometheus = Prometheus::start(&args.prometheus, root, folder.path(), admin_port)?;
    let deadline = Instant::now() + LIMIT;
    let mut empty: Vec<&Query>;
    loop {
        traffic().await?;
        tokio::time::sleep(ROUND).await;
        empty = Vec::new();
        for query in &queries {
            if !prometheus.answers(query).await? {
                empty.push(query);
            }
        }
        if empty.iter().all(|query| excuse(query).is_some()) || Instant::now() >= deadline {
            break;
        }
    }
    let unexpected = empty.iter().filter(|query| excuse(query).is_none());
    let mut problems: Vec<_> = unexpected
        .map(|query| format!("{}: returns nothing: {}", query.origin, query.expression))
        .collect();
    let needless = |part: &&str| !empty.iter().any(|query| query.expression.contains(*part));
    let needless = MAY_BE_EMPTY.iter().map(|(part, _)| *part).filter(needless);
    problems.extend(needless.map(|part| format!("{part}: no query with it is empty")));
    problems.extend(metrics::compare(root, &prometheus.families().await?)?);
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    println!("{} queries return something; these need not:", queries.len() - empty.len());
    for query in &empty {
        println!("  {} ({})", query.origin, excuse(query).unwrap_or_default());
    }
    Ok(())
}

/// Why a query may return nothing.
fn excuse(query: &Query) -> Option<&'static str> {
    MAY_BE_EMPTY.iter().find(|(part, _)| query.expression.contains(part)).map(|(_, why)| *why)
}

/// Calls every endpoint, as `smoke` does.
async fn traffic() -> anyhow::Result<()> {
    let mut smoke = Command::new(std::env::current_exe()?);
    let output = smoke.arg("smoke").stdin(Stdio::null()).output().await?;
    let said = String::from_utf8_lossy(&output.stdout);
    ensure!(output.status.success(), "smoke failed:\n{said}");
    Ok(())
}

/// The expressions of the rules. An alert returns something only while it fires: with `bool`, its
/// comparisons return 0 or 1 instead.
fn rules(root: &Path) -> anyhow::Result<Vec<Query>> {
    let mut queries = Vec::new();
    for file in files(&rules_folder(root), "yaml")? {
        let rules: Value = serde_norway::from_str(&fs::read_to_string(&file)?)?;
        for rule in list(&rules, "groups").flat_map(|group| list(group, "rules")) {
            let expression = rule["expr"].as_str().context("a rule without an expression")?;
            let (name, expression) = match (rule["alert"].as_str(), rule["record"].as_str()) {
                (Some(alert), _) => (alert, with_bool(expression)),
                (None, record) => (record.unwrap_or_default(), expression.to_owned()),
            };
            queries.push(Query { origin: format!("{}: {name}", name_of(&file)), expression });
        }
    }
    Ok(queries)
}

/// The expressions of panels and annotations, with what Grafana puts in the place of variables.
fn dashboards(root: &Path) -> anyhow::Result<Vec<Query>> {
    let mut queries = Vec::new();
    for file in files(&root.join("charts/stack/files/dashboards"), "json")? {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
        let mut add = |title: &Value, expression: String| {
            let origin = format!("{}: {}", name_of(&file), title.as_str().unwrap_or_default());
            queries.push(Query { origin, expression: without_variables(&expression) });
        };
        for panel in list(&dashboard, "panels") {
            for target in list(panel, "targets") {
                add(&panel["title"], target["expr"].as_str().unwrap_or_default().to_owned());
            }
        }
        for annotation in list(&dashboard["annotations"], "list") {
            let expression = annotation["expr"].as_str().unwrap_or_default();
            add(&annotation["name"], with_bool(expression));
        }
    }
    Ok(queries)
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// A comparison outside of a selector has spaces around it.
fn with_bool(expression: &str) -> String {
    let mut expression = expression.split_whitespace().collect::<Vec<_>>().join(" ");
    for comparison in [" == ", " != ", " >= ", " <= ", " > ", " < "] {
        expression = expression.replace(comparison, &format!("{comparison}bool "));
    }
    expression
}

fn without_variables(expression: &str) -> String {
    let values =
        [("$__rate_interval", "1m"), ("$namespace", "dev"), ("$job", ".*"), ("$instance", ".*")];
    values.iter().fold(expression.to_owned(), |text, (name, value)| text.replace(name, value))
}

/// Runs until it is dropped.
struct Prometheus {
    url: Url,
    client: Client,
    _child: Child,
}

impl Prometheus {
    /// With the configuration and the rules of the stack, and targets on this machine.
    fn start(program: &Path, root: &Path, folder: &Path, admin_port: u16) -> anyhow::Result<Self> {
        let source = root.join("deploy/observability/prometheus/prometheus.yml");
        fs::copy(source, folder.join("prometheus.yml"))?;
        symlink(rules_folder(root), folder.join("rules"))?;
        fs::create_dir(folder.join("targets"))?;
        fs::write(folder.join("targets/dev.yaml"), targets(admin_port))?;
        let port = free_port()?;
        let log = fs::File::create(root.join("target/prometheus.log"))?;
        let child = Command::new(program)
            .arg("--config.file=prometheus.yml")
            .arg("--storage.tsdb.path=data")
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(30)).build()?;
        let url = format!("http://127.0.0.1:{port}").parse()?;
        Ok(Self { url, client, _child: child })
    }

    async fn get(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        let url = Url::parse_with_params(self.url.join(path)?.as_str(), parameters)?;
        let answer = self.client.get(url).send().await;
        let answer = answer.context("no answer from Prometheus: see target/prometheus.log")?;
        let answer: Value = serde_json::from_str(&answer.text().await?)?;
        if answer["status"] != "success" {
            bail!("{}", answer["error"].as_str().unwrap_or("refused by Prometheus"));
        }
        Ok(answer)
    }

    /// Whether there is a value that is a number.
    async fn answers(&self, query: &Query) -> anyhow::Result<bool> {
        let parameters = [("query", query.expression.as_str())];
        let answer = self.get("/api/v1/query", &parameters).await;
        let answer = answer.with_context(|| format!("{}: {}", query.origin, query.expression))?;
        let mut values = list(&answer["data"], "result").map(|series| &series["value"][1]);
        Ok(values.any(|value| value != "NaN"))
    }

    /// The metrics that were scraped.
    async fn families(&self) -> anyhow::Result<BTreeSet<String>> {
        let answer = self.get("/api/v1/metadata", &[]).await?;
        let families = answer["data"].as_object().context("no metadata")?;
        Ok(families.keys().cloned().collect())
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// One more instance of a service, with a certificate, which those of `make dev` have not; and the
/// port of its metrics.
fn start_over_tls(folder: &Path) -> anyhow::Result<(Child, u16)> {
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
    let (certificate, key) = (folder.join("tls.crt"), folder.join("tls.key"));
    fs::write(&certificate, pair.cert.pem())?;
    fs::write(&key, pair.signing_key.serialize_pem())?;
    let port = free_port()?;
    let child = Command::new(std::env::current_exe()?.with_file_name(OVER_TLS))
        .env("HOST", "127.0.0.1")
        .env("PORT", "0")
        .env("ADMIN_PORT", port.to_string())
        .env("TLS_CERT_FILE", certificate)
        .env("TLS_KEY_FILE", key)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("cannot run {OVER_TLS}"))?;
    Ok((child, port))
}

/// The services of `make dev`, and the one with a certificate, as Prometheus reads targets from a
/// file.
fn targets(admin_port: u16) -> String {
    let mut targets = String::new();
    let services = SERVICES.iter().map(|service| (service.name, service.port()));
    for (name, port) in services.chain([(OVER_TLS, admin_port)]) {
        let _ = writeln!(
            targets,
            "- {{labels: {{namespace: dev, job: {name}}}, targets: [\"127.0.0.1:{port}\"]}}"
        );
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_becomes_a_query_that_always_returns() {
        let expression = "sum(a{b!=\"c\"})\n/ d\n> 0.9";
        assert_eq!(with_bool(expression), "sum(a{b!=\"c\"}) / d > bool 0.9");
    }

    #[test]
    fn variables_of_grafana_are_replaced() {
        let expression = "rate(a{namespace=\"$namespace\", job=~\"$job\"}[$__rate_interval])";
        assert_eq!(without_variables(expression), "rate(a{namespace=\"dev\", job=~\".*\"}[1m])");
    }
}
