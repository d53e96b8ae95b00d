//! The data, in a collection of MongoDB.

use mongodb::bson::{DateTime, Document, doc};
use nosql::collection::{Collection, Documents, Index, Inserted};
use nosql::mongodb::{Connection, Error};

use super::entry::{Entry, created};
use crate::config::Config;
use crate::store::interface::Status;

/// Up to how many data are counted one by one.
const EXACT_COUNT: u64 = 100_000;

/// The collection `entropy`: documents `{_id, seq, data, created}`, where `_id` is the job's id. A datum that
/// is deleted leaves `{_id, created, deleted}` for `TOMBSTONE_TTL`.
#[derive(Clone)]
pub(super) struct Entropy {
    pub(super) collection: Collection,
}

impl Entropy {
    /// Connects when it is first needed.
    pub(super) fn open(url: &str, config: &Config) -> Self {
        let connection =
            Connection::open(url, &config.stores.mongo_db_name, env!("CARGO_PKG_NAME"));
        // Tombstones, which have no `seq`, are not in the first one.
        let indexes = [Index::Sparse("seq"), Index::Expiry("deleted", config.jobs.tombstone_ttl)];
        Self { collection: Collection::new(connection, "entropy", &indexes) }
    }

    /// Stores data, in the order of their numbers above `offset`. A document that has the same id already is left as it is.
    ///
    /// # Errors
    /// When it is not certain for each of them whether it is stored by a majority.
    pub(super) async fn insert(&self, jobs: &[Entry], offset: i64) -> Result<Inserted, Error> {
        let documents = jobs.iter().map(|job| {
            let created = DateTime::from_millis(job.created);
            doc! { "_id": &job.id, "seq": offset + job.seq, "data": &job.data, "created": created }
        });
        self.collection.insert_new(documents.collect()).await
    }

    /// The highest `seq` that is stored, and the time in the latest id of data and tombstones; each 0 if
    /// there is none.
    pub(super) async fn latest(&self) -> Result<(i64, i64), Error> {
        let highest = async |filter, field| {
            let find = async |data: Documents| {
                let find = data.find_one(filter).sort(doc! { field: -1 });
                find.projection(doc! { field: 1 }).await
            };
            self.collection.run("find", find).await
        };
        let seq = highest(stored(), "seq").await?;
        // Ids are texts, but their times have as many digits until the year 2286.
        let id = highest(doc! {}, "_id").await?;
        let seq = seq.and_then(|found| found.get_i64("seq").ok());
        let time = id.and_then(|found| created(found.get_str("_id").ok()?));
        Ok((seq.unwrap_or_default(), time.unwrap_or_default()))
    }

    /// The oldest datum.
    pub(super) async fn oldest(&self) -> Result<Option<String>, Error> {
        let find = async |data: Documents| data.find_one(stored()).sort(doc! { "seq": 1 }).await;
        let found = self.collection.run("find", find).await?;
        Ok(found.and_then(|found| found.get_str("data").ok().map(str::to_owned)))
    }

    /// Makes a tombstone of the oldest datum; returns whether there was one.
    pub(super) async fn delete_oldest(&self) -> Result<bool, Error> {
        let tombstone = doc! {
            "$unset": { "seq": "", "data": "" },
            // By the server's clock, as its expiry is.
            "$currentDate": { "deleted": true },
        };
        let deleted = self.collection.run("findAndModify", async |data| {
            let update = data.find_one_and_update(stored(), tombstone).sort(doc! { "seq": 1 });
            update.projection(doc! { "_id": 1 }).await
        });
        Ok(deleted.await?.is_some())
    }

    /// Whether a job's datum is stored or deleted; none if neither.
    pub(super) async fn status(&self, id: &str) -> Result<Option<Status>, Error> {
        let found = self.collection.run("find", async |data| {
            data.find_one(doc! { "_id": id }).projection(doc! { "deleted": 1 }).await
        });
        let is_deleted = found.await?.map(|found| found.contains_key("deleted"));
        Ok(is_deleted.map(|is| if is { Status::Deleted } else { Status::Stored }))
    }

    /// How many data there are; an estimate, with tombstones, if they are many.
    pub(super) async fn count(&self) -> Result<u64, Error> {
        let estimate =
            self.collection.run("count", async |data| data.estimated_document_count().await);
        let estimate = estimate.await?;
        if estimate > EXACT_COUNT {
            return Ok(estimate);
        }
        self.collection.run("aggregate", async |data| data.count_documents(stored()).await).await
    }
}

/// Matches data. Tombstones have no `seq`.
fn stored() -> Document {
    doc! { "seq": { "$gt": 0 } }
}
