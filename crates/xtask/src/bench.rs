//! `xtask bench`: every service against a bare actix-web server that sends the same bytes.
//!
//! An [`Entry`] of [`ENTRIES`] is one service. `docs/performance.md` says how to read the figures.

pub(crate) mod bare;
mod load;
mod report;
mod server;

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use tokio::{process::Command, time::sleep};

use crate::workspace::{self, Workspace};

use self::{
    report::{Row, Samples},
    server::{Server, fetch},
};

/// A service: how it is started for the measurement, and what is measured.
struct Entry {
    /// Name of the service and of its binary.
    service: &'static str,
    /// Variables beside `HOST`, `PORT`, `WORKERS` and `LOG_FORMAT`; nothing else is set.
    env: &'static [(&'static str, &'static str)],
    requests: &'static [Request],
    /// Largest release binary in MiB, without symbols.
    binary_mib: f64,
    /// Longest time in ms from exec until `/readyz` answers 200.
    ready_ms: f64,
    /// Most resident memory in MiB after the start.
    idle_mib: f64,
    /// Most resident memory 10 s after the load, as a multiple of the idle memory.
    settled_ratio: f64,
}

/// A GET request.
struct Request {
    /// Path and query.
    target: &'static str,
    /// Whether the access log has a line for it at level `info`.
    logged: bool,
    /// Most CPU time a request, as a multiple of the bare server's.
    cpu_ratio: Option<f64>,
}

const ENTRIES: &[Entry] = &[Entry {
    service: "sre-kata",
    env: &[],
    requests: &[
        Request { target: "/query?param=acx333x", logged: true, cpu_ratio: Some(1.5) },
        Request { target: "/healthz", logged: false, cpu_ratio: None },
    ],
    binary_mib: 15.0,
    ready_ms: 50.0,
    idle_mib: 12.0,
    settled_ratio: 2.0,
}];

/// Requests a second up to which a latency is the server's: a small machine that runs the load
/// generator too then has time to spare.
const MOST_AT_A_RATE: f64 = 20_000.0;

/// Builds the release binaries, measures, prints a table. Needs Linux, wrk and oha.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Short rounds: to see whether it works, not to quote from.
    #[arg(long)]
    quick: bool,
    /// Leave docs/performance.md as it is.
    #[arg(long)]
    no_write: bool,
}

/// How long and how often to measure.
struct Plan {
    warm_up: Duration,
    rounds: usize,
    round: Duration,
    latency: Duration,
    starts: usize,
}

const FULL: Plan = Plan {
    warm_up: Duration::from_secs(2),
    rounds: 15,
    round: Duration::from_secs(2),
    latency: Duration::from_secs(10),
    starts: 11,
};

const QUICK: Plan = Plan {
    warm_up: Duration::from_secs(1),
    rounds: 5,
    round: Duration::from_secs(1),
    latency: Duration::from_secs(2),
    starts: 5,
};

/// Measures all services.
///
/// # Errors
/// When a tool is missing, the build fails, a service does not do what the measurement rests on,
/// or, after the table has been printed and written, when a target is missed.
pub(crate) async fn run(args: Args) -> Result<()> {
    let plan = if args.quick { QUICK } else { FULL };
    let conditions = report::conditions(&plan).await?;
    let workspace = Workspace::load()?;
    let built = workspace::cargo().args(["build", "--release", "--workspace"]).status()?;
    ensure!(built.success(), "the release build failed");
    let mut rows = Vec::new();
    for entry in ENTRIES {
        let measured = measure(entry, &plan, &workspace.target).await;
        rows.extend(measured.with_context(|| format!("cannot measure {}", entry.service))?);
    }
    let text = format!("{}\n{conditions}", report::table(&rows));
    print!("{text}");
    if !args.no_write {
        report::write(&workspace.root, &text)?;
    }
    match rows.iter().filter(|row| row.missed()).count() {
        0 => Ok(()),
        missed => bail!("{missed} of the targets missed"),
    }
}

/// What a command, which must succeed, writes to stdout.
async fn output(program: &str, args: &[&str]) -> Result<String> {
    let output = Command::new(program)
        .args(args)
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .output()
        .await
        .with_context(|| format!("cannot run {program}"))?;
    ensure!(output.status.success(), "{program} {}: {}", args.join(" "), output.status);
    Ok(String::from_utf8(output.stdout)?)
}

async fn measure(entry: &Entry, plan: &Plan, cargo_target: &Path) -> Result<Vec<Row>> {
    let release = cargo_target.join("release");
    let binary = release.join(entry.service);
    let folder = tempfile::tempdir_in(cargo_target)?;
    let log = folder.path().join("access.log");
    let binary_kib = u32::try_from(std::fs::metadata(&binary)?.len() / 1024)?;

    let mut ready_ms = Samples::default();
    for _ in 0..plan.starts {
        let server = start_service(entry, &binary, &log).await?;
        ready_ms.push(server.ready_after.as_secs_f64() * 1e3);
        server.stop().await?;
    }

    let service = start_service(entry, &binary, &log).await?;
    sleep(Duration::from_secs(1)).await;
    let idle_mib = service.resident_mib()?;
    let bare = start_bare(entry, &release.join("xtask"), folder.path(), &service).await?;
    let (mut rows, mut made) = (Vec::new(), Vec::new());
    for request in entry.requests {
        let (requests, figures) = compare(entry, request, plan, &service, &bare).await?;
        made.push(requests);
        rows.extend(figures);
    }
    let peak_mib = service.peak_mib()?;
    sleep(Duration::from_secs(10)).await;
    let settled_mib = service.resident_mib()?;
    let metrics = fetch(service.addr, "/metrics").await?.body;
    // All lines are in the file once the service has stopped.
    service.stop().await?;

    for (request, made) in entry.requests.iter().zip(made) {
        if !request.logged {
            continue;
        }
        let path = request.target.split('?').next().unwrap_or_default();
        let route = format!("\"{path}\"");
        let counted = sum_of_series(&metrics, |series| {
            series.starts_with("http_server_request_duration_seconds_count")
                && series.contains(&route)
        })?;
        ensure!(counted >= made, "{made} requests were answered, {counted} counted");
        let lines = count_lines(&log, &format!("{}\"", request.target))?;
        rows.push(
            Row::new(entry.service, request.target, "lines in the access log")
                .service(lines.to_string())
                .target(format!("= {counted} requests"), lines == counted),
        );
    }
    let dropped = sum_of_series(&metrics, |series| series.contains("dropped"))?;
    let row = |figure| Row::new(entry.service, "", figure);
    rows.extend([
        row("log lines dropped").service(dropped.to_string()).target("0".to_owned(), dropped == 0),
        row("memory, idle").at_most(idle_mib, entry.idle_mib, " MiB"),
        row("memory, peak under load").service(format!("{peak_mib:.1} MiB")),
        row("memory, 10 s after").at_most(settled_mib, idle_mib * entry.settled_ratio, " MiB"),
        row("exec to ready").at_most(ready_ms.median(), entry.ready_ms, " ms"),
        row("stripped binary").at_most(f64::from(binary_kib) / 1024.0, entry.binary_mib, " MiB"),
    ]);
    Ok(rows)
}

async fn start_service(entry: &Entry, binary: &Path, log: &Path) -> Result<Server> {
    Server::start(|port| {
        let mut command = Command::new(binary);
        command
            .current_dir(log.parent().unwrap_or(log))
            .env_clear()
            .envs([("HOST", "127.0.0.1"), ("WORKERS", "1"), ("LOG_FORMAT", "json")])
            .env("PORT", port.to_string())
            .envs(entry.env.iter().copied())
            .stdout(File::create(log)?);
        Ok(command)
    })
    .await
}

/// Starts the bare server with what the service answers, and makes sure that both send the same.
async fn start_bare(entry: &Entry, xtask: &Path, dir: &Path, service: &Server) -> Result<Server> {
    let targets = || entry.requests.iter().map(|request| request.target);
    let mut answers = Vec::new();
    for target in targets().chain(["/readyz"]) {
        answers.push(fetch(service.addr, target).await?.to_answer(target)?);
    }
    let file = dir.join("answers.json");
    std::fs::write(&file, serde_json::to_vec(&answers)?)?;
    let bare = Server::start(|port| {
        let mut command = Command::new(xtask);
        command.args(["bare", "--port", &port.to_string(), "--answers"]).arg(&file);
        Ok(command)
    })
    .await?;
    for (target, expected) in targets().zip(&answers) {
        let sent = fetch(bare.addr, target).await?;
        let length = fetch(service.addr, target).await?.length();
        let same = sent.to_answer(target)? == *expected && sent.length() == length;
        ensure!(same, "the bare server does not send what the service sends for {target}");
    }
    Ok(bare)
}

/// Loads both servers with one request. Returns how often the service has certainly answered it,
/// and the figures.
async fn compare(
    entry: &Entry,
    request: &Request,
    plan: &Plan,
    service: &Server,
    bare: &Server,
) -> Result<(u64, Vec<Row>)> {
    let mut made = 0;
    let [mut rate, mut cpu_us] = [(); 2].map(|()| [Samples::default(), Samples::default()]);
    let mut ratio = Samples::default();
    for round in 0..=plan.rounds {
        let warm_up = round == 0;
        let time = if warm_up { plan.warm_up } else { plan.round };
        let mut spent_us = [0.0; 2];
        for (side, server) in [service, bare].into_iter().enumerate() {
            let before = server.cpu_time()?;
            let load = load::closed(server.addr, request.target, time).await?;
            let spent = server.cpu_time()?.saturating_sub(before);
            spent_us[side] = spent.as_secs_f64() * 1e6 / f64::from(load.requests);
            if side == 0 {
                made += u64::from(load.requests);
            }
            if !warm_up {
                rate[side].push(load.rate);
                cpu_us[side].push(spent_us[side]);
            }
        }
        if !warm_up {
            ratio.push(spent_us[0] / spent_us[1]);
        }
    }
    // A round number, so that runs can be compared.
    let half_of_peak = (rate[0].median() / 2000.0).floor() * 1000.0;
    let fixed_rate = half_of_peak.clamp(1000.0, MOST_AT_A_RATE);
    let at_rate =
        |server: &Server| load::at_rate(server.addr, request.target, fixed_rate, plan.latency);
    let latency = [at_rate(service).await?, at_rate(bare).await?];
    made += u64::from(latency[0].requests);

    let row = |figure: &str| Row::new(entry.service, request.target, figure);
    let both = |figure: &str, [service, bare]: [String; 2]| row(figure).service(service).bare(bare);
    let ratio_row = row("CPU a request, ratio").service(ratio.with_range(""));
    let rows = vec![
        both("requests a second", rate.each_ref().map(|rate| format!("{:.0}", rate.median()))),
        both("CPU a request", cpu_us.each_ref().map(|cpu| cpu.with_range(" µs"))),
        match request.cpu_ratio {
            Some(most) => ratio_row.target(format!("≤ {most:.2}"), ratio.median() <= most),
            None => ratio_row,
        },
        both(
            &format!("p50, p90, p99, p99.9 at {fixed_rate}/s"),
            latency.map(|load| load.latency.to_string()),
        ),
    ];
    Ok((made, rows))
}

/// The sum of a counter's values over its series, which are lines of Prometheus' text format.
fn sum_of_series(metrics: &str, wanted: impl Fn(&str) -> bool) -> Result<u64> {
    let values = metrics.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        wanted(series).then_some(value)
    });
    values.map(|value| value.parse::<u64>().with_context(|| format!("{value} is no count"))).sum()
}

fn count_lines(log: &Path, part: &str) -> Result<u64> {
    let mut count = 0;
    for line in BufReader::new(File::open(log)?).lines() {
        count += u64::from(line?.contains(part));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::sum_of_series;

    #[test]
    fn a_counter_is_summed_over_the_wanted_series_alone() {
        let metrics = "# HELP a_total 9\na_total{x=\"1\"} 2\na_total{x=\"2\"} 3\nb_total 4\n";
        let sum = |part| sum_of_series(metrics, |series| series.contains(part)).unwrap();
        assert_eq!([sum("a_total"), sum("x=\"2\""), sum("missing")], [5, 3, 0]);
    }
}
