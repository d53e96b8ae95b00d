//! `make torture`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand};
use torture::crowd::{self, Kind};
use torture::process::{Certificate, Environment};
use torture::services::SERVICES;
use torture::trial::{Report, Scale, Trial};
use torture::upstream;

/// The first port of a crowd, with room for the largest below the ports that the system gives away.
const FIRST_PORT: u16 = 2_000;

const KINDS: [Kind; 7] = [
    Kind::HalfHeads,
    Kind::HalfBodies,
    Kind::SlowReaders,
    Kind::SlowHandshakes,
    Kind::InFlight,
    Kind::Pipelining,
    Kind::EndlessForms,
];

/// Throws crowds of clients at the services, and says what held.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Internal>,
    /// Where the services' binaries are.
    #[arg(long, default_value = "target/dist")]
    binaries: PathBuf,
    /// Only these services.
    #[arg(long = "service")]
    services: Vec<String>,
    /// Only these crowds, one by one.
    #[arg(long = "crowd")]
    kinds: Vec<Kind>,
    /// What part of the full size crowds have: 10 for a tenth.
    #[arg(long, default_value_t = 1)]
    divisor: usize,
    /// How long a crowd stays, in seconds.
    #[arg(long, default_value_t = 10)]
    stay: u64,
}

#[derive(Subcommand)]
enum Internal {
    /// Be a crowd: the order comes on stdin.
    #[command(hide = true)]
    Crowd,
}

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    if arguments.command.is_some() {
        let outcome = tokio::task::spawn_blocking(crowd::run_as_process).await??;
        say(&serde_json::to_string(&outcome)?);
        return Ok(ExitCode::SUCCESS);
    }
    let upstream = upstream::start()?;
    let binaries = std::path::absolute(arguments.binaries)?;
    let environment = Environment::new(binaries, std::env::current_exe()?, upstream.address);
    if !environment.cgroups {
        say(
            "No cgroup can be made here (that takes root, or a delegated one): the limit is MEMORY_LIMIT alone.",
        );
    }
    let certificate = Certificate::generate()?;
    let scale =
        Scale { divisor: arguments.divisor.max(1), stay: Duration::from_secs(arguments.stay) };
    let mut met = true;
    say(&row([
        "SERVICE",
        "CROWD",
        "ANSWERED",
        "REFUSED",
        "ENDED",
        "HELD",
        "IDLE/PEAK/AFTER MiB",
        "P99 ms",
        "PROBE ms",
        "",
    ]));
    for service in &SERVICES {
        if !arguments.services.is_empty()
            && !arguments.services.iter().any(|name| name == service.name)
        {
            continue;
        }
        for trial in trials(service, &arguments.kinds) {
            let report = trial.run(&environment, scale, &certificate).await;
            let report = report.with_context(|| format!("{}: {}", service.name, trial.name()));
            match report {
                Ok(None) => {}
                Ok(Some(report)) => {
                    met &= report.broken.is_empty() && report.slow.is_empty();
                    say(&show(&trial, &report));
                }
                Err(error) => {
                    met = false;
                    say(&format!("{error:#}"));
                }
            }
        }
    }
    say(if met { "all rows met" } else { "NOT ALL ROWS MET" });
    Ok(if met { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Each crowd alone, all but handshakes at once, and each again with a stop in the middle.
fn trials(service: &'static torture::services::Service, only: &[Kind]) -> Vec<Trial> {
    let plain: Vec<_> = KINDS.into_iter().filter(|kind| *kind != Kind::SlowHandshakes).collect();
    let kinds = if only.is_empty() { &KINDS[..] } else { only };
    let mut crowds: Vec<_> = kinds.iter().map(|kind| vec![*kind]).collect();
    if only.is_empty() {
        crowds.push(plain);
    }
    let trial = |stop| {
        move |kinds: &Vec<Kind>| Trial {
            service,
            kinds: kinds.clone(),
            stop,
            first_port: FIRST_PORT,
        }
    };
    crowds.iter().map(trial(false)).chain(crowds.iter().map(trial(true))).collect()
}

fn show(trial: &Trial, report: &Report) -> String {
    let crowd = report.outcome;
    let [idle, peak, after] = report.memory;
    let (memory, p99, probe) = match report.stopped_after {
        Some(time) => {
            (format!("stopped after {:.1} s", time.as_secs_f64()), "-".into(), "-".into())
        }
        None => (
            format!("{idle:.0} / {peak:.0} / {after:.0}"),
            format!("{:.0}", report.p99.as_secs_f64() * 1000.0),
            format!("{:.0}", report.probe.as_secs_f64() * 1000.0),
        ),
    };
    let problems = [&report.broken[..], &report.slow[..]].concat();
    let met = if problems.is_empty() { "met".into() } else { problems.join("; ") };
    row([
        trial.service.name,
        &trial.name(),
        &crowd.answered.to_string(),
        &(crowd.refused + crowd.other).to_string(),
        &(crowd.ended + crowd.unconnected).to_string(),
        &crowd.held.to_string(),
        &memory,
        &p99,
        &probe,
        &met,
    ])
}

fn row(cells: [&str; 10]) -> String {
    const WIDTHS: [usize; 10] = [12, 24, 9, 8, 8, 8, 20, 8, 9, 0];
    let cells = cells.iter().zip(WIDTHS).map(|(cell, width)| format!("{cell:width$}"));
    cells.collect::<Vec<_>>().join(" ").trim_end().to_owned()
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn say(line: &str) {
    println!("{line}");
}
