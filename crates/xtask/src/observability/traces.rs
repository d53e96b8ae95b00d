//! Traces of real requests, as Jaeger has them behind an OpenTelemetry Collector, both with the
//! configuration of `compose.yaml`.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use reqwest::{Client, Method};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::services;

/// Until a program answers.
const START: Duration = Duration::from_mins(1);

/// Until a trace is complete: the services export within a second, the collector and Jaeger collect
/// batches for one more.
const COMPLETE: Duration = Duration::from_secs(30);

/// Between two looks at something that is about to change.
const TICK: Duration = Duration::from_millis(200);

/// The span of the caller, which nobody exports.
const CALLER: &str = "00f067aa0ba902b7";

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The OpenTelemetry Collector; without it the services export to Jaeger.
    #[arg(long, value_name = "PATH", default_value = "otelcol")]
    collector: PathBuf,
    /// Jaeger 2; without it there is nothing to compare.
    #[arg(long, value_name = "PATH", default_value = "jaeger")]
    jaeger: PathBuf,
}

/// A request, and its trace: a line `<service>: <kind> <name>` for each span, children below their
/// parent in the order in which they began.
struct Expected {
    service: &'static str,
    request: (Method, &'static str),
    body: Option<&'static str>,
    spans: &'static str,
}

const fn get(service: &'static str, path: &'static str, spans: &'static str) -> Expected {
    Expected { service, request: (Method::GET, path), body: None, spans }
}

const fn post(
    service: &'static str,
    path: &'static str,
    body: &'static str,
    spans: &'static str,
) -> Expected {
    Expected { service, request: (Method::POST, path), body: Some(body), spans }
}

const fn delete(spans: &'static str) -> Expected {
    Expected { service: "multivac", request: (Method::DELETE, "/multivac/zzz"), body: None, spans }
}

const DATUM: &str = r#"{"data":"traced"}"#;

/// Of the stack as `make dev` starts it.
const STACK: &[Expected] = &[
    get(
        "backend-api",
        "/download_external_logs",
        "\
backend-api: server GET /download_external_logs
  backend-api: client GET
    data-api: server GET /logs/download
",
    ),
    get("data-api", "/", "data-api: server GET /\n"),
    post(
        "randomize",
        "/api/randomizes",
        r#"{"word":"traced"}"#,
        "\
randomize: server POST /api/randomizes
  randomize: internal insert_randomizes
    randomize: client insert_randomizes
      randomize: internal wait for connection
",
    ),
    get(
        "randomize",
        "/api/randomizes/1",
        "\
randomize: server GET /api/randomizes/{id}
  randomize: client find_randomize
    randomize: internal wait for connection
",
    ),
    get("sre-kata", "/query?param=acx333x", "sre-kata: server GET /query\n"),
    post(
        "stakefish",
        "/tools/lookup",
        r#"{"domain":"example.com"}"#,
        "\
stakefish: server POST /tools/lookup
  stakefish: client DNS lookup
  stakefish: internal save_queries
    stakefish: client save_queries
      stakefish: internal wait for connection
",
    ),
    post(
        "multivac",
        "/multivac/data",
        DATUM,
        "\
multivac: server POST /multivac/data
  multivac: producer send jobs
    multivac: internal write
      multivac: client write
        multivac: internal wait for connection
    multivac: consumer process jobs
",
    ),
    delete(
        "\
multivac: server DELETE /multivac/zzz
  multivac: internal write
    multivac: client write
      multivac: internal wait for connection
",
    ),
];

/// Of multivac's server and worker, on Redis and MongoDB.
const REAL_STORES: &[Expected] = &[
    post(
        "multivac",
        "/multivac/data",
        DATUM,
        "\
multivac: server POST /multivac/data
  multivac: producer send {multivac}:jobs
    multivac: client EVALSHA
    multivac: consumer process {multivac}:jobs
      multivac: client insert entropy
      multivac: client settle {multivac}:jobs
",
    ),
    delete(
        "\
multivac: server DELETE /multivac/zzz
  multivac: client findAndModify entropy
",
    ),
];

/// # Errors
/// When a program cannot be run, a request fails, or a trace is another one than expected.
pub(super) async fn check(root: &Path, args: &Args) -> anyhow::Result<()> {
    if !is_there(&args.jaeger).await {
        println!(
            "LEFT OUT: traces in Jaeger: there is no {}; make observability/tools",
            args.jaeger.display()
        );
        return Ok(());
    }
    let folder = root.join("target/observability-traces");
    fs::create_dir_all(&folder)?;
    let jaeger = Jaeger::start(&args.jaeger, root, &folder).await?;
    let (_collector, endpoint) = if is_there(&args.collector).await {
        let (collector, endpoint) =
            start_collector(&args.collector, root, &folder, &jaeger).await?;
        (Some(collector), endpoint)
    } else {
        println!(
            "LEFT OUT: the collector: there is no {}; make observability/tools",
            args.collector.display()
        );
        (None, jaeger.otlp.clone())
    };
    let mut problems = Vec::new();
    for (log, dev, expected) in [
        ("dev.log", &["dev"][..], STACK),
        ("dev-stores.log", &["dev", "multivac", "--stores", "real"], REAL_STORES),
    ] {
        let log = folder.join(log);
        let stack = Stack::start(dev, &endpoint, &log)?;
        let compared = compare_all(expected, &jaeger, &log).await;
        let stopped = stack.stop().await?;
        problems.extend(compared?);
        ensure!(stopped.success(), "the services did not stop cleanly: {}", log.display());
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    println!("{} traces are as expected", STACK.len() + REAL_STORES.len());
    Ok(())
}

/// Whether a program can be run at all.
async fn is_there(program: &Path) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok()
}

async fn compare_all(
    expected: &[Expected],
    jaeger: &Jaeger,
    log: &Path,
) -> anyhow::Result<Vec<String>> {
    let mut problems = Vec::new();
    for expected in expected {
        let service = services::find(expected.service).context("no such service")?;
        let base = service.url("127.0.0.1");
        wait_for(&jaeger.client, &format!("{base}/readyz"), log).await?;
        let trace = trace_id();
        let (method, path) = &expected.request;
        let mut request = jaeger
            .client
            .request(method.clone(), format!("{base}{path}"))
            .header("traceparent", format!("00-{trace}-{CALLER}-01"));
        if let Some(body) = expected.body {
            request = request.header("content-type", "application/json").body(body);
        }
        let answer = request.send().await?;
        ensure!(answer.status().is_success(), "{method} {path}: {}", answer.status());
        answer.bytes().await?;
        let found = jaeger.tree(&trace, expected.spans).await?;
        println!("{method} {} {path}\n{found}", expected.service);
        if found != expected.spans {
            problems.push(format!("{method} {path}: expected:\n{}found:\n{found}", expected.spans));
        }
    }
    Ok(problems)
}

/// A new one each time, as the specification asks for.
fn trace_id() -> String {
    let nanoseconds = std::time::UNIX_EPOCH.elapsed().unwrap_or_default().as_nanos();
    format!("{nanoseconds:032x}")
}

async fn wait_for(client: &Client, url: &str, log: &Path) -> anyhow::Result<()> {
    let deadline = Instant::now() + START;
    loop {
        if client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{url} does not answer: see {}", log.display());
        tokio::time::sleep(TICK).await;
    }
}

fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

/// A program that reads a configuration of the collector, with other addresses than those in it.
fn start(
    program: &Path,
    config: &Path,
    log: &Path,
    set: &[(&str, String)],
) -> anyhow::Result<Child> {
    let mut command = Command::new(program);
    command.arg(format!("--config={}", config.display()));
    for (key, value) in set {
        command.arg(format!("--set={key}={value}"));
    }
    let log = File::create(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).kill_on_drop(true);
    command.spawn().with_context(|| format!("cannot run {}", program.display()))
}

async fn start_collector(
    program: &Path,
    root: &Path,
    folder: &Path,
    jaeger: &Jaeger,
) -> anyhow::Result<(Child, String)> {
    let (otlp, health) = (address()?, address()?);
    let config = root.join("deploy/observability/otel-collector.yaml");
    let log = folder.join("collector.log");
    let set = [
        ("receivers.otlp.protocols.http.endpoint", otlp.clone()),
        ("extensions.health_check.endpoint", health.clone()),
        ("exporters.otlp_http.endpoint", jaeger.otlp.clone()),
    ];
    let child = start(program, &config, &log, &set)?;
    wait_for(&jaeger.client, &format!("http://{health}/"), &log).await?;
    Ok((child, format!("http://{otlp}")))
}

/// A free one.
fn address() -> anyhow::Result<String> {
    Ok(format!("127.0.0.1:{}", free_port()?))
}

/// Runs until it is dropped.
struct Jaeger {
    client: Client,
    /// Where it takes spans.
    otlp: String,
    /// Where its API is.
    query: String,
    _child: Child,
}

/// A span as Jaeger's API has it.
struct Span {
    id: String,
    parent: String,
    start: i64,
    line: String,
}

impl Jaeger {
    async fn start(program: &Path, root: &Path, folder: &Path) -> anyhow::Result<Self> {
        let (otlp, query, health) = (address()?, address()?, address()?);
        let config = root.join("deploy/observability/jaeger.yaml");
        let log = folder.join("jaeger.log");
        let set = [
            ("receivers.otlp.protocols.http.endpoint", otlp.clone()),
            ("extensions.jaeger_query.http.endpoint", query.clone()),
            ("extensions.jaeger_query.grpc.endpoint", address()?),
            ("extensions.healthcheckv2.http.endpoint", health.clone()),
            ("service.telemetry.metrics.level", "none".to_owned()),
        ];
        let child = start(program, &config, &log, &set)?;
        let client = Client::builder().no_proxy().timeout(Duration::from_secs(10)).build()?;
        wait_for(&client, &format!("http://{health}/status"), &log).await?;
        Ok(Self { client, otlp: format!("http://{otlp}"), query, _child: child })
    }

    /// A trace as a tree, once it is as expected or the time for that is over.
    async fn tree(&self, trace: &str, expected: &str) -> anyhow::Result<String> {
        let deadline = Instant::now() + COMPLETE;
        loop {
            let url = format!("http://{}/api/traces/{trace}", self.query);
            let answer = self.client.get(&url).send().await?.text().await?;
            let tree = tree(&spans(&serde_json::from_str(&answer)?));
            if tree == expected || Instant::now() >= deadline {
                return Ok(tree);
            }
            tokio::time::sleep(TICK).await;
        }
    }
}

/// The spans of an answer of the API, which has none as long as the trace is not known.
fn spans(answer: &Value) -> Vec<Span> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let members = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let mut spans = Vec::new();
    for trace in members(&answer["data"]) {
        for span in members(&trace["spans"]) {
            let process = text(&span["processID"]);
            let service = text(&trace["processes"][process]["serviceName"]);
            let tags = members(&span["tags"]);
            let kind = tags.iter().find(|tag| tag["key"] == "span.kind");
            let kind = kind.map_or("internal".to_owned(), |tag| text(&tag["value"]));
            // A parent that is also linked to is a link alone, `FOLLOWS_FROM`, and drawn as a parent.
            let mut references = members(&span["references"]);
            references.sort_by_key(|reference| reference["refType"] != "CHILD_OF");
            let parent = references.iter().find(|it| it["traceID"] == span["traceID"]);
            spans.push(Span {
                id: text(&span["spanID"]),
                parent: parent.map_or(String::new(), |parent| text(&parent["spanID"])),
                start: span["startTime"].as_i64().unwrap_or_default(),
                line: format!("{service}: {kind} {}", text(&span["operationName"])),
            });
        }
    }
    spans.sort_by_key(|span| span.start);
    spans
}

/// A span whose parent is not among them begins a tree.
fn tree(spans: &[Span]) -> String {
    let is_root = |span: &&Span| !spans.iter().any(|other| other.id == span.parent);
    let mut rest: Vec<(usize, &Span)> =
        spans.iter().rev().filter(is_root).map(|span| (0, span)).collect();
    let mut text = String::new();
    while let Some((depth, span)) = rest.pop() {
        let _ = writeln!(text, "{}{}", "  ".repeat(depth), span.line);
        let children = spans.iter().rev().filter(|child| child.parent == span.id);
        rest.extend(children.map(|child| (depth + 1, child)));
    }
    text
}

/// `xtask dev`, stopped as Ctrl-C does.
struct Stack(Child);

impl Stack {
    fn start(arguments: &[&str], endpoint: &str, log: &Path) -> anyhow::Result<Self> {
        let log = File::create(log)?;
        let child = Command::new(std::env::current_exe()?)
            .args(arguments)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint)
            .env("OTEL_BSP_SCHEDULE_DELAY", "200")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()?;
        Ok(Self(child))
    }

    async fn stop(mut self) -> anyhow::Result<ExitStatus> {
        let Some(id) = self.0.id().and_then(|id| Pid::from_raw(id.cast_signed())) else {
            bail!("the services ended by themselves");
        };
        kill_process(id, Signal::INT)?;
        Ok(self.0.wait().await?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_answer_of_jaeger_becomes_a_tree_in_the_order_of_the_spans_begin() {
        let span = |id: &str, (kind, parent): (&str, &str), start: i64, name: &str| {
            json!({
                "spanID": id, "operationName": name, "startTime": start, "processID": "p1",
                "traceID": "t", "references": [
                    {"refType": "FOLLOWS_FROM", "traceID": "other", "spanID": "1"},
                    {"refType": kind, "traceID": "t", "spanID": parent},
                ],
                "tags": [{"key": "span.kind", "value": "client"}],
            })
        };
        let answer = json!({"data": [{
            "spans": [
                span("3", ("CHILD_OF", "1"), 9, "late"),
                span("2", ("FOLLOWS_FROM", "1"), 5, "early"),
                span("1", ("CHILD_OF", "0"), 1, "root"),
            ],
            "processes": {"p1": {"serviceName": "a"}},
        }]});

        assert_eq!(tree(&spans(&answer)), "a: client root\n  a: client early\n  a: client late\n");
        assert_eq!(tree(&spans(&json!({"data": null, "errors": []}))), "");
    }
}
