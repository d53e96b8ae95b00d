//! Operations on a collection of MongoDB, in bounded time.

use std::time::Duration;

use ::mongodb::bson::{Document, doc};
use ::mongodb::error::{Error as MongoError, ErrorKind, IndexedWriteError, InsertManyError};
use ::mongodb::options::IndexOptions;
use ::mongodb::{Collection, Database, IndexModel};
use common::telemetry::spans::fail;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use tracing::Instrument as _;

use crate::mongodb::TIMEOUT;
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

/// Runs an operation on a collection, in bounded time and in a span of its name.
///
/// # Errors
/// When it fails, or takes longer than [`TIMEOUT`].
pub async fn run<T, E: From<MongoError> + From<Elapsed>>(
    name: &'static str,
    collection: &'static str,
    operation: impl Future<Output = Result<T, MongoError>>,
) -> Result<T, E> {
    let span = spans::operation("mongodb", name, Some(collection));
    let outcome = timeout(TIMEOUT, operation).instrument(span.clone()).await;
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

/// What became of the documents of an insert.
#[derive(Debug)]
pub struct Inserted {
    /// How many were stored already.
    pub repeated: usize,
    /// The indexes of those that the server refused, and why.
    pub refused: Vec<(usize, String)>,
}

/// Inserts documents, in any order. One whose `_id` is stored already is left as it is.
///
/// # Errors
/// When it is not certain for each of them whether it is stored.
pub async fn insert_new<E: From<MongoError> + From<Elapsed>>(
    collection: &Collection<Document>,
    name: &'static str,
    documents: Vec<Document>,
) -> Result<Inserted, E> {
    let ids: Vec<_> = documents.iter().map(|document| document.get("_id").cloned()).collect();
    let insert = collection.insert_many(documents).ordered(false).into_future();
    let insert = async {
        match insert.await {
            Ok(_) => Ok(Vec::new()),
            Err(error) => document_errors(error),
        }
    };
    let errors = run::<_, E>("insert", name, insert).await?;
    let duplicates = errors.iter().filter(|error| error.code == DUPLICATE_KEY);
    let duplicates: Vec<_> = duplicates.filter_map(|error| ids[error.index].clone()).collect();
    let mut known = Vec::new();
    if !duplicates.is_empty() {
        // Another index that an operator has created may be unique as well.
        let find = collection.distinct("_id", doc! { "_id": { "$in": duplicates } }).into_future();
        known = run::<_, E>("distinct", name, find).await?;
    }
    let (repeated, refused): (Vec<_>, Vec<_>) = errors.into_iter().partition(|error| {
        error.code == DUPLICATE_KEY
            && ids[error.index].as_ref().is_some_and(|id| known.contains(id))
    });
    let refused = refused.into_iter().map(|error| (error.index, error.message)).collect();
    Ok(Inserted { repeated: repeated.len(), refused })
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

/// Creates an index on the documents that have a field.
///
/// # Errors
/// When that fails, or takes longer than [`TIMEOUT`].
pub async fn create_sparse_index<E: From<MongoError> + From<Elapsed>>(
    collection: &Collection<Document>,
    field: &str,
) -> Result<(), E> {
    let options = IndexOptions::builder().sparse(true).build();
    let index = IndexModel::builder().keys(doc! { field: 1 }).options(options).build();
    timeout(TIMEOUT, collection.create_index(index)).await??;
    Ok(())
}

/// Creates an index by which documents expire so long after the time in a field, or changes its expiry.
///
/// # Errors
/// When that fails, or takes longer than [`TIMEOUT`].
pub async fn create_expiry_index<E: From<MongoError> + From<Elapsed>>(
    database: &Database,
    collection: &Collection<Document>,
    field: &str,
    after: Duration,
) -> Result<(), E> {
    let options = IndexOptions::builder().expire_after(after).build();
    let index = IndexModel::builder().keys(doc! { field: 1 }).options(options).build();
    match timeout(TIMEOUT, collection.create_index(index)).await? {
        Err(error) if code_of(&error) == Some(INDEX_OPTIONS_CONFLICT) => {
            let seconds = i64::try_from(after.as_secs()).unwrap_or(i64::MAX);
            let index = doc! { "keyPattern": { field: 1 }, "expireAfterSeconds": seconds };
            let change =
                database.run_command(doc! { "collMod": collection.name(), "index": index });
            timeout(TIMEOUT, change).await??;
        }
        created => drop(created?),
    }
    Ok(())
}

fn code_of(error: &MongoError) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(error) => Some(error.code),
        _ => None,
    }
}
