//! What was looked up, in SQL. Each statement takes any number of rows, so it is prepared once for a connection.

mod counts;

use std::cmp::Reverse;
use std::net::{IpAddr, Ipv4Addr};

use chrono::{DateTime, SecondsFormat, Utc};
use common::ServiceContext;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use serde::Serialize;
use server::StartError;
use sqlx::types::Json;
use storage::{Batch, Connection, Database, Execution, Item, Operation, Schema, Writer, either};

use crate::config::Config;
use crate::domain::Domain;
use crate::error::Error;
use crate::resolver::Addresses;

/// A lookup that was saved.
#[derive(Clone, Debug)]
pub(crate) struct Query {
    /// Later queries have greater ones.
    pub(crate) id: i64,
    pub(crate) lookup: Lookup,
}

/// A successful lookup.
#[derive(Clone, Debug)]
pub(crate) struct Lookup {
    pub(crate) domain: Domain,
    /// Who asked.
    pub(crate) client_ip: IpAddr,
    /// When, to the millisecond.
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) addresses: Addresses,
}

impl Item for Lookup {
    fn heap_bytes(&self) -> usize {
        self.domain.as_str().len() + size_of_val(&*self.addresses)
    }
}

/// The tables.
pub static SCHEMA: Schema = Schema {
    sqlite: sqlx::migrate!("migrations/sqlite"),
    postgres: sqlx::migrate!("migrations/postgres"),
};

/// The saved queries; clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    database: Database,
    writer: Writer<Lookup, i64>,
    reading: Operation,
}

impl Store {
    /// Connects in the background, and keeps the counts that `/metrics` shows.
    ///
    /// # Errors
    /// When the database's URL is of no use.
    pub(crate) fn start(config: &Config, context: &ServiceContext) -> Result<Self, StartError> {
        let database = Database::start(&config.database, &SCHEMA, context)?;
        let batch = Batch { operation: "save_queries", execution: Execution::Script, write: save };
        counts::keep(&database, config.lookups.metrics_top_domains, context);
        Ok(Self {
            writer: Writer::start(&database, context, batch),
            reading: database.operation("read_history"),
            database,
        })
    }

    /// Saves a lookup with its addresses, and returns its id; what waits at the same time is saved in the same
    /// transaction.
    ///
    /// # Errors
    /// When the database is unavailable or refuses.
    pub(crate) async fn save(&self, lookup: Lookup) -> Result<i64, Error> {
        Ok(self.writer.write(lookup).await?)
    }

    /// The latest queries with an id below `below`, newest first, at most `limit`.
    ///
    /// # Errors
    /// When the database is unavailable or refuses.
    pub(crate) async fn history(&self, below: i64, limit: i64) -> Result<Vec<Query>, Error> {
        let read = async |connection: Connection<'_>| {
            let sql = match connection {
                Connection::Sqlite(_) => include_str!("store/sqlite/history.sql"),
                Connection::Postgres(_) => include_str!("store/postgres/history.sql"),
            };
            let Json(mut rows): Json<Vec<Row>> = either!(connection, |connection| {
                sqlx::query_scalar(sql).bind(below).bind(limit).fetch_one(connection).await
            })?;
            // An aggregate promises no order.
            rows.sort_unstable_by_key(|(id, ..)| Reverse(*id));
            rows.into_iter().map(query).collect()
        };
        Ok(self.database.read(&self.reading, read).await?)
    }
}

/// A query as it is read, in JSON.
type Row = (i64, String, String, String, Vec<Ipv4Addr>);

fn query((id, domain, client_ip, created_at, mut addresses): Row) -> sqlx::Result<Query> {
    let client_ip = client_ip.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    let created_at = created_at.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
    addresses.sort_unstable();
    let (domain, addresses) = (Domain::saved(domain), addresses.into());
    Ok(Query { id, lookup: Lookup { domain, client_ip, created_at, addresses } })
}

/// A lookup as a parameter of the statements.
#[derive(Serialize)]
struct Parameter<'a> {
    domain: &'a Domain,
    client_ip: IpAddr,
    created_at: String,
    addresses: &'a [Ipv4Addr],
}

/// Saves lookups within a transaction, and returns their ids.
fn save<'a>(
    connection: Connection<'a>,
    lookups: &'a [Lookup],
) -> BoxFuture<'a, sqlx::Result<Vec<i64>>> {
    async move {
        let item = |lookup: &'a Lookup| Parameter {
            domain: &lookup.domain,
            client_ip: lookup.client_ip,
            created_at: lookup.created_at.to_rfc3339_opts(SecondsFormat::Millis, true),
            addresses: &lookup.addresses,
        };
        let items = Json(lookups.iter().map(item).collect::<Vec<_>>());
        match connection {
            Connection::Postgres(connection) => {
                let save = sqlx::query_scalar(include_str!("store/postgres/save.sql"));
                save.bind(&items).fetch_all(connection).await
            }
            Connection::Sqlite(connection) => {
                let save = sqlx::query_scalar(include_str!("store/sqlite/save.sql"));
                // All statements run to their end; one of them returns a row.
                let last: Option<i64> = save.bind(&items).fetch_all(connection).await?.pop();
                let next = last.map_or(1, |last| last + 1);
                Ok((next - i64::try_from(lookups.len()).unwrap_or_default()..next).collect())
            }
        }
    }
    .boxed()
}

#[cfg(test)]
mod tests;
