//! `bench`: every service against a bare actix-web server that sends the same bytes, and what else is measured of
//! it. What that is stands in the [`catalogue`](crate::catalogue).

use std::{
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use tokio::time::sleep;
use tooling::NameServer;
use tooling::workspace::{self, Workspace};

use crate::catalogue::{CATALOGUE, Scenario};
use crate::environment::Environment;
use crate::load;
use crate::metrics::sum_of_series;
use crate::plan::{FULL, PROFILE, Plan, QUICK};
use crate::report::{self, Row, Samples};
use crate::request::Request;
use crate::server::Server;
use crate::workloads::NAMES;

/// Requests a second up to which a latency is the server's: a small machine that runs the load
/// generator too then has time to spare.
const MAX_FIXED_RATE: f64 = 20_000.0;

/// Builds the binaries as images have them, measures, prints a table. Needs Linux, wrk and oha.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Short rounds: to see whether it works, not to quote from.
    #[arg(long)]
    quick: bool,
    /// Measure this service alone, or what stands under this heading.
    #[arg(long, value_name = "SERVICE", value_parser = names())]
    only: Option<String>,
    /// Leave docs/performance.md as it is.
    #[arg(long)]
    no_write: bool,
}

fn names() -> PossibleValuesParser {
    let mut names: Vec<_> = CATALOGUE
        .iter()
        .flat_map(|scenario| [scenario.subject.service, scenario.subject.name])
        .collect();
    names.sort_unstable();
    names.dedup();
    PossibleValuesParser::new(names)
}

/// Measures all services, or one.
///
/// # Errors
/// When a tool is missing, the build fails, a service does not do what the measurement rests on,
/// or, after the tables have been printed and written, when a target is missed.
pub(crate) async fn run(args: Args) -> Result<()> {
    let plan = if args.quick { QUICK } else { FULL };
    let workspace = Workspace::load()?;
    let wanted = |scenario: &&Scenario| {
        args.only
            .as_ref()
            .is_none_or(|only| only == scenario.subject.service || only == scenario.subject.name)
    };
    let mut build = workspace::cargo();
    build.args(["build", "--profile", PROFILE, "--workspace"]);
    if args.only.is_some()
        && let Some(scenario) = CATALOGUE.iter().find(wanted)
    {
        build.args(["--bin", scenario.subject.service, "--bin", env!("CARGO_BIN_NAME")]);
    }
    ensure!(build.status()?.success(), "the build failed");
    let name_server = NameServer::start(NAMES).await?;
    let (mut sections, mut missed) = (Vec::new(), 0);
    for scenario in CATALOGUE.iter().filter(wanted) {
        let conditions = report::conditions(&plan).await?;
        let measured = measure(scenario, &plan, &workspace.target, &name_server).await;
        let rows = measured.with_context(|| format!("cannot measure {}", scenario.subject.name))?;
        let section = report::section(scenario.subject.name, &rows, &conditions);
        print!("{section}");
        sections.push(section);
        missed += rows.iter().filter(|row| row.missed()).count();
    }
    if !args.no_write {
        report::write(
            &workspace.root,
            &sections,
            CATALOGUE.iter().map(|scenario| scenario.subject.name),
        )?;
    }
    match missed {
        0 => Ok(()),
        missed => bail!("{missed} of the targets missed"),
    }
}

async fn measure(
    scenario: &Scenario,
    plan: &Plan,
    cargo_target: &Path,
    name_server: &NameServer,
) -> Result<Vec<Row>> {
    let environment =
        async || Environment::new(&scenario.subject, plan, cargo_target, name_server).await;
    let mut rows = measure_requests(scenario, &environment().await?).await?;
    for workload in scenario.workloads {
        rows.extend(workload.measure(&environment().await?).await?);
    }
    Ok(rows)
}

async fn measure_requests(scenario: &Scenario, environment: &Environment<'_>) -> Result<Vec<Row>> {
    let Scenario { requests, first, .. } = scenario;
    let limits = &scenario.subject.limits;
    let binary_kib = u32::try_from(std::fs::metadata(environment.binary())?.len() / 1024)?;
    let mut ready_ms = Samples::default();
    for _ in 0..environment.plan.starts {
        let server = environment.service(&[]).await?;
        ready_ms.push(server.ready_after.as_secs_f64() * 1e3);
        server.stop().await?;
    }

    let service = environment.service(&[]).await?;
    sleep(Duration::from_secs(1)).await;
    let idle_mib = service.resident_mib()?;
    for request in *first {
        let answer = service.fetch(request).await?;
        ensure!(answer.status().is_some_and(|status| status < 300), "{} fails", request.target);
    }
    let bare = start_bare(environment, requests, &service).await?;
    let (mut rows, mut made) = (Vec::new(), Vec::new());
    for request in *requests {
        let (requests, figures) = compare(environment, request, &service, &bare).await?;
        made.push(requests);
        rows.extend(figures);
    }
    let peak_mib = service.peak_mib()?;
    sleep(Duration::from_secs(10)).await;
    let settled_mib = service.resident_mib()?;
    let metrics = service.metrics().await?;
    // All lines are in the file once the service has stopped.
    service.stop().await?;

    for (request, made) in requests.iter().zip(made) {
        if request.logged {
            rows.push(log_lines(environment, request, made, &metrics)?);
        }
    }
    let dropped = sum_of_series(&metrics, |series| series.contains("dropped"))?;
    let row = |figure| Row::new("", figure);
    rows.extend([
        row("log lines dropped").service(dropped.to_string()).target("0".to_owned(), dropped == 0),
        row("memory, idle").at_most(idle_mib, limits.idle_mib, " MiB"),
        row("memory, peak under load").service(format!("{peak_mib:.1} MiB")),
        row("memory, 10 s after").at_most(settled_mib, idle_mib * limits.settled_ratio, " MiB"),
        row("exec to ready").at_most(ready_ms.median(), limits.ready_ms, " ms"),
        row("stripped binary").at_most(f64::from(binary_kib) / 1024.0, limits.binary_mib, " MiB"),
    ]);
    Ok(rows)
}

/// Compares the lines in the access log with the requests that the service has counted, and those with
/// the answers that were seen.
fn log_lines(
    environment: &Environment<'_>,
    request: &Request,
    made: u64,
    metrics: &str,
) -> Result<Row> {
    let route = format!("\"{}\"", request.path());
    let counted = sum_of_series(metrics, |series| {
        series.starts_with("http_server_request_duration_seconds_count") && series.contains(&route)
    })?;
    ensure!(counted >= made, "{made} requests were answered, {counted} counted");
    let lines = count_lines(&environment.log(), &format!("{}\"", request.target))?;
    Ok(Row::new(request.target, "lines in the access log")
        .service(lines.to_string())
        .target(format!("= {counted} requests"), lines == counted))
}

/// Starts the bare server with what the service answers, and makes sure that both send the same.
async fn start_bare(
    environment: &Environment<'_>,
    requests: &[Request],
    service: &Server,
) -> Result<Server> {
    let mut answers = vec![service.ready().await?.to_answer(&Request::get("/readyz"))?];
    for request in requests {
        answers.push(service.fetch(request).await?.to_answer(request)?);
    }
    let bare = environment.bare(&answers).await?;
    for (request, expected) in requests.iter().zip(&answers[1..]) {
        let sent = bare.fetch(request).await?;
        let length = service.fetch(request).await?.length();
        let same = sent.to_answer(request)? == *expected && sent.length() == length;
        ensure!(same, "the bare server does not send what the service sends: {}", request.target);
    }
    Ok(bare)
}

/// Loads both servers with one request. Returns how often the service has certainly answered it,
/// and the figures.
async fn compare(
    environment: &Environment<'_>,
    request: &Request,
    service: &Server,
    bare: &Server,
) -> Result<(u64, Vec<Row>)> {
    let (plan, script) = (environment.plan, environment.path("request.lua"));
    let mut made = 0;
    let [mut rate, mut cpu_us] = [(); 2].map(|()| [Samples::default(), Samples::default()]);
    let mut ratio = Samples::default();
    for round in 0..=plan.rounds {
        let warm_up = round == 0;
        let time = if warm_up { plan.warm_up } else { plan.round };
        let mut spent_us = [0.0; 2];
        for (side, server) in [service, bare].into_iter().enumerate() {
            let load = load::closed(server, request, &script, load::CONNECTIONS, time).await?;
            spent_us[side] = load.cpu_us;
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
    let fixed_rate = half_of_peak.clamp(1000.0, MAX_FIXED_RATE);
    let at_rate = |server| load::at_rate(server, request, fixed_rate, plan.latency);
    let latency = [at_rate(service).await?, at_rate(bare).await?];
    made += u64::from(latency[0].requests);

    let row = |figure: &str| Row::new(request.target, figure);
    let both = |figure: &str, [service, bare]: [String; 2]| row(figure).service(service).bare(bare);
    let rows = vec![
        both("requests a second", rate.each_ref().map(|rate| format!("{:.0}", rate.median()))),
        both("CPU a request", cpu_us.each_ref().map(|cpu| cpu.with_range(" µs"))),
        row("CPU a request, ratio").ratio_at_most(&ratio, request.cpu_ratio),
        both(
            &format!("p50, p90, p99, p99.9 at {fixed_rate}/s"),
            latency.map(|load| load.latency.to_string()),
        ),
    ];
    Ok((made, rows))
}

fn count_lines(log: &Path, part: &str) -> Result<u64> {
    let mut count = 0;
    for line in BufReader::new(File::open(log)?).lines() {
        count += u64::from(line?.contains(part));
    }
    Ok(count)
}
