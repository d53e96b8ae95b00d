mod database;
mod mongo;
mod pgbouncer;
mod postgres;
mod process;
mod redis;
mod sql;

pub use database::Database;
pub use mongo::MongoDb;
pub use pgbouncer::PgBouncer;
pub use postgres::Postgres;
pub use process::{Durability, Server};
pub use redis::Redis;
pub use sql::{Sql, SqlDatabase};
