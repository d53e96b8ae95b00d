//! What the service is configured by.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::time::Duration;

use common::config::RateLimit;
use common::{Loader, Service};
use derive_more::AsRef;
use serde::{Deserialize, Serialize};
use storage::DatabaseConfig;

/// Who this service is.
pub const SERVICE: Service = common::service!(port: 3000);

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
        let database = DatabaseConfig::load_with_parts("sqlite://data/stakefish.db", loader);
        Self { common, database, lookups, kubernetes: loader.is_set("KUBERNETES_SERVICE_HOST") }
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
