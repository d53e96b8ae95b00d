//! What the service is configured by.

use std::time::Duration;

use actix_web::http::Uri;
use common::config::Secret;
use common::{Loader, Service};
use derive_more::AsRef;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use storage::DatabaseConfig;

use crate::token::Tokens;

/// Who this service is.
pub const SERVICE: Service = common::service!(port: 5000);

/// The configuration.
#[derive(AsRef, Clone, Debug)]
pub struct Config {
    /// What all services share.
    #[as_ref]
    pub common: server::Config,
    /// The database.
    pub database: DatabaseConfig,
    /// The API.
    pub api: ApiConfig,
    /// The audit trail.
    pub audit: AuditConfig,
}

impl Config {
    /// Reads the variables.
    pub fn load(loader: &mut Loader) -> Self {
        let common = server::Config::load(&SERVICE, loader);
        let database = DatabaseConfig::load("sqlite://data/randomize.db", loader);
        let (api, audit) = (loader.section::<ApiConfig>(), loader.section());
        loader.check("JWT_SECRET", api.jwt_secret.as_ref().map(Tokens::new).transpose());
        Self { common, database, api, audit }
    }
}

/// The API.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct ApiConfig {
    /// `CORS_ALLOWED_ORIGINS`: whose pages may use `/api`, such as
    /// `https://app.example.com,https://www.example.com`; by default `*`, any.
    pub cors_allowed_origins: Origins,
    /// `JWT_SECRET`: at least 32 bytes; with it `GET /api/histories` needs a token. Of several lines the first signs,
    /// and each is accepted. None by default.
    pub jwt_secret: Option<Secret>,
}

/// The audit trail.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct AuditConfig {
    /// `AUDIT_RETENTION`: how long its rows are kept, such as `90d`; by default for ever.
    #[serde(with = "humantime_serde")]
    pub audit_retention: Option<Duration>,
}

/// Origins of pages, such as `https://app.example.com`; without any, all are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(Vec<String>);

impl Origins {
    /// Those that are named; none where all are meant.
    pub(crate) fn named(&self) -> &[String] {
        &self.0
    }
}

impl Serialize for Origins {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = if self.0.is_empty() { "*".to_owned() } else { self.0.join(",") };
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for Origins {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.trim() == "*" {
            return Ok(Self::default());
        }
        let origins = text.split(',').map(|origin| origin.trim().to_owned());
        let origins: Vec<_> = origins.filter(|origin| !origin.is_empty()).collect();
        let is_origin = |origin: &String| {
            // What a browser sends: scheme, host, port, and nothing behind them.
            origin.parse::<Uri>().is_ok_and(|uri| {
                uri.scheme().is_some() && uri.host().is_some() && uri.path() == "/"
            }) && !origin.ends_with('/')
        };
        if origins.is_empty() || !origins.iter().all(is_origin) {
            return Err(de::Error::custom(
                "expected * or origins such as https://app.example.com, separated by commas",
            ));
        }
        Ok(Self(origins))
    }
}
