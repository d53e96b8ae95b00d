//! One name that everybody asks for, beside as many names as there are connections, and more.

use anyhow::{Context as _, Result};
use test_support::{Durability, Postgres};

use crate::environment::Environment;
use crate::load::{self, Closed, MANY_CONNECTIONS};
use crate::report::{Row, Samples};
use crate::request::Request;
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
        let [mut one_name, mut all_names, mut ratio] = [(); 3].map(|()| Samples::default());
        for round in 0..=environment.plan.rounds {
            let rates = [
                self.load(environment, &server, 1).await?.rate,
                self.load(environment, &server, NAMES).await?.rate,
            ];
            // The first fills caches.
            if round > 0 {
                one_name.push(rates[0]);
                all_names.push(rates[1]);
                ratio.push(rates[0] / rates[1]);
            }
        }
        server.stop().await?;
        let what = |figure: &str| Row::new(self.target, &format!("{database}: {figure}"));
        let (min, max) = (self.rate_ratio, 1.0 / self.rate_ratio);
        Ok([
            what(&format!("lookups a second of one name, beside {NAMES} names"))
                .service(format!("{:.0}", one_name.median()))
                .bare(format!("{:.0}", all_names.median())),
            what("ratio")
                .service(ratio.with_range(""))
                .target(format!("{min:.2} to {max:.2}"), (min..=max).contains(&ratio.median())),
        ])
    }

    /// Asks for so many names in turn.
    async fn load(
        &self,
        environment: &Environment<'_>,
        server: &Server,
        names: usize,
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
        load::scripted(
            server,
            &request,
            Some(lua),
            &script,
            MANY_CONNECTIONS,
            environment.plan.round,
        )
        .await
    }
}
