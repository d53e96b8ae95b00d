//! What the export of spans costs, beside the same service without it.

use anyhow::Result;

use crate::bare::Answer;
use crate::environment::Environment;
use crate::report::Row;
use crate::request::Request;
use crate::rounds::{Ratio, Rounds};

/// A request with its span exported or not.
pub(crate) struct Tracing {
    pub(crate) request: Request,
    /// Most CPU time a request of which one in a hundred is recorded, as a multiple of that without export.
    pub(crate) one_percent_ratio: f64,
    /// The same where each is recorded.
    pub(crate) all_ratio: f64,
    /// The same where the collector is away, as a multiple of that where it takes all.
    pub(crate) away_ratio: f64,
}

impl Tracing {
    /// # Errors
    /// When an answer is no 2xx.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let answer = |method: &str, path: &str| Answer {
            method: method.to_owned(),
            path: path.to_owned(),
            status: 200,
            headers: Vec::new(),
            body: String::new(),
        };
        let collector =
            environment.bare(&[answer("GET", "/readyz"), answer("POST", "/v1/traces")]).await?;
        let endpoint = format!("http://{}", collector.addr);
        let export = ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str());
        let ratio = ("OTEL_TRACES_SAMPLER", "traceidratio");
        let servers = [
            environment.service(&[]).await?,
            environment.service(&[export, ratio, ("OTEL_TRACES_SAMPLER_ARG", "0.01")]).await?,
            environment.service(&[export]).await?,
            // The port of the discard protocol, where nobody listens.
            environment.service(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")]).await?,
        ];
        let ratios: [Ratio<4>; 3] = [
            |[without, one_percent, _, _]| one_percent.cpu_us / without.cpu_us,
            |[without, _, all, _]| all.cpu_us / without.cpu_us,
            |[_, _, all, away]| away.cpu_us / all.cpu_us,
        ];
        let rounds = Rounds::of_request(
            environment,
            &ratios,
            &self.request,
            servers.each_ref().map(|server| &server.endpoint),
        )
        .await?;
        for server in servers {
            server.stop().await?;
        }
        let row = |figure: &str| Row::new(self.request.target, &format!("spans: {figure}"));
        let [without, one_percent, all, away] =
            rounds.cpu_us().map(|samples| samples.with_interval(" µs"));
        let ratio = |figure: &str, ratio: Ratio<4>, limit| {
            row(figure).samples_at_most(&rounds.samples(ratio), Some(limit), "")
        };
        Ok(vec![
            row("CPU a request, no export").service(without),
            row("CPU a request, 1 % recorded").service(one_percent),
            ratio("1 %, ratio", ratios[0], self.one_percent_ratio),
            row("CPU a request, all recorded").service(all),
            ratio("all, ratio", ratios[1], self.all_ratio),
            row("CPU a request, all recorded, no collector").service(away),
            ratio("no collector, ratio to all", ratios[2], self.away_ratio),
        ])
    }
}
