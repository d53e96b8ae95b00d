//! Another server on this machine beside the services: a reader compares with what they have.

use anyhow::{Context as _, Result};

use crate::catalogue::Scenario;
use crate::compare::compare;
use crate::environment::Bench;
use crate::report::Row;
use crate::request::Request;
use crate::server::Endpoint;

/// A server that somebody else has started, and what is asked of it.
pub(crate) struct Peer(Endpoint);

impl Peer {
    /// What is asked is the URL as it stands.
    ///
    /// # Errors
    /// When there is no such process.
    pub(crate) fn new(url: String, pid: u32) -> Result<Self> {
        let endpoint = Endpoint::new(url, pid);
        Ok(Self(endpoint.with_context(|| format!("there is no process {pid} of yours"))?))
    }

    /// The figures of a scenario's first request that needs no body, and in the column of the bare server
    /// those of the peer.
    ///
    /// # Errors
    /// When an answer of either is missing or is no success.
    pub(crate) async fn compare(
        &self,
        bench: &Bench<'_>,
        scenario: &'static Scenario,
    ) -> Result<Vec<Row>> {
        let environment = bench.environment(&scenario.subject).await?;
        let service = environment.service(&[]).await?;
        for request in scenario.first {
            service.fetch(request).await?;
        }
        let is_get = |request: &&Request| request.method == "GET";
        let request = scenario.requests.iter().find(is_get).context("no plain request")?;
        let mut rows = compare(&environment, request, &service, &self.0).await?;
        let memory = |figure: &str, of: fn(&Endpoint) -> Result<f64>| {
            let [service, peer] = [of(&service.endpoint)?, of(&self.0)?];
            let row = Row::new("", figure).service(format!("{service:.1} MiB"));
            Ok::<_, anyhow::Error>(row.bare(format!("{peer:.1} MiB")))
        };
        rows.push(memory("memory, after the load", Endpoint::resident_mib)?);
        rows.push(memory("memory, peak", Endpoint::peak_mib)?);
        service.stop().await?;
        Ok(rows)
    }
}
