//! A collection of MongoDB, used in bounded time.

use std::sync::Arc;
use std::time::Duration;

use ::mongodb::bson::{Document, doc};
use ::mongodb::error::{Error as MongoError, ErrorKind, IndexedWriteError, InsertManyError};
use ::mongodb::options::IndexOptions;
use ::mongodb::{Database, IndexModel};
use common::secrets::Refusal;
use common::telemetry::spans::fail;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::mongodb::{Connection, Error, TIMEOUT};
use crate::spans;

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

/// The documents of a collection.
pub type Documents = ::mongodb::Collection<Document>;

/// An index of a collection.
#[derive(Clone, Copy, Debug)]
pub enum Index {
    /// Of the documents that have this field.
    Sparse(&'static str),
    /// By which documents expire so long after the time in this field.
    Expiry(&'static str, Duration),
}

/// A collection in a database whose URL may change; clones share its connection.
///
/// Each operation is bounded by [`TIMEOUT`] and has a span of its name.
#[derive(Clone, Debug)]
pub struct Collection {
    connection: Connection,
    name: &'static str,
    indexes: Arc<[Index]>,
}

impl Collection {
    /// The collection of this name, whose indexes are created when the server is first checked.
    #[must_use]
    pub fn new(connection: Connection, name: &'static str, indexes: &[Index]) -> Self {
        Self { connection, name, indexes: indexes.into() }
    }

    /// Whether the server answers, and has the indexes.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), Error> {
        self.connection.check(|database| self.create_indexes(database)).await
    }

    /// Switches to what a new URL leads to, as [`Connection::switch_to`] does.
    ///
    /// # Errors
    /// Why the old connections stay.
    pub async fn switch_to<E: Into<Refusal>>(
        &self,
        url: &str,
        holds_data: impl Future<Output = Result<bool, E>>,
    ) -> Result<(), Refusal> {
        self.connection.switch_to(url, |database| self.create_indexes(database), holds_data).await
    }

    /// Runs an operation.
    ///
    /// # Errors
    /// When it fails, or takes longer than [`TIMEOUT`].
    pub async fn run<T>(
        &self,
        name: &'static str,
        operation: impl AsyncFnOnce(Documents) -> Result<T, MongoError>,
    ) -> Result<T, Error> {
        let documents = self.connection.database().await?.collection(self.name);
        let span = spans::operation("mongodb", name, Some(self.name));
        let outcome = timeout(TIMEOUT, operation(documents)).instrument(span.clone()).await;
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

    /// Inserts documents, in any order. One whose `_id` is stored already is left as it is.
    ///
    /// # Errors
    /// When it is not certain for each of them whether it is stored.
    pub async fn insert_new(&self, new: Vec<Document>) -> Result<Inserted, Error> {
        let ids: Vec<_> = new.iter().map(|document| document.get("_id").cloned()).collect();
        let insert = async |documents: Documents| {
            let inserted = documents.insert_many(new).ordered(false).await;
            inserted.map(|_| Vec::new()).or_else(document_errors)
        };
        let errors = self.run("insert", insert).await?;
        let duplicates = errors.iter().filter(|error| error.code == DUPLICATE_KEY);
        let duplicates: Vec<_> = duplicates.filter_map(|error| ids[error.index].clone()).collect();
        let mut known = Vec::new();
        if !duplicates.is_empty() {
            // Another index that an operator has created may be unique as well.
            let among = doc! { "_id": { "$in": duplicates } };
            let find = async |documents: Documents| documents.distinct("_id", among).await;
            known = self.run("distinct", find).await?;
        }
        let (repeated, refused): (Vec<_>, Vec<_>) = errors.into_iter().partition(|error| {
            error.code == DUPLICATE_KEY
                && ids[error.index].as_ref().is_some_and(|id| known.contains(id))
        });
        let refused = refused.into_iter().map(|error| (error.index, error.message)).collect();
        Ok(Inserted { repeated: repeated.len(), refused })
    }

    /// Creates the indexes that are missing, and changes the expiry of one that has another.
    async fn create_indexes(&self, database: Database) -> Result<(), Error> {
        let documents: Documents = database.collection(self.name);
        for index in &*self.indexes {
            let (field, after) = match *index {
                Index::Sparse(field) => (field, None),
                Index::Expiry(field, after) => (field, Some(after)),
            };
            let mut options = IndexOptions::default();
            options.expire_after = after;
            options.sparse = after.is_none().then_some(true);
            let model = IndexModel::builder().keys(doc! { field: 1 }).options(options).build();
            match (timeout(TIMEOUT, documents.create_index(model)).await?, after) {
                (Err(error), Some(after)) if code_of(&error) == Some(INDEX_OPTIONS_CONFLICT) => {
                    let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
                    let index = doc! { "keyPattern": { field: 1 }, "expireAfterSeconds": seconds };
                    let change = doc! { "collMod": self.name, "index": index };
                    timeout(TIMEOUT, database.run_command(change)).await??;
                }
                (created, _) => drop(created?),
            }
        }
        Ok(())
    }
}

/// What became of the documents of an insert.
#[derive(Debug)]
pub struct Inserted {
    /// How many were stored already.
    pub repeated: usize,
    /// The indexes of those that the server refused, and why.
    pub refused: Vec<(usize, String)>,
}

/// The errors of an unordered insert that are about single documents; the error itself where it is not certain that all
/// others are stored.
fn document_errors(error: MongoError) -> Result<Vec<IndexedWriteError>, MongoError> {
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
