//! PostgreSQL in parts, as its image and many charts have it.

use common::config::Secret;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// PostgreSQL in parts, where there is no `DATABASE_URL`; any one of them is enough.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
pub struct PostgresParts {
    /// `POSTGRES_USER`: `postgres`.
    pub postgres_user: Option<String>,
    /// `POSTGRES_PASSWORD`: none.
    pub postgres_password: Option<Secret>,
    /// `POSTGRES_DB`: the database, named as the user.
    pub postgres_db: Option<String>,
    /// `POSTGRES_HOST`: a name, an address or the folder of a socket, `localhost`.
    pub postgres_host: Option<String>,
    /// `POSTGRES_PORT`: `5432`.
    pub postgres_port: Option<u16>,
}

impl PostgresParts {
    /// The parts as a URL; none where all are missing.
    pub(super) fn url(&self) -> Option<String> {
        let port = self.postgres_port.map(|port| port.to_string());
        let password = self.postgres_password.as_ref().map(Secret::expose);
        let user = self.postgres_user.as_deref();
        let parts = [
            ("user", user, "postgres"),
            ("password", password, ""),
            ("dbname", self.postgres_db.as_deref(), user.unwrap_or("postgres")),
            ("host", self.postgres_host.as_deref(), "localhost"),
            ("port", port.as_deref(), "5432"),
        ];
        let encode = |(name, value, default): (_, Option<&str>, _)| {
            let value = utf8_percent_encode(value.unwrap_or(default), NON_ALPHANUMERIC);
            format!("{name}={value}")
        };
        let is_set = parts.iter().any(|(_, value, _)| value.is_some());
        is_set.then(|| format!("postgres://localhost?{}", parts.map(encode).join("&")))
    }

    /// The same with another password.
    pub(super) fn with_password(&self, password: Secret) -> Self {
        Self { postgres_password: Some(password), ..self.clone() }
    }
}
