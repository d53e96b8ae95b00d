//! A tenth of `make torture`: what must hold on any machine, however busy it is.

use std::path::Path;
use std::time::Duration;

use anyhow::Context as _;
use torture::crowd::Kind;
use torture::process::{Certificate, Environment};
use torture::services::SERVICES;
use torture::trial::{Scale, Trial};
use torture::upstream;

const SCALE: Scale = Scale { divisor: 10, stay: Duration::from_secs(5) };

async fn trial(service: &str, kinds: &[Kind], stop: bool, first_port: u16) -> anyhow::Result<()> {
    let service = SERVICES.iter().find(|found| found.name == service).context("no service")?;
    let upstream = upstream::start()?;
    let crowd = Path::new(env!("CARGO_BIN_EXE_torture")).to_owned();
    // The services' binaries are beside this one.
    let binaries = crowd.parent().context("a folder")?.to_owned();
    let environment = Environment::new(binaries, crowd, upstream.address);
    let certificate = Certificate::generate()?;
    let trial = Trial { service, kinds: kinds.to_owned(), stop, first_port };

    let report = trial.run(&environment, SCALE, &certificate).await?.context("nothing to try")?;

    anyhow::ensure!(report.broken.is_empty(), "{}: {report:#?}", trial.name());
    Ok(())
}

#[tokio::test]
async fn every_crowd_at_once_is_borne() -> anyhow::Result<()> {
    let kinds = [
        Kind::HalfHeads,
        Kind::HalfBodies,
        Kind::SlowReaders,
        Kind::InFlight,
        Kind::Pipelining,
        Kind::EndlessForms,
    ];
    trial("multivac", &kinds, false, 2_000).await
}

#[tokio::test]
async fn a_stop_among_half_heads_ends_well() -> anyhow::Result<()> {
    trial("sre-kata", &[Kind::HalfHeads], true, 8_000).await
}

#[tokio::test]
async fn slow_handshakes_are_borne() -> anyhow::Result<()> {
    trial("sre-kata", &[Kind::SlowHandshakes], false, 11_000).await
}

#[tokio::test]
async fn slow_readers_of_a_gibibyte_are_borne() -> anyhow::Result<()> {
    trial("backend-api", &[Kind::SlowReaders], false, 14_000).await
}

#[tokio::test]
async fn slow_readers_of_all_log_files_are_borne() -> anyhow::Result<()> {
    trial("data-api", &[Kind::SlowReaders], false, 17_000).await
}

#[tokio::test]
async fn a_thousand_requests_in_flight_are_all_answered() -> anyhow::Result<()> {
    trial("data-api", &[Kind::InFlight], false, 20_000).await
}
