//! What the service is configured by.

use std::num::NonZeroU32;
use std::time::Duration;

use common::config::{ByteSize, Secret};
use common::{Loader, Service};
use derive_more::AsRef;
use serde::{Deserialize, Serialize};
use storage::DatabaseConfig;

/// Who this service is, as a server.
pub const SERVICE: Service = Service { log_name: "server", ..common::service!(port: 5000) };

/// Who it is as a worker.
pub const WORKER: Service = Service { log_name: "worker", default_port: 5004, ..SERVICE };

/// The largest body with MongoDB, whose documents have at most 16 MiB in all.
const MAX_BODY: ByteSize = ByteSize(15 * 1024 * 1024);

/// The configuration.
#[derive(AsRef, Clone, Debug)]
pub struct Config {
    /// What all services share.
    #[as_ref]
    pub common: server::Config,
    /// Where jobs and data are.
    pub stores: StoresConfig,
    /// How jobs are treated.
    pub jobs: JobsConfig,
    /// Who may change data.
    pub auth: AuthConfig,
}

impl Config {
    /// Reads the variables of the server.
    pub fn load(loader: &mut Loader) -> Self {
        let common = server::Config::load(&SERVICE, loader);
        Self::load_own(common, loader)
    }

    /// Reads the variables of the worker, which has nothing to do without Redis and MongoDB.
    pub fn load_worker(loader: &mut Loader) -> Self {
        let common = server::Config::load(&WORKER, loader);
        let config = Self::load_own(common, loader);
        loader.require("REDIS_URL", config.stores.redis_url.as_ref());
        loader.require("MONGO_URL", config.stores.mongo_url.as_ref());
        config
    }

    fn load_own(common: server::Config, loader: &mut Loader) -> Self {
        let config = Self {
            common,
            stores: loader.section(),
            jobs: loader.section(),
            auth: loader.section(),
        };
        config.check(loader);
        config
    }

    /// Notes what does not go together.
    fn check(&self, loader: &mut Loader) {
        let Self { stores, jobs, auth, common } = self;
        let (redis, mongo) = (stores.redis_url.as_ref(), stores.mongo_url.as_ref());
        loader.require_together([("REDIS_URL", redis.is_some()), ("MONGO_URL", mongo.is_some())]);
        if let (Some(redis), Some(mongo)) = (redis, mongo) {
            loader.check("REDIS_URL", nosql::redis::check_url(redis.expose()));
            loader.check("MONGO_URL", nosql::mongodb::check_url(mongo.expose()));
            if common.server.body_limit > MAX_BODY {
                loader.problem("BODY_LIMIT", "must be at most 15MiB with MONGO_URL");
            }
        } else if redis.or(mongo).is_none() && !stores.database().is_sqlite() {
            loader.problem("MULTIVAC_DB", "expected sqlite://<file>");
        }
        loader.require_together([
            ("AUTH_USERNAME", auth.auth_username.is_some()),
            ("AUTH_PASSWORD", auth.auth_password.is_some()),
        ]);
        if auth.auth_username.as_ref().is_some_and(|name| name.contains(':')) {
            loader.problem(
                "AUTH_USERNAME",
                "must not contain a colon, which ends the name in HTTP Basic",
            );
        }
        if jobs.job_claim_after < Duration::from_millis(100) {
            loader.problem("JOB_CLAIM_AFTER", "must be at least 100ms");
        }
        if !(1..=i32::MAX.unsigned_abs().into()).contains(&jobs.tombstone_ttl.as_secs()) {
            loader.problem("TOMBSTONE_TTL", "must be from 1s to 68years");
        }
    }
}

/// Where jobs and data are: Redis with MongoDB if their URLs are set, else one SQLite file.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct StoresConfig {
    /// `REDIS_URL`: the queue, such as `redis://host:6379` or `rediss://user:password@host`; together
    /// with `MONGO_URL`.
    pub redis_url: Option<Secret>,
    /// `MONGO_URL`: the store, such as `mongodb://host:27017`; together with `REDIS_URL`.
    pub mongo_url: Option<Secret>,
    /// `MONGO_DB_NAME`: the database there, `multivac`.
    pub mongo_db_name: String,
    /// `MULTIVAC_DB`: the SQLite file for both, created if it is missing; `sqlite://data/multivac.db`.
    pub multivac_db: String,
}

impl Default for StoresConfig {
    fn default() -> Self {
        Self {
            redis_url: None,
            mongo_url: None,
            mongo_db_name: "multivac".into(),
            multivac_db: "sqlite://data/multivac.db".into(),
        }
    }
}

impl StoresConfig {
    /// The configuration of the SQLite file, with the defaults of every service.
    pub(crate) fn database(&self) -> DatabaseConfig {
        let url = Secret::from(self.multivac_db.as_str());
        DatabaseConfig { database_url: Some(url), ..DatabaseConfig::default() }
    }
}

/// How jobs are treated.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct JobsConfig {
    /// `JOB_CLAIM_AFTER`: how long a worker may hold a job before others take it over, `30s`.
    #[serde(with = "humantime_serde")]
    pub job_claim_after: Duration,
    /// `JOB_MAX_ATTEMPTS`: how often the store may refuse a job before it becomes a dead letter, 5.
    pub job_max_attempts: NonZeroU32,
    /// `QUEUE_MAX_LENGTH`: with as many jobs waiting, no more are taken; 1000000.
    pub queue_max_length: u64,
    /// `TOMBSTONE_TTL`: how long it is known that a datum was deleted, in full seconds; `24h`.
    #[serde(with = "humantime_serde")]
    pub tombstone_ttl: Duration,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            job_claim_after: Duration::from_secs(30),
            job_max_attempts: NonZeroU32::MIN.saturating_add(4),
            queue_max_length: 1_000_000,
            tombstone_ttl: Duration::from_hours(24),
        }
    }
}

/// Who may change data: by default anybody.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AuthConfig {
    /// `AUTH_USERNAME`: whom POST, PUT and DELETE are for, by HTTP Basic; together with `AUTH_PASSWORD`.
    pub auth_username: Option<String>,
    /// `AUTH_PASSWORD`: that user's password, of several lines each; together with `AUTH_USERNAME`.
    pub auth_password: Option<Secret>,
}
