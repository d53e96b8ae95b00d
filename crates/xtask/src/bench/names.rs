//! One name that everybody asks for, beside as many names as there are connections, and more.

use anyhow::{Context as _, Result};
use test_support::{Durability, Postgres};

use super::{
    entries::Request,
    load::{self, Closed, MANY_CONNECTIONS},
    report::{Row, Samples},
    server::{Server, Stand},
};

/// How many different names are asked for.
pub(super) const NAMES: usize = 1000;

/// One name, beside many.
pub(super) struct Names {
    /// Path and query of a lookup, up to the name.
    pub(super) target: &'static str,
    /// The variable that names the database.
    pub(super) variable: &'static str,
    /// Fewest lookups of the one name a second, as a share of those of the many, and the other way round.
    pub(super) rate_ratio: f64,
}

impl Names {
    /// # Errors
    /// When an answer is no 2xx, or PostgreSQL cannot be had.
    pub(super) async fn measure(&self, stand: &Stand<'_>) -> Result<Vec<Row>> {
        let sqlite = self.rows(stand, "SQLite", "sqlite://names.db").await?;
        let missing = "PostgreSQL comes with `apt install postgresql`";
        let postgres = Postgres::start_own(Durability::Durable).await.context(missing)?;
        let postgres = self.rows(stand, "PostgreSQL", postgres.url()).await?;
        Ok(sqlite.into_iter().chain(postgres).collect())
    }

    async fn rows(&self, stand: &Stand<'_>, database: &str, url: &str) -> Result<[Row; 2]> {
        let server = stand.service(&[(self.variable, url)]).await?;
        let [mut one, mut many, mut ratio] = [(); 3].map(|()| Samples::default());
        for round in 0..=stand.plan.rounds {
            let rates = [
                self.load(stand, &server, 1).await?.rate,
                self.load(stand, &server, NAMES).await?.rate,
            ];
            // The first fills caches.
            if round > 0 {
                one.push(rates[0]);
                many.push(rates[1]);
                ratio.push(rates[0] / rates[1]);
            }
        }
        server.stop().await?;
        let what = |figure: &str| Row::new(self.target, &format!("{database}: {figure}"));
        let (least, most) = (self.rate_ratio, 1.0 / self.rate_ratio);
        Ok([
            what(&format!("lookups a second of one name, beside {NAMES} names"))
                .service(format!("{:.0}", one.median()))
                .bare(format!("{:.0}", many.median())),
            what("ratio").service(ratio.with_range("")).target(
                format!("{least:.2} to {most:.2}"),
                (least..=most).contains(&ratio.median()),
            ),
        ])
    }

    /// Asks for so many names in turn.
    async fn load(&self, stand: &Stand<'_>, server: &Server, names: usize) -> Result<Closed> {
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
        let (request, script) = (Request::get("/"), stand.path("names.lua"));
        load::scripted(server, &request, Some(lua), &script, MANY_CONNECTIONS, stand.plan.round)
            .await
    }
}
