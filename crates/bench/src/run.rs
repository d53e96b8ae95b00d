//! `bench`: every service against a bare actix-web server that sends the same bytes, and what else is measured of
//! it. What that is stands in the [`catalogue`](crate::catalogue).

use std::{
    collections::BTreeSet,
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
    time::Duration,
};

use anyhow::{Context, Result, bail, ensure};
use clap::builder::PossibleValuesParser;
use tokio::time::{sleep, timeout};
use tooling::NameServer;
use tooling::workspace::{self, Workspace};

use crate::catalogue::{CATALOGUE, PLOTS, Scenario};
use crate::compare::compare;
use crate::environment::{Bench, Environment};
use crate::metrics::sum_of_series;
use crate::peer::Peer;
use crate::plan::{FULL, PROFILE, Plan, QUICK};
use crate::plot::Curve;
use crate::report::{self, Cost, Row, Section};
use crate::request::Request;
use crate::results::Results;
use crate::samples::Samples;
use crate::server::Server;
use crate::workloads::{Growth, NAMES};

/// Builds the binaries as images have them, measures, prints a table. Needs Linux, wrk and oha.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Short rounds: to see whether it works, not to quote from.
    #[arg(long)]
    quick: bool,
    /// Measure this service alone, or what stands under this heading.
    #[arg(long, value_name = "SERVICE", value_parser = names())]
    only: Option<String>,
    /// Go on after an interruption: what is measured at this commit is not measured again.
    #[arg(long)]
    resume: bool,
    /// Leave docs/performance.md as it is.
    #[arg(long)]
    no_write: bool,
    /// Compare the services with this URL instead, of any server that runs on this machine.
    #[arg(long, value_name = "URL", requires = "pid")]
    peer: Option<String>,
    /// The process that serves it.
    #[arg(long, requires = "peer")]
    pid: Option<u32>,
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
/// When a tool is missing, the build fails, or, after the tables have been printed and written, when a target
/// is missed or a step has failed.
pub(crate) async fn run(args: Args) -> Result<()> {
    let plan = if args.quick { QUICK } else { FULL };
    let workspace = Workspace::load()?;
    let wanted = |scenario: &&Scenario| {
        args.only
            .as_ref()
            .is_none_or(|only| only == scenario.subject.service || only == scenario.subject.name)
    };
    let mut build = workspace::cargo();
    build.args(["build", "--profile", PROFILE, "--workspace", "--bin", env!("CARGO_BIN_NAME")]);
    let services: BTreeSet<_> = CATALOGUE.iter().map(|scenario| scenario.subject.service).collect();
    build.args(services.iter().flat_map(|service| ["--bin", service]));
    ensure!(build.status()?.success(), "the build failed");
    let name_server = NameServer::start(NAMES).await?;
    let bench = Bench { plan: &plan, cargo_target: &workspace.target, name_server: &name_server };
    let results = Results::of_checkout(&workspace.root, &workspace.target, plan.name).await?;

    if let (Some(url), Some(pid)) = (args.peer, args.pid) {
        let peer = Peer::new(url, pid)?;
        for scenario in CATALOGUE.iter().filter(wanted) {
            let rows = peer.compare(&bench, scenario).await?;
            let conditions = report::conditions(&plan, &results.commit).await?;
            println!("### {}\n\n{}\n{conditions}\n", scenario.subject.name, report::table(&rows));
        }
        return Ok(());
    }

    let mut missed = 0;
    for scenario in CATALOGUE.iter().filter(wanted) {
        let name = scenario.subject.name;
        let section = match results.load::<Section>(name) {
            Some(section) if args.resume => section,
            _ => {
                let conditions = report::conditions(&plan, &results.commit).await?;
                let rows = measure(scenario, &bench).await;
                let section = Section { name: name.to_owned(), rows, conditions };
                results.save(name, &section)?;
                section
            }
        };
        print!("{}", section.to_markdown());
        missed += section.missed();
    }
    if args.only.is_none() {
        for growth in PLOTS.iter().flat_map(|plot| plot.growths) {
            if !args.resume || results.load::<Curve>(growth.name).is_none() {
                match grow(growth, &bench).await {
                    Ok(curve) => results.save(growth.name, &curve)?,
                    Err(error) => {
                        eprintln!("{}: {error:#}", growth.name);
                        missed += 1;
                    }
                }
            }
        }
    }
    if !args.no_write && plan.name == FULL.name {
        let names = CATALOGUE.iter().map(|scenario| scenario.subject.name);
        match results.write(names, PLOTS)? {
            None => eprintln!("docs/performance.md has the figures of commit {}", results.commit),
            Some(reason) => eprintln!("docs/performance.md stays as it is: {reason}"),
        }
    }
    match missed {
        0 => Ok(()),
        missed => bail!("{missed} of the targets missed"),
    }
}

/// A step, for no longer than the plan allows: one that hangs is one that failed.
async fn step<T>(plan: &Plan, step: impl Future<Output = Result<T>>) -> Result<T> {
    timeout(plan.step, step).await.with_context(|| format!("not done after {:?}", plan.step))?
}

async fn grow(growth: &'static Growth, bench: &Bench<'_>) -> Result<Curve> {
    eprintln!("how cost grows: {}", growth.name);
    let find = |scenario: &&Scenario| scenario.subject.name == growth.subject;
    let scenario = CATALOGUE.iter().find(find).context("no such scenario")?;
    let points = step(bench.plan, async {
        growth.measure(&bench.environment(&scenario.subject).await?).await
    });
    Ok(Curve { name: growth.name.to_owned(), points: points.await? })
}

/// All figures of a scenario. A step that fails is a row that says so, and the next one goes on.
async fn measure(scenario: &'static Scenario, bench: &Bench<'_>) -> Vec<Row> {
    let requests =
        async { measure_requests(scenario, &bench.environment(&scenario.subject).await?).await };
    let name = "requests";
    let requests = step(bench.plan, requests).await;
    let mut rows = requests.unwrap_or_else(|error| vec![Row::failed(name, &error)]);
    for workload in scenario.workloads {
        let figures =
            async { workload.measure(&bench.environment(&scenario.subject).await?).await };
        let figures = step(bench.plan, figures).await;
        rows.extend(figures.unwrap_or_else(|error| vec![Row::failed(workload.name(), &error)]));
    }
    rows
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
    let idle_mib = service.endpoint.resident_mib()?;
    for request in *first {
        let answer = service.fetch(request).await?;
        ensure!(answer.status().is_some_and(|status| status < 300), "{} fails", request.target);
    }
    let bare = start_bare(environment, requests, &service).await?;
    let mut rows = Vec::new();
    for request in *requests {
        rows.extend(compare(environment, request, &service, &bare.endpoint).await?);
    }
    let peak_mib = service.endpoint.peak_mib()?;
    sleep(Duration::from_secs(10)).await;
    let settled_mib = service.endpoint.resident_mib()?;
    let metrics = service.metrics().await?;
    // All lines are in the file once the service has stopped.
    service.stop().await?;

    for request in *requests {
        if request.logged {
            rows.push(log_lines(environment, request, &metrics)?);
        }
    }
    let dropped = sum_of_series(&metrics, |series| series.contains("dropped"))?;
    let row = |figure| Row::new("", figure);
    rows.extend([
        row("log lines dropped").service(dropped.to_string()).target("0".to_owned(), dropped == 0),
        row("memory, idle").at_most(idle_mib, limits.idle_mib, " MiB"),
        row("memory, peak under load")
            .service(format!("{peak_mib:.1} MiB"))
            .costs(Cost::PeakMib(peak_mib)),
        row("memory, 10 s after").at_most(settled_mib, idle_mib * limits.settled_ratio, " MiB"),
        row("exec to ready").samples_at_most(&ready_ms, Some(limits.ready_ms), " ms"),
        row("stripped binary").at_most(f64::from(binary_kib) / 1024.0, limits.binary_mib, " MiB"),
    ]);
    Ok(rows)
}

/// Compares the lines in the access log with the requests that the service has counted.
fn log_lines(environment: &Environment<'_>, request: &Request, metrics: &str) -> Result<Row> {
    let route = format!("\"{}\"", request.path());
    let counted = sum_of_series(metrics, |series| {
        series.starts_with("http_server_request_duration_seconds_count") && series.contains(&route)
    })?;
    ensure!(counted > 0, "no request to {} was counted", request.target);
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

fn count_lines(log: &Path, part: &str) -> Result<u64> {
    let mut count = 0;
    for line in BufReader::new(File::open(log)?).lines() {
        count += u64::from(line?.contains(part));
    }
    Ok(count)
}
