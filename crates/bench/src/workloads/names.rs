//! One name that everybody asks for, beside as many names as there are connections, and more.

use std::time::Duration;

use anyhow::{Context as _, Result};
use test_support::{Durability, Postgres};

use crate::environment::Environment;
use crate::load::{self, Closed, MANY_CONNECTIONS};
use crate::report::Row;
use crate::request::Request;
use crate::rounds::{Ratio, Rounds};
use crate::server::Server;

/// How many different names are asked for.
pub(crate) const NAMES: usize = 1000;

/// One name, beside many.
pub(crate) struct Names {
    /// Path and query of a lookup, up to the name.
    pub(crate) target: &'static str,
    /// The variable that names the database.
    pub(crate) variable: &'static str,
    /// Fewest lookups of the one name a second, as a share of those of the many, and the other way round.
    pub(crate) rate_ratio: f64,
}

impl Names {
    /// # Errors
    /// When an answer is no 2xx, or PostgreSQL cannot be had.
    pub(crate) async fn measure(&self, environment: &Environment<'_>) -> Result<Vec<Row>> {
        let sqlite = self.rows(environment, "SQLite", "sqlite://names.db").await?;
        let missing = "PostgreSQL comes with `apt install postgresql`";
        let postgres = Postgres::start_own(Durability::Durable).await.context(missing)?;
        let postgres = self.rows(environment, "PostgreSQL", postgres.url()).await?;
        Ok(sqlite.into_iter().chain(postgres).collect())
    }

    async fn rows(
        &self,
        environment: &Environment<'_>,
        database: &str,
        url: &str,
    ) -> Result<[Row; 2]> {
        let server = environment.service(&[(self.variable, url)]).await?;
        let ratio: Ratio<2> = |[one_name, all_names]| one_name.rate / all_names.rate;
        let rounds = Rounds::run(environment.plan, &[ratio], async |side, time| {
            self.load(environment, &server, [1, NAMES][side], time).await
        })
        .await?;
        server.stop().await?;
        let what = |figure: &str| Row::new(self.target, &format!("{database}: {figure}"));
        let [one_name, all_names] = rounds.rates();
        let ratio = rounds.samples(ratio);
        let (min, max) = (self.rate_ratio, 1.0 / self.rate_ratio);
        Ok([
            what(&format!("lookups a second of one name, beside {NAMES} names"))
                .service(format!("{one_name:.0}"))
                .bare(format!("{all_names:.0}")),
            what("ratio")
                .service(ratio.with_interval(""))
                .target(format!("{min:.2} to {max:.2}"), (min..=max).contains(&ratio.median())),
        ])
    }

    /// Asks for so many names in turn.
    async fn load(
        &self,
        environment: &Environment<'_>,
        server: &Server,
        names: usize,
        time: Duration,
    ) -> Result<Closed> {
        let lua = format!(
            "local requests, last = {{}}, 0\n\
             init = function()\n\
             \x20 for number = 0, {names} - 1 do\n\
             \x20   requests[number] = wrk.format('GET', '{}' .. number .. '.example.com')\n\
             \x20 end\n\
             end\n\
             request = function()\n\
             \x20 last = (last + 1) % {names}\n\
             \x20 return requests[last]\n\
             end\n",
            self.target
        );
        let (request, script) = (Request::get("/"), environment.path("names.lua"));
        load::scripted(&server.endpoint, &request, Some(lua), &script, MANY_CONNECTIONS, time).await
    }
}
