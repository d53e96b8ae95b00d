//! The data, in a collection of MongoDB.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use common::secrets::Refusal;
use common::telemetry::spans::fail;
use mongodb::bson::{DateTime, Document, doc};
use mongodb::error::{Error as MongoError, ErrorKind, IndexedWriteError, InsertManyError};
use mongodb::options::IndexOptions;
use mongodb::{Collection, Database, IndexModel};
use nosql::mongodb::{Connection, TIMEOUT};
use tokio::time::timeout;
use tracing::Instrument as _;

use super::entry::{Entry, created};
use crate::config::Config;
use crate::error::Error;
use crate::spans::operation;
use crate::store::interface::Status;

/// Up to how many data are counted one by one.
const EXACT_COUNT: u64 = 100_000;

/// The server's error code for a key that a unique index has already.
const DUPLICATE_KEY: i32 = 11000;

/// The server's error code for an index that exists with another expiry.
const INDEX_OPTIONS_CONFLICT: i32 = 85;

/// Error codes that tell of the server's state and not of a document
/// (<https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml>).
const SERVER_STATE_CODES: [i32; 26] = [
    6, 7, 13, 39, 50, 63, 64, 89, 91, 100, 112, 134, 189, 202, 262, 279, 317, 365, 8000, 9001,
    10107, 11600, 11601, 11602, 13435, 14031,
];

/// The collection `entropy`: documents `{_id, seq, data, created}`, where `_id` is the job's id. A datum that
/// is deleted leaves `{_id, created, deleted}` for `TOMBSTONE_TTL`.
#[derive(Clone)]
pub(super) struct Entropy(Arc<Inner>);

struct Inner {
    connection: Connection,
    tombstone_ttl: Duration,
}

/// What became of the documents of an insert.
pub(super) struct Outcome {
    /// How many were stored already.
    pub(super) repeated: usize,
    /// The indexes of those that the server refused, and why.
    pub(super) refused: Vec<(usize, String)>,
}

impl Entropy {
    /// Connects when it is first needed.
    pub(super) fn open(url: &str, config: &Config) -> Self {
        let database = &config.stores.mongo_db_name;
        Self(Arc::new(Inner {
            connection: Connection::open(url, database, env!("CARGO_PKG_NAME")),
            tombstone_ttl: config.jobs.tombstone_ttl,
        }))
    }

    /// Whether the server answers, and has the indexes.
    pub(super) async fn check(&self) -> Result<(), Error> {
        self.0.connection.check(|database| self.create_indexes(database)).await
    }

    /// Switches to what a new URL leads to, unless that is another server and this one `holds_data`.
    pub(super) async fn switch_to(
        &self,
        url: &str,
        holds_data: impl Future<Output = Result<bool, Error>> + Send,
    ) -> Result<(), Refusal> {
        let prepare = |database| self.create_indexes(database);
        self.0.connection.switch_to(url, prepare, holds_data).await
    }

    /// Stores data, in the order of their numbers above `offset`. A document that has the same id already is left as it is.
    ///
    /// # Errors
    /// When it is not certain for each of them whether it is stored by a majority.
    pub(super) async fn insert(&self, jobs: &[Entry], offset: i64) -> Result<Outcome, Error> {
        let collection = self.collection().await?;
        let documents = jobs.iter().map(|job| {
            let created = DateTime::from_millis(job.created);
            doc! { "_id": &job.id, "seq": offset + job.seq, "data": &job.data, "created": created }
        });
        let insert = collection.insert_many(documents).ordered(false).into_future();
        let insert = async {
            match insert.await {
                Ok(_) => Ok(Vec::new()),
                Err(error) => write_errors(error),
            }
        };
        let errors = self.run("insert", insert).await?;
        // Another index that an operator has created may be unique as well.
        let duplicates = errors.iter().filter(|error| error.code == DUPLICATE_KEY);
        let known = self.known(duplicates.map(|error| jobs[error.index].id.as_str())).await?;
        let (repeated, refused): (Vec<_>, Vec<_>) = errors.into_iter().partition(|error| {
            error.code == DUPLICATE_KEY && known.contains(&jobs[error.index].id)
        });
        let refused = refused.into_iter().map(|error| (error.index, error.message)).collect();
        Ok(Outcome { repeated: repeated.len(), refused })
    }

    /// The highest `seq` that is stored, and the time in the latest id of data and tombstones; each 0 if
    /// there is none.
    pub(super) async fn latest(&self) -> Result<(i64, i64), Error> {
        let collection = self.collection().await?;
        let seq = collection.find_one(stored()).sort(doc! { "seq": -1 });
        let seq = self.run("find", seq.projection(doc! { "seq": 1 })).await?;
        // Ids are texts, but their times have as many digits until the year 2286.
        let id = collection.find_one(doc! {}).sort(doc! { "_id": -1 });
        let id = self.run("find", id.projection(doc! { "_id": 1 })).await?;
        let seq = seq.and_then(|found| found.get_i64("seq").ok());
        let time = id.and_then(|found| created(found.get_str("_id").ok()?));
        Ok((seq.unwrap_or_default(), time.unwrap_or_default()))
    }

    /// Those of these jobs that are stored or deleted.
    async fn known<'a>(
        &self,
        ids: impl Iterator<Item = &'a str>,
    ) -> Result<HashSet<String>, Error> {
        let ids: Vec<&str> = ids.collect();
        if ids.is_empty() {
            return Ok(HashSet::new());
        }
        let collection = self.collection().await?;
        let find = collection.distinct("_id", doc! { "_id": { "$in": ids } });
        let found = self.run("distinct", find).await?;
        Ok(found.iter().filter_map(|id| id.as_str().map(str::to_owned)).collect())
    }

    /// The oldest datum.
    pub(super) async fn oldest(&self) -> Result<Option<String>, Error> {
        let collection = self.collection().await?;
        let find = collection.find_one(stored()).sort(doc! { "seq": 1 });
        let found = self.run("find", find).await?;
        Ok(found.and_then(|found| found.get_str("data").ok().map(str::to_owned)))
    }

    /// Makes a tombstone of the oldest datum; returns whether there was one.
    pub(super) async fn delete_oldest(&self) -> Result<bool, Error> {
        let tombstone = doc! {
            "$unset": { "seq": "", "data": "" },
            // By the server's clock, as its expiry is.
            "$currentDate": { "deleted": true },
        };
        let collection = self.collection().await?;
        let update = collection
            .find_one_and_update(stored(), tombstone)
            .sort(doc! { "seq": 1 })
            .projection(doc! { "_id": 1 });
        Ok(self.run("findAndModify", update).await?.is_some())
    }

    /// Whether a job's datum is stored or deleted; none if neither.
    pub(super) async fn status(&self, id: &str) -> Result<Option<Status>, Error> {
        let collection = self.collection().await?;
        let find = collection.find_one(doc! { "_id": id }).projection(doc! { "deleted": 1 });
        let found = self.run("find", find).await?;
        let status = |found: Document| {
            if found.contains_key("deleted") { Status::Deleted } else { Status::Stored }
        };
        Ok(found.map(status))
    }

    /// How many data there are; an estimate, with tombstones, if they are many.
    pub(super) async fn count(&self) -> Result<u64, Error> {
        let collection = self.collection().await?;
        let estimate = self.run("count", collection.estimated_document_count()).await?;
        if estimate > EXACT_COUNT {
            return Ok(estimate);
        }
        self.run("aggregate", collection.count_documents(stored())).await
    }

    /// Runs an operation on the collection, in bounded time.
    async fn run<T>(
        &self,
        name: &'static str,
        run: impl IntoFuture<Output = Result<T, MongoError>, IntoFuture: Send> + Send,
    ) -> Result<T, Error> {
        let span = operation("mongodb", name, Some("entropy"));
        let outcome = timeout(TIMEOUT, run.into_future()).instrument(span.clone()).await;
        match &outcome {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => match code_of(error) {
                Some(code) => {
                    span.record("db.response.status_code", code.to_string());
                    fail(&span, &code.to_string());
                }
                None => fail(&span, "_OTHER"),
            },
            Err(_) => fail(&span, "timeout"),
        }
        Ok(outcome??)
    }

    async fn collection(&self) -> Result<Collection<Document>, Error> {
        Ok(self.0.connection.database().await?.collection("entropy"))
    }

    async fn create_indexes(&self, database: Database) -> Result<(), Error> {
        let collection: Collection<Document> = database.collection("entropy");
        // Sparse: tombstones, which have no `seq`, are not in it.
        let by_order = IndexOptions::builder().sparse(true).build();
        let by_order = IndexModel::builder().keys(doc! { "seq": 1 }).options(by_order).build();
        timeout(TIMEOUT, collection.create_index(by_order)).await??;
        let expiry = IndexOptions::builder().expire_after(self.0.tombstone_ttl).build();
        let expiry = IndexModel::builder().keys(doc! { "deleted": 1 }).options(expiry).build();
        match timeout(TIMEOUT, collection.create_index(expiry)).await? {
            Err(error) if code_of(&error) == Some(INDEX_OPTIONS_CONFLICT) => {
                let seconds = i64::try_from(self.0.tombstone_ttl.as_secs()).unwrap_or(i64::MAX);
                let index = doc! { "keyPattern": { "deleted": 1 }, "expireAfterSeconds": seconds };
                let change = database.run_command(doc! { "collMod": "entropy", "index": index });
                timeout(TIMEOUT, change).await??;
            }
            made => drop(made?),
        }
        Ok(())
    }
}

/// Matches data. Tombstones have no `seq`.
fn stored() -> Document {
    doc! { "seq": { "$gt": 0 } }
}

/// The errors that are about single documents, if it is certain that all others are stored.
fn write_errors(error: MongoError) -> Result<Vec<IndexedWriteError>, MongoError> {
    match &*error.kind {
        ErrorKind::InsertMany(InsertManyError {
            write_errors: Some(errors),
            write_concern_error: None,
            ..
        }) if errors.iter().all(|error| !SERVER_STATE_CODES.contains(&error.code)) => {
            Ok(errors.clone())
        }
        _ => Err(error),
    }
}

fn code_of(error: &MongoError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}
