//! How many queries were saved for which names: the same on every replica, because the database knows.
//!
//! Each batch of queries leaves deltas. In the background one replica at a time folds them into the counts, and each
//! reads the top of these for its metrics. So no scrape asks the database, and no lookup waits for the row of its name.

use std::fmt;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use common::{ServiceContext, causes};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use storage::{Connection, Database, Operation, either};
use tokio::sync::watch;
use tokio::time::sleep;

/// How long between two refreshes. What another replica folds is seen with the refresh after that, so what is shown is
/// at most twice as old.
const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// How many deltas are folded in one transaction, so that none takes long.
const FOLD: i64 = 10_000;

/// A name, how many queries were saved for it, and how many addresses with them.
type Count = (String, i64, i64);

/// What was read last.
#[derive(Debug)]
struct Counts(watch::Receiver<Vec<Count>>);

/// Folds and reads in the background, and shows the names with the most queries, and the sum of the others.
pub(super) fn keep(database: &Database, top: NonZeroUsize, context: &ServiceContext) {
    let (counts, shown) = watch::channel(Vec::new());
    context.metrics.add_collector(Counts(shown));
    let (folding, reading) = (database.operation("fold_counts"), database.operation("read_counts"));
    let (database, top) = (database.clone(), i64::try_from(top.get()).unwrap_or(i64::MAX));
    context.tasks.spawn(async move {
        let mut failing = false;
        loop {
            let read = refresh(&database, &folding, &reading, top).await;
            // That the database is unavailable is in the log already.
            if let Err(error) = &read
                && !failing
                && !matches!(error, storage::Error::Unavailable(_))
            {
                tracing::error!(error = causes(error), "The counts cannot be kept");
            }
            failing = read.is_err();
            let behind = matches!(read, Ok((_, true)));
            if let Ok((read, _)) = read {
                counts.send_replace(read);
            }
            if !behind {
                sleep(REFRESH_INTERVAL).await;
            }
        }
    });
}

/// Folds what there is, as far as it gets until the next refresh is due, and reads the counts. Says whether there is more.
async fn refresh(
    database: &Database,
    folding: &Operation,
    reading: &Operation,
    top: i64,
) -> Result<(Vec<Count>, bool), storage::Error> {
    let due = Instant::now() + REFRESH_INTERVAL;
    let mut behind = true;
    while behind && Instant::now() < due {
        behind = database.write(folding, fold).await? == FOLD;
    }
    let read = async |connection: Connection<'_>| {
        let sql = include_str!("top.sql");
        either!(connection, |connection| sqlx::query_as(sql).bind(top).fetch_all(connection).await)
    };
    Ok((database.read(reading, read).await?, behind))
}

/// Moves some deltas into the counts; returns how many, none where another replica is about it.
async fn fold(connection: Connection<'_>) -> sqlx::Result<i64> {
    match connection {
        Connection::Postgres(connection) => {
            let fold = sqlx::query_scalar(include_str!("postgres/fold.sql"));
            fold.bind(FOLD).fetch_one(connection).await
        }
        Connection::Sqlite(connection) => {
            let fold = sqlx::query(include_str!("sqlite/fold.sql"));
            fold.bind(FOLD).execute(&mut *connection).await?;
            sqlx::query_scalar("SELECT changes()").fetch_one(connection).await
        }
    }
}

impl Collector for Counts {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = self.0.borrow();
        let mut write = |name, help, value: fn(&Count) -> i64| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counts.iter().try_for_each(|count| {
                let labels = [("domain", count.0.as_str())];
                ConstCounter::new(value(count).unsigned_abs())
                    .encode(family.encode_family(&labels)?)
            })
        };
        let help = "Saved queries by domain, over all replicas and restarts.";
        write("queries", help, |count| count.1)?;
        let help = "Addresses saved with the queries of a domain, over all replicas and restarts.";
        write("stakefish_addresses_saved", help, |count| count.2)
    }
}
