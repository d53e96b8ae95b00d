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

/// Makes a test of each trial, which says what [`trial`] is to be given.
macro_rules! trials {
    ($(
        $name:ident: $service:literal, [$($kind:ident),+], stop $stop:literal, port $port:literal;
    )+) => { $(
        #[tokio::test]
        async fn $name() -> anyhow::Result<()> {
            trial($service, &[$(Kind::$kind),+], $stop, $port).await
        }
    )+ };
}

trials! {
    every_crowd_at_once_is_borne: "multivac",
        [HalfHeads, HalfBodies, SlowReaders, InFlight, Pipelining, EndlessForms],
        stop false, port 2_000;
    a_stop_among_half_heads_ends_well: "sre-kata", [HalfHeads], stop true, port 8_000;
    slow_handshakes_are_borne: "sre-kata", [SlowHandshakes], stop false, port 11_000;
    slow_readers_of_a_gibibyte_are_borne: "backend-api", [SlowReaders], stop false, port 14_000;
    slow_readers_of_all_log_files_are_borne: "data-api", [SlowReaders], stop false, port 17_000;
    a_thousand_requests_in_flight_are_all_answered: "data-api", [InFlight], stop false, port 20_000;
}
