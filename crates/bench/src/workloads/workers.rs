//! Two workers beside one: what they share must not make a request dearer. The bare server, whose workers share
//! nothing, tells what part of that is the machine's.

use std::thread::available_parallelism;

use anyhow::Result;

use crate::environment::Environment;
use crate::report::Row;
use crate::request::Request;
use crate::rounds::{Ratio, Rounds};

/// Cores from which two workers and the load do not get into each other's way.
const CORES: usize = 4;

/// A request, answered by one worker and by two.
pub(crate) struct Workers {
    pub(crate) request: Request,
    /// Most CPU time a request with two, as a multiple of that with one.
    pub(crate) cpu_ratio: f64,
    /// Fewest requests a second with two, as a multiple of those with one; asked from four cores up.
    pub(crate) rate_ratio: f64,
}

impl Workers {
    /// # Errors
    /// When an answer is no 2xx.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let one = environment.service(&[("WORKERS", "1")]).await?;
        let answers = [
            one.ready().await?.to_answer(&Request::get("/readyz"))?,
            one.fetch(&self.request).await?.to_answer(&self.request)?,
        ];
        let servers = [
            environment.service(&[("WORKERS", "2")]).await?,
            one,
            environment.bare_with_workers(&answers, 2).await?,
            environment.bare_with_workers(&answers, 1).await?,
        ];
        let cpu: Ratio<4> = |[two, one, ..]| two.cpu_us / one.cpu_us;
        let bare_cpu: Ratio<4> = |[_, _, two, one]| two.cpu_us / one.cpu_us;
        let rate: Ratio<4> = |[two, one, ..]| two.rate / one.rate;
        let bare_rate: Ratio<4> = |[_, _, two, one]| two.rate / one.rate;
        let rounds = Rounds::of_request(
            environment,
            &[cpu, bare_cpu],
            &self.request,
            servers.each_ref().map(|server| &server.endpoint),
        )
        .await?;
        let [two, one, ..] = servers;
        two.stop().await?;
        one.stop().await?;
        let row = |figure: &str| Row::new(self.request.target, &format!("two workers: {figure}"));
        let [two, one, ..] = rounds.cpu_us().map(|cpu| cpu.with_interval(" µs"));
        let least = (available_parallelism()?.get() >= CORES).then_some(self.rate_ratio);
        let bare = |ratio: Ratio<4>| rounds.samples(ratio).with_interval("");
        Ok(vec![
            row("CPU a request, beside one").service(two).bare(one),
            row("CPU a request, ratio")
                .samples_at_most(&rounds.samples(cpu), Some(self.cpu_ratio), "")
                .bare(bare(bare_cpu)),
            row("requests a second, ratio")
                .samples_at_least(&rounds.samples(rate), least, "")
                .bare(bare(bare_rate)),
        ])
    }
}
