//! A table with very many rows: what a request costs, beside the same with few.

use std::str::FromStr as _;

use anyhow::Result;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use super::{
    entries::Request,
    load,
    report::{Row, Samples},
    server::{Server, Stand},
};

/// A table with very many rows.
pub(super) struct Rows {
    pub(super) request: Request,
    /// The variable that names the database.
    pub(super) variable: &'static str,
    /// How many rows are few.
    pub(super) few: u64,
    /// A statement for SQLite that makes as many rows as its parameter says.
    pub(super) fill: &'static str,
    /// Most CPU time a request, as a multiple of that with few rows.
    pub(super) cpu_ratio: f64,
}

impl Rows {
    /// # Errors
    /// When an answer is no 2xx.
    pub(super) async fn measure(&self, stand: &Stand<'_>) -> Result<Vec<Row>> {
        let many = stand.plan.held_files;
        let servers = [
            self.server(stand, many, "many.db").await?,
            self.server(stand, self.few, "few.db").await?,
        ];
        let script = stand.path("request.lua");
        let mut ratio = Samples::default();
        let mut cpu_us = [Samples::default(), Samples::default()];
        for round in 0..=stand.plan.rounds {
            let mut spent_us = [0.0; 2];
            for (side, server) in servers.iter().enumerate() {
                let load = load::closed(
                    server,
                    &self.request,
                    &script,
                    load::CONNECTIONS,
                    stand.plan.round,
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
        let row = |figure: &str| Row::new(self.request.target, &format!("{many} rows: {figure}"));
        let [many_us, few_us] = cpu_us.map(|samples| samples.median());
        Ok(vec![
            row(&format!("CPU a request, beside {} rows", self.few))
                .service(format!("{many_us:.2} µs"))
                .bare(format!("{few_us:.2} µs")),
            row("ratio").ratio_at_most(&ratio, Some(self.cpu_ratio)),
        ])
    }

    /// Starts the service on a database with that many rows.
    async fn server(&self, stand: &Stand<'_>, rows: u64, file: &str) -> Result<Server> {
        let url = format!("sqlite://{file}");
        let env = [(self.variable, url.as_str())];
        // It makes the tables.
        stand.service(&env).await?.stop().await?;
        let url = format!("sqlite://{}", stand.path(file).display());
        let mut connection =
            SqliteConnection::connect_with(&SqliteConnectOptions::from_str(&url)?).await?;
        let rows = i64::try_from(rows)?;
        sqlx::query(self.fill).bind(rows).execute(&mut connection).await?;
        connection.close().await?;
        stand.service(&env).await
    }
}
