//! What the export of spans costs, beside the same service without it.

use anyhow::Result;

use crate::bare::Answer;
use crate::environment::Environment;
use crate::load;
use crate::report::{Row, Samples};
use crate::request::Request;

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
        let script = environment.path("request.lua");
        let mut cpu_us = [(); 4].map(|()| Samples::default());
        let mut ratios = [(); 3].map(|()| Samples::default());
        for round in 0..=environment.plan.rounds {
            let mut spent_us = [0.0; 4];
            for (server, spent) in servers.iter().zip(&mut spent_us) {
                let (request, time) = (&self.request, environment.plan.round);
                *spent =
                    load::closed(server, request, &script, load::CONNECTIONS, time).await?.cpu_us;
            }
            // The first fills caches.
            if round > 0 {
                for (samples, spent) in cpu_us.iter_mut().zip(spent_us) {
                    samples.push(spent);
                }
                let [without, one_percent, all, away] = spent_us;
                for (samples, ratio) in
                    ratios.iter_mut().zip([one_percent / without, all / without, away / all])
                {
                    samples.push(ratio);
                }
            }
        }
        for server in servers {
            server.stop().await?;
        }
        let row = |figure: &str| Row::new(self.request.target, &format!("spans: {figure}"));
        let [without, one_percent, all, away] = cpu_us.map(|samples| samples.with_range(" µs"));
        let [one_percent_ratio, all_ratio, away_ratio] = ratios;
        Ok(vec![
            row("CPU a request, no export").service(without),
            row("CPU a request, 1 % recorded").service(one_percent),
            row("1 %, ratio").ratio_at_most(&one_percent_ratio, Some(self.one_percent_ratio)),
            row("CPU a request, all recorded").service(all),
            row("all, ratio").ratio_at_most(&all_ratio, Some(self.all_ratio)),
            row("CPU a request, all recorded, no collector").service(away),
            row("no collector, ratio to all").ratio_at_most(&away_ratio, Some(self.away_ratio)),
        ])
    }
}
