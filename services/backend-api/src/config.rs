//! What the service is configured by.

use std::time::Duration;

use common::config::Secret;
use common::{Loader, Service};
use derive_more::AsRef;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Who this service is.
pub const SERVICE: Service = common::service!(port: 5000);

/// The configuration.
#[derive(AsRef, Clone, Debug)]
pub struct Config {
    /// What all services share.
    #[as_ref]
    pub common: server::Config,
    /// The operation of `/api_1`.
    pub operation: OperationConfig,
    /// The external service.
    pub external: ExternalConfig,
}

impl Config {
    /// Reads the variables.
    pub fn load(loader: &mut Loader) -> Self {
        let common = server::Config::load(&SERVICE, loader);
        let operation = loader.section();
        let external: ExternalConfig = loader.section();
        let key = external.external_integration_key.as_ref();
        loader.require("EXTERNAL_INTEGRATION_KEY", key);
        // More than a client waits for would also overflow the clock.
        let sensible = Duration::from_millis(1)..=Duration::from_hours(1);
        loader.within("EXTERNAL_API_TIMEOUT", external.external_api_timeout, sensible);
        Self { common, operation, external }
    }
}

/// The operation of `/api_1`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct OperationConfig {
    /// `OPERATION_DELAY`: how long an operation takes, `500ms`.
    #[serde(with = "humantime_serde")]
    pub operation_delay: Duration,
}

impl Default for OperationConfig {
    fn default() -> Self {
        Self { operation_delay: Duration::from_millis(500) }
    }
}

/// The external service.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct ExternalConfig {
    /// `EXTERNAL_INTEGRATION_KEY`: what this service shows the external one; of several lines the first, and the
    /// others where that is refused. Required.
    pub external_integration_key: Option<IntegrationKey>,
    /// `EXTERNAL_API_URL`: what to get from the external service, an `http` or `https` URL without
    /// credentials; without it nothing is called.
    pub external_api_url: Option<ExternalUrl>,
    /// `EXTERNAL_API_TIMEOUT`: how long the external service may take until its answer begins, all
    /// attempts together, and then how long it may pause; `10s`, from 1 ms to 1 h.
    #[serde(with = "humantime_serde")]
    pub external_api_timeout: Duration,
    /// `EXTERNAL_API_RETRIES`: how often a call is tried again that could not connect or was answered
    /// with 502, 503 or 504; 2.
    pub external_api_retries: u32,
}

impl Default for ExternalConfig {
    fn default() -> Self {
        Self {
            external_integration_key: None,
            external_api_url: None,
            external_api_timeout: Duration::from_secs(10),
            external_api_retries: 2,
        }
    }
}

/// The keys, a line each, as values of a header `Authorization`.
#[derive(Clone, Debug)]
pub struct IntegrationKey {
    secret: Secret,
    authorizations: Vec<HeaderValue>,
}

impl IntegrationKey {
    /// `Bearer <key>` for each line, marked as sensitive: the one in use, and those to try where it is refused.
    #[must_use]
    pub fn authorizations(&self) -> &[HeaderValue] {
        &self.authorizations
    }

    /// Where the keys come from.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }
}

impl TryFrom<&Secret> for IntegrationKey {
    type Error = &'static str;

    fn try_from(secret: &Secret) -> Result<Self, Self::Error> {
        let authorization = |key: &str| {
            let mut authorization = HeaderValue::try_from(format!("Bearer {key}"))
                .map_err(|_| "has characters that no HTTP header can carry")?;
            authorization.set_sensitive(true);
            Ok(authorization)
        };
        let keys = secret.lines().filter(|key| !key.trim().is_empty());
        let authorizations = keys.map(authorization).collect::<Result<Vec<_>, Self::Error>>()?;
        if authorizations.is_empty() {
            return Err("is blank");
        }
        Ok(Self { secret: secret.clone(), authorizations })
    }
}

impl<'de> Deserialize<'de> for IntegrationKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::try_from(&Secret::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Serialize for IntegrationKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.secret.serialize(serializer)
    }
}

/// Where the external service is: an `http` or `https` URL without credentials.
#[derive(Clone, Debug)]
pub struct ExternalUrl(Url);

impl ExternalUrl {
    /// The URL itself.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }
}

impl<'de> Deserialize<'de> for ExternalUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // A parsed URL of these schemes has a host.
        Url::parse(&text)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https"))
            .filter(|url| url.username().is_empty() && url.password().is_none())
            .map(Self)
            .ok_or_else(|| D::Error::custom("must be an http or https URL without credentials"))
    }
}

impl Serialize for ExternalUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_in_no_debug_output() {
        let mut loader = Loader::new([("EXTERNAL_INTEGRATION_KEY", "kept-2c9fca1d")]);
        let config = Config::load(&mut loader);

        let (config, _) = loader.finish(config).unwrap();

        let key = config.external.external_integration_key.as_ref().unwrap();
        assert_eq!(key.authorizations(), ["Bearer kept-2c9fca1d"]);
        let printed = format!("{config:?} {:?}", key.authorizations());
        assert!(!printed.contains("kept-2c9fca1d"), "{printed}");
    }
}
