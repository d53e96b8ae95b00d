//! What the service is configured by.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use common::config::Secret;
use common::{Loader, Service};
use derive_more::AsRef;
use serde::{Deserialize, Serialize};

/// Who this service is.
pub const SERVICE: Service = common::service!(port: 5000);

/// The configuration.
#[derive(AsRef, Clone, Debug)]
pub struct Config {
    /// What all services share.
    #[as_ref]
    pub common: server::Config,
    /// The work that a request stands for.
    pub processing: ProcessingConfig,
    /// The log files.
    pub log_files: LogFilesConfig,
}

impl Config {
    /// Reads the variables.
    pub fn load(loader: &mut Loader) -> Self {
        let common = server::Config::load(&SERVICE, loader);
        let (processing, log_files) = (loader.section(), loader.section::<LogFilesConfig>());
        loader.check("LOGS_API_KEY", log_files.logs_api_key.as_ref().map(api_keys).transpose());
        Self { common, processing, log_files }
    }
}

/// The work that a request stands for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct ProcessingConfig {
    /// `PROCESSING_DELAY`: how long `GET /` works before it writes, `3s`.
    #[serde(with = "humantime_serde")]
    pub processing_delay: Duration,
}

impl Default for ProcessingConfig {
    fn default() -> Self {
        Self { processing_delay: Duration::from_secs(3) }
    }
}

/// The log files.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LogFilesConfig {
    /// `LOG_FILES_DIR`: their directory, which this process owns alone; made at the start if it is
    /// missing, `/var/data/logs`.
    pub log_files_dir: PathBuf,
    /// `LOG_RETENTION_FILES`: how many are kept, at least one, `100000`.
    pub log_retention_files: NonZeroUsize,
    /// `LOGS_API_KEY`: what a client must know to read them, visible ASCII; of several lines each will do. By
    /// default anybody may.
    pub logs_api_key: Option<Secret>,
}

impl Default for LogFilesConfig {
    fn default() -> Self {
        Self {
            log_files_dir: "/var/data/logs".into(),
            log_retention_files: NonZeroUsize::MIN.saturating_add(99_999),
            logs_api_key: None,
        }
    }
}

/// The keys of a client, a line each.
pub(crate) fn api_keys(keys: &Secret) -> Result<Secret, &'static str> {
    let is_key = |key: &str| key.bytes().all(|byte| byte.is_ascii_graphic());
    let is_right = keys.lines().next().is_some() && keys.lines().all(is_key);
    is_right.then(|| keys.clone()).ok_or("expected visible ASCII without spaces")
}
