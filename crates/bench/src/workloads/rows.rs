//! A table with very many rows: what a request costs, beside the same with a small one.

use std::str::FromStr as _;

use anyhow::Result;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::environment::Environment;
use crate::load;
use crate::report::{Row, Samples};
use crate::request::Request;
use crate::server::Server;

/// A table with very many rows.
pub(crate) struct Rows {
    pub(crate) request: Request,
    /// The variable that names the database.
    pub(crate) variable: &'static str,
    /// How many rows the table has that it is compared with.
    pub(crate) baseline: u64,
    /// A statement for SQLite that makes as many rows as its parameter says.
    pub(crate) fill: &'static str,
    /// Most CPU time a request, as a multiple of that with those.
    pub(crate) cpu_ratio: f64,
}

impl Rows {
    /// # Errors
    /// When an answer is no 2xx.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let rows = environment.plan.held_files;
        let servers = [
            self.server(environment, rows, "large.db").await?,
            self.server(environment, self.baseline, "baseline.db").await?,
        ];
        let script = environment.path("request.lua");
        let mut ratio = Samples::default();
        let mut cpu_us = [Samples::default(), Samples::default()];
        for round in 0..=environment.plan.rounds {
            let mut spent_us = [0.0; 2];
            for (side, server) in servers.iter().enumerate() {
                let load = load::closed(
                    server,
                    &self.request,
                    &script,
                    load::CONNECTIONS,
                    environment.plan.round,
                )
                .await?;
                spent_us[side] = load.cpu_us;
            }
            // The first fills caches.
            if round > 0 {
                ratio.push(spent_us[0] / spent_us[1]);
                for (samples, spent) in cpu_us.iter_mut().zip(spent_us) {
                    samples.push(spent);
                }
            }
        }
        for server in servers {
            server.stop().await?;
        }
        let row = |figure: &str| Row::new(self.request.target, &format!("{rows} rows: {figure}"));
        let [large_us, baseline_us] = cpu_us.map(|samples| samples.median());
        Ok(vec![
            row(&format!("CPU a request, beside {} rows", self.baseline))
                .service(format!("{large_us:.2} µs"))
                .bare(format!("{baseline_us:.2} µs")),
            row("ratio").ratio_at_most(&ratio, Some(self.cpu_ratio)),
        ])
    }

    /// Starts the service on a database with that many rows.
    async fn server(&self, environment: &Environment<'_>, rows: u64, file: &str) -> Result<Server> {
        let url = format!("sqlite://{file}");
        let env = [(self.variable, url.as_str())];
        // It makes the tables.
        environment.service(&env).await?.stop().await?;
        let url = format!("sqlite://{}", environment.path(file).display());
        let mut connection =
            SqliteConnection::connect_with(&SqliteConnectOptions::from_str(&url)?).await?;
        let rows = i64::try_from(rows)?;
        sqlx::query(self.fill).bind(rows).execute(&mut connection).await?;
        connection.close().await?;
        environment.service(&env).await
    }
}
