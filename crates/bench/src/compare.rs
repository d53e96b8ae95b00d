//! A service beside another server, by one request.

use anyhow::Result;

use crate::environment::Environment;
use crate::load;
use crate::report::{Cost, Row};
use crate::request::Request;
use crate::rounds::{Ratio, Rounds};
use crate::server::{Endpoint, Server};

/// Requests a second up to which a latency is the server's: a small machine that runs the load
/// generator too then has time to spare.
const MAX_FIXED_RATE: f64 = 20_000.0;

/// Loads the service and another server with one request in turns.
///
/// # Errors
/// When an answer is missing or is no success.
pub(crate) async fn compare(
    environment: &Environment<'_>,
    request: &Request,
    service: &Server,
    other: &Endpoint,
) -> Result<Vec<Row>> {
    let plan = environment.plan;
    let ratio: Ratio<2> = |[service, other]| service.cpu_us / other.cpu_us;
    let sides = [&service.endpoint, other];
    let rounds = Rounds::of_request(environment, &[ratio], request, sides).await?;
    // A round number, so that runs can be compared.
    let half_of_peak = (rounds.rates()[0] / 2000.0).floor() * 1000.0;
    let fixed_rate = half_of_peak.clamp(1000.0, MAX_FIXED_RATE);
    let at_rate = |endpoint| load::at_rate(endpoint, request, fixed_rate, plan.latency);
    let latency = [at_rate(sides[0]).await?, at_rate(sides[1]).await?];

    let row = |figure: &str| Row::new(request.target, figure);
    let both =
        |figure: &str, [service, other]: [String; 2]| row(figure).service(service).bare(other);
    let cpu_us = rounds.cpu_us();
    Ok(vec![
        both("requests a second", rounds.rates().map(|rate| format!("{rate:.0}"))),
        both("CPU a request", cpu_us.each_ref().map(|cpu| cpu.with_interval(" µs")))
            .costs(Cost::CpuUs(cpu_us[0].median())),
        row("CPU a request, ratio").samples_at_most(&rounds.samples(ratio), request.cpu_ratio, ""),
        both(
            &format!("p50, p90, p99, p99.9 at {fixed_rate}/s"),
            latency.map(|load| load.to_string()),
        ),
    ])
}
