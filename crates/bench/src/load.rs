//! The load generators: wrk, which loads a server as fast as it answers and costs the least
//! itself, and oha, which keeps a rate and corrects for coordinated omission.

use std::{collections::HashMap, fmt, path::Path, thread::available_parallelism, time::Duration};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tokio::process::Command;

use crate::command::output;
use crate::request::Request;
use crate::server::Endpoint;

/// Keep-alive connections, unless a load says otherwise.
pub(crate) const CONNECTIONS: u16 = 32;

/// Keep-alive connections where requests are to share commits.
pub(crate) const MANY_CONNECTIONS: u16 = 64;

/// What a load as fast as the server answers has come to.
#[derive(Clone, Copy, Default)]
pub(crate) struct Closed {
    /// Requests answered; up to one more for each connection was under way at the end.
    pub(crate) requests: u32,
    /// Requests answered a second.
    pub(crate) rate: f64,
    /// CPU time that the server has spent on each, in microseconds.
    pub(crate) cpu_us: f64,
}

/// Loads with wrk: each connection sends its next request when it has the answer to the last. What is
/// no GET takes a script, which is written to `script`.
///
/// # Errors
/// When an answer is missing or its status is 400 or above.
pub(crate) async fn closed(
    server: &Endpoint,
    request: &Request,
    script: &Path,
    connections: u16,
    time: Duration,
) -> Result<Closed> {
    let lua = (request.method != "GET").then(|| {
        let body = request.body.map(|body| format!("wrk.body = [==[{body}]==]\n"));
        format!("wrk.method = '{}'\n{}", request.method, body.unwrap_or_default())
    });
    scripted(server, request, lua, script, connections, time).await
}

/// As [`closed`], with what wrk is to send in Lua, if it is more than the request's target and headers.
///
/// # Errors
/// As for [`closed`].
pub(crate) async fn scripted(
    server: &Endpoint,
    request: &Request,
    lua: Option<String>,
    script: &Path,
    connections: u16,
    time: Duration,
) -> Result<Closed> {
    // One core is left to the server, which has one worker.
    let threads = available_parallelism()?.get().saturating_sub(1).clamp(1, 4);
    let mut command = Command::new("wrk");
    command
        .arg(format!("--threads={threads}"))
        .arg(format!("--connections={connections}"))
        .arg(format!("--duration={}s", time.as_secs()))
        .args(request.headers().flat_map(|header| ["--header", header]));
    if let Some(lua) = lua {
        std::fs::write(script, lua)?;
        command.arg("--script").arg(script);
    }
    command.arg(format!("{}{}", server.url, request.target));
    let before = server.cpu_time()?;
    let text = output(command).await.context("wrk comes with `apt install wrk`")?;
    let spent = server.cpu_time()?.saturating_sub(before).as_secs_f64();
    ensure!(
        !text.contains("Non-2xx") && !text.contains("Socket errors"),
        "{}:\n{text}",
        request.target
    );
    let word_before = |mark| text.split(mark).next()?.split_whitespace().last();
    let word_after = |mark| text.split(mark).nth(1)?.split_whitespace().next();
    let requests = word_before(" requests in ").context("wrk reports no requests")?;
    let rate = word_after("Requests/sec:").context("wrk reports no rate")?;
    let (requests, rate) = (requests.parse()?, rate.parse()?);
    Ok(Closed { requests, rate, cpu_us: spent * 1e6 / f64::from(requests) })
}

/// Latency that this share of the requests stayed below, in seconds.
#[derive(Deserialize)]
pub(crate) struct Percentiles {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    #[serde(rename = "p99.9")]
    pub(crate) p99_9: f64,
}

impl fmt::Display for Percentiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [p50, p90, p99, p99_9] =
            [self.p50, self.p90, self.p99, self.p99_9].map(|seconds| seconds * 1e3);
        write!(f, "{p50:.2}, {p90:.2}, {p99:.2}, {p99_9:.2} ms")
    }
}

/// Loads with oha at `rate` requests a second. A latency counts from the moment at which the
/// request was due, also if it had to wait for a connection.
///
/// # Errors
/// When an answer is missing or its status is not 200.
pub(crate) async fn at_rate(
    server: &Endpoint,
    request: &Request,
    rate: f64,
    time: Duration,
) -> Result<Percentiles> {
    let load = [
        "--latency-correction".to_owned(),
        "--wait-ongoing-requests-after-deadline".to_owned(),
        format!("-q{rate}"),
        format!("-c{CONNECTIONS}"),
        format!("-z{}s", time.as_secs()),
    ];
    oha(server, request, load).await
}

/// Loads with oha until so many requests are answered: each connection sends its next request when it has the answer to
/// the last.
///
/// # Errors
/// When an answer is missing or its status is not 200.
pub(crate) async fn counted(
    server: &Endpoint,
    request: &Request,
    connections: u16,
    requests: u32,
) -> Result<()> {
    oha(server, request, [format!("-n{requests}"), format!("-c{connections}")]).await?;
    Ok(())
}

async fn oha(
    server: &Endpoint,
    request: &Request,
    load: impl IntoIterator<Item = String>,
) -> Result<Percentiles> {
    /// oha's report, as far as it is used.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Report {
        latency_percentiles: Percentiles,
        status_code_distribution: HashMap<String, u32>,
        error_distribution: HashMap<String, u32>,
    }
    let mut command = Command::new("oha");
    command
        .args(["--no-tui", "--output-format=json", "--disable-compression"])
        .args(request.headers().flat_map(|header| ["-H", header]))
        .args(["-m", request.method])
        .args(request.body.iter().flat_map(|body| ["-d", body]))
        .args(load)
        .arg(format!("{}{}", server.url, request.target));
    let text = output(command).await.context("oha comes with `cargo install --locked oha`")?;
    let report: Report = serde_json::from_str(&text)?;
    let (statuses, errors) = (report.status_code_distribution, report.error_distribution);
    let all_ok = errors.is_empty() && statuses.keys().eq(["200"]);
    ensure!(all_ok, "{}: {statuses:?} {errors:?}", request.target);
    Ok(report.latency_percentiles)
}
