//! A table with very many rows: what a request costs, beside the same with a small one.

use std::{path::PathBuf, str::FromStr as _};

use anyhow::Result;
use sqlx::{Connection as _, SqliteConnection, sqlite::SqliteConnectOptions};

use crate::environment::Environment;
use crate::report::Row;
use crate::request::Request;
use crate::rounds::{Ratio, Rounds};
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
    /// Most CPU time a request in microseconds; asked only where it is given.
    pub(crate) cpu_us: Option<f64>,
}

impl Rows {
    /// # Errors
    /// When an answer is no 2xx.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let held = environment.plan.held_files;
        let servers = [
            self.server(environment, held, "large.db").await?,
            self.server(environment, self.baseline, "baseline.db").await?,
        ];
        let ratio: Ratio<2> = |[large, baseline]| large.cpu_us / baseline.cpu_us;
        let rounds = Rounds::of_request(
            environment,
            &[ratio],
            &self.request,
            servers.each_ref().map(|server| &server.endpoint),
        )
        .await?;
        for server in servers {
            server.stop().await?;
        }
        let row = |figure: &str| Row::new(self.request.target, &format!("{held} rows: {figure}"));
        let [large_us, baseline_us] = rounds.cpu_us();
        Ok(vec![
            row(&format!("CPU a request, beside {} rows", self.baseline))
                .samples_at_most(&large_us, self.cpu_us, " µs")
                .bare(format!("{:.2} µs", baseline_us.median())),
            row("ratio").samples_at_most(&rounds.samples(ratio), Some(self.cpu_ratio), ""),
        ])
    }

    /// Starts the service on a database with that many rows.
    async fn server(&self, environment: &Environment<'_>, rows: u64, name: &str) -> Result<Server> {
        let file = filled(environment, self.variable, self.fill, rows, name).await?;
        environment.service(&[(self.variable, &format!("sqlite://{}", file.display()))]).await
    }
}

/// A new database of the service's with so many rows, which `fill` makes. Returns its file.
pub(super) async fn filled(
    environment: &Environment<'_>,
    variable: &str,
    fill: &'static str,
    rows: u64,
    name: &str,
) -> Result<PathBuf> {
    let path = environment.path(name);
    let url = format!("sqlite://{}", path.display());
    // It makes the tables.
    environment.service(&[(variable, &url)]).await?.stop().await?;
    let mut connection =
        SqliteConnection::connect_with(&SqliteConnectOptions::from_str(&url)?).await?;
    sqlx::query(fill).bind(i64::try_from(rows)?).execute(&mut connection).await?;
    connection.close().await?;
    Ok(path)
}
