//! What the service is configured by.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use common::config::{RateLimit, Secret};
use common::{Loader, Service};
use derive_more::AsRef;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};
use storage::DatabaseConfig;

/// Who this service is.
pub const SERVICE: Service = common::service!(port: 3000);

/// The database where none is configured, for development.
const EMBEDDED: &str = "sqlite://data/stakefish.db";

/// The configuration.
#[derive(AsRef, Clone, Debug)]
pub struct Config {
    /// What all services share.
    #[as_ref]
    pub common: server::Config,
    /// Where lookups are saved.
    pub database: DatabaseConfig,
    /// The lookups.
    pub lookups: LookupConfig,
    /// Whether `KUBERNETES_SERVICE_HOST` is set, as it is in every pod.
    pub kubernetes: bool,
}

impl Config {
    /// Reads the variables.
    pub fn load(loader: &mut Loader) -> Self {
        let common = server::Config::load(&SERVICE, loader);
        let lookups: LookupConfig = loader.section();
        // More than a client waits for would also overflow the clock.
        let sensible = Duration::from_millis(1)..=Duration::from_mins(1);
        loader.within("DNS_TIMEOUT", lookups.dns_timeout, sensible);
        let has_url = ["DATABASE_URL", "DATABASE_URL_FILE"].iter().any(|name| loader.is_set(name));
        // Parts that nobody asks for cannot be wrong.
        let parts = if has_url { None } else { loader.section::<PostgresConfig>().url() };
        let database = DatabaseConfig::load(parts.as_deref().unwrap_or(EMBEDDED), loader);
        Self { common, database, lookups, kubernetes: loader.is_set("KUBERNETES_SERVICE_HOST") }
    }
}

/// PostgreSQL in parts, where there is no `DATABASE_URL`; any one of them is enough.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "a field has the name of its variable")]
struct PostgresConfig {
    /// `POSTGRES_USER`: `postgres`.
    postgres_user: Option<String>,
    /// `POSTGRES_PASSWORD`: none.
    postgres_password: Option<Secret>,
    /// `POSTGRES_DB`: the database, named as the user.
    postgres_db: Option<String>,
    /// `POSTGRES_HOST`: a name, an address or the folder of a socket, `localhost`.
    postgres_host: Option<String>,
    /// `POSTGRES_PORT`: `5432`.
    postgres_port: Option<u16>,
}

impl PostgresConfig {
    /// The parts as a URL; none where all are missing.
    fn url(&self) -> Option<String> {
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
}

/// The lookups.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default)]
pub struct LookupConfig {
    /// `DNS_SERVERS`: the resolvers to ask, as `192.0.2.1,[2001:db8::1]:5353`; by default those of
    /// `/etc/resolv.conf`.
    pub dns_servers: DnsServers,
    /// `DNS_TIMEOUT`: how long one of the two tries of a lookup may take, `2s`, from 1 ms to 1 min.
    #[serde(with = "humantime_serde")]
    pub dns_timeout: Duration,
    /// `LOOKUP_RATE_LIMIT`: how many lookups an address may ask of this process, `20/s`.
    pub lookup_rate_limit: RateLimit,
    /// `METRICS_TOP_DOMAINS`: how many domains, the most asked ones, have series of their own, `100`.
    pub metrics_top_domains: NonZeroUsize,
}

impl Default for LookupConfig {
    fn default() -> Self {
        Self {
            dns_servers: DnsServers::default(),
            dns_timeout: Duration::from_secs(2),
            lookup_rate_limit: "20/s".parse().unwrap_or_default(),
            metrics_top_domains: NonZeroUsize::MIN.saturating_add(99),
        }
    }
}

/// Resolvers, as addresses with or without a port, separated by commas.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct DnsServers(pub(crate) Vec<SocketAddr>);

impl TryFrom<String> for DnsServers {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let address = |entry: &str| {
            let with_port = |ip: IpAddr| SocketAddr::new(ip, 53);
            entry.trim().parse().or_else(|_| entry.trim().parse().map(with_port))
        };
        let addresses = text.split(',').map(address).collect::<Result<_, _>>();
        addresses.map(Self).map_err(|_| "expected addresses such as 192.0.2.1,[2001:db8::1]:5353")
    }
}

impl From<DnsServers> for String {
    fn from(servers: DnsServers) -> Self {
        servers.0.iter().map(SocketAddr::to_string).collect::<Vec<_>>().join(",")
    }
}
