//! The addresses of names, by the DNS and a cache of our own.
//!
//! The resolver's own cache would be bounded too, but by responses and not by bytes; it copies a whole message for
//! each hit, tells nobody of hits and misses, and lets the same name be asked twice at the same time. This one holds
//! nothing but addresses and is asked once for each name.

mod udp;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ServiceContext;
use common::telemetry::spans;
use hickory_resolver::config::{NameServerConfig, ResolveHosts, ResolverConfig};
use hickory_resolver::net::{DnsError, NetError, NoRecords};
use hickory_resolver::proto::op::ResponseCode;
use hickory_resolver::proto::rr::{Name, RData, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use moka::Expiry;
use moka::future::Cache;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Unit;
use server::StartError;
use tokio::time::timeout;
use tracing::Instrument as _;
use udp::Network;

use crate::config::{DnsServers, LookupConfig};
use crate::domain::Domain;
use crate::error::Error;

/// How often a resolver is asked for the same.
const TRIES: u32 = 2;

/// How much the cached answers may take, in bytes: some 60 000 names with an address or two.
const CACHE_BYTES: u64 = 16 * 1024 * 1024;

/// What a cached answer takes beside its name and its addresses, in bytes: the cache's own records of it.
const ENTRY_BYTES: usize = 256;

/// How long an answer is kept at most, whatever it says of itself.
const MAX_TTL: Duration = Duration::from_hours(24);

/// In seconds: from a resolver next door to the default of two tries.
const BUCKETS: [f64; 11] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 4.0];

/// Unique addresses in numeric order, shared with the cache.
pub(crate) type Addresses = Arc<[Ipv4Addr]>;

/// Finds the addresses of names; shared by all workers.
pub(crate) struct Resolver {
    dns: hickory_resolver::Resolver<Network>,
    cache: Cache<Domain, Answer>,
    hits: Counter,
    duration: Histogram,
}

/// What the DNS says of a name, and for how long. No addresses: there is no such name, or no A record.
type Answer = (Addresses, Duration);

/// Keeps an answer for as long as it says.
struct ByTtl;

impl Expiry<Domain, Answer> for ByTtl {
    fn expire_after_create(&self, _: &Domain, answer: &Answer, _: Instant) -> Option<Duration> {
        Some(answer.1)
    }
}

impl Resolver {
    /// Asks the configured resolvers, else the system's; connects when it is first needed.
    ///
    /// # Errors
    /// When no resolver can be made of the configuration.
    pub(crate) fn new(config: &LookupConfig, context: &ServiceContext) -> Result<Self, StartError> {
        let servers = ResolverConfig::from_parts(None, vec![], name_servers(&config.dns_servers));
        let mut dns = hickory_resolver::Resolver::builder_with_config(servers, Network::default());
        let options = dns.options_mut();
        options.timeout = config.dns_timeout;
        options.attempts = TRIES as usize - 1;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        let dns = dns.build().map_err(|error| StartError::Other(error.into()))?;
        let help = "Lookups that were answered from the cache, or together with another one";
        let hits = context.metrics.add("stakefish_dns_cache_hits", help, Counter::default());
        let (name, help) = ("stakefish_dns_duration", "Time until the resolvers answered or not");
        let duration = Histogram::new(BUCKETS);
        let duration = context.metrics.add_with_unit((name, Unit::Seconds), help, duration);
        Ok(Self { dns, cache: cache(CACHE_BYTES), hits, duration })
    }

    /// The addresses of a name, at least one. Requests for the same name at the same time wait for the same answer;
    /// failures are not kept.
    ///
    /// # Errors
    /// When the name has no addresses, or the resolvers do not say.
    pub(crate) async fn resolve(&self, domain: &Domain) -> Result<Addresses, Error> {
        let entry = self.cache.entry_by_ref(domain).or_try_insert_with(self.ask(domain)).await;
        let entry = entry.map_err(|error: Arc<NetError>| match *error {
            NetError::Timeout => Error::ResolverTimedOut,
            _ => Error::Resolver(error),
        })?;
        self.hits.inc_by(u64::from(!entry.is_fresh()));
        let addresses = entry.into_value().0;
        if addresses.is_empty() { Err(Error::NotFound) } else { Ok(addresses) }
    }

    /// Asks the DNS.
    async fn ask(&self, domain: &Domain) -> Result<Answer, NetError> {
        let started = Instant::now();
        let mut name = Name::from_ascii(domain.as_str())?;
        name.set_fqdn(true);
        // Also where a chain of names takes several questions.
        let limit = self.dns.options().timeout * TRIES;
        // Without the name: a client chose that.
        let span = spans::begin("DNS lookup", "client");
        let lookup = timeout(limit, self.dns.ipv4_lookup(name)).instrument(span.clone());
        let answer = lookup.await;
        self.duration.observe(started.elapsed().as_secs_f64());
        let (addresses, ttl) = match answer.unwrap_or(Err(NetError::Timeout)) {
            Ok(found) => {
                let addresses = found.answers().iter().filter_map(|record| {
                    if let RData::A(address) = &record.data { Some(address.0) } else { None }
                });
                let ttl = found.valid_until().saturating_duration_since(Instant::now());
                (addresses.collect::<BTreeSet<_>>(), ttl)
            }
            Err(NetError::Dns(DnsError::NoRecordsFound(nothing)))
                if self.is_all_there_is(&nothing).await =>
            {
                let ttl = Duration::from_secs(nothing.negative_ttl.unwrap_or(0).into());
                (BTreeSet::new(), ttl)
            }
            Err(error) => {
                spans::fail(&span, error_type(&error));
                return Err(error);
            }
        };
        Ok((addresses.into_iter().collect(), ttl.min(MAX_TTL)))
    }

    /// Whether that there are no records is what the DNS says: no such name, or none of that kind. A chain of names that
    /// is too long or a circle, a referral to somebody else, and a code that means nothing are no such answer.
    async fn is_all_there_is(&self, nothing: &NoRecords) -> bool {
        match (nothing.response_code, &nothing.soa, &nothing.ns) {
            (ResponseCode::NXDomain, ..) | (ResponseCode::NoError, Some(_), _) => true,
            (ResponseCode::NoError, None, None) => {
                let next = self.dns.lookup(nothing.query.name().clone(), RecordType::CNAME).await;
                matches!(next, Err(NetError::Dns(DnsError::NoRecordsFound(_))))
            }
            _ => false,
        }
    }
}

fn error_type(error: &NetError) -> &'static str {
    match error {
        NetError::Timeout => "timeout",
        NetError::Dns(_) => "dns_error",
        NetError::Io(_) => "io_error",
        _ => "_OTHER",
    }
}

/// A cache that holds at most so many bytes.
fn cache(bytes: u64) -> Cache<Domain, Answer> {
    let weigh = |domain: &Domain, (addresses, _): &Answer| {
        let addresses = size_of_val(&**addresses);
        u32::try_from(ENTRY_BYTES + domain.as_str().len() + addresses).unwrap_or(u32::MAX)
    };
    Cache::builder().max_capacity(bytes).weigher(weigh).expire_after(ByTtl).build()
}

/// What is asked, over UDP and, where an answer does not fit, over TCP.
fn name_servers(configured: &DnsServers) -> Vec<NameServerConfig> {
    let at = |server: &SocketAddr| {
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        config
    };
    if !configured.0.is_empty() {
        return configured.0.iter().map(at).collect();
    }
    read_system_conf().map_or_else(
        |error| {
            tracing::warn!(%error, "The system names no resolver; one on this machine is asked");
            // As resolv.conf(5) has it.
            vec![NameServerConfig::udp_and_tcp(Ipv4Addr::LOCALHOST.into())]
        },
        |(system, _)| system.name_servers().to_vec(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Puts so many names into a cache, each with so many addresses, and lets it settle.
    async fn fill(cache: &Cache<Domain, Answer>, names: u32, addresses: u32) {
        for number in 0..names {
            let name = Domain::saved(format!("{number}.example"));
            let addresses = (0..addresses).map(Ipv4Addr::from_bits).collect();
            cache.insert(name, (addresses, MAX_TTL)).await;
        }
        cache.run_pending_tasks().await;
    }

    #[tokio::test]
    async fn however_many_names_are_asked_for_the_cache_stays_within_its_bytes() {
        for (names, addresses) in [(50_000, 0), (50_000, 1), (500, 1000)] {
            let cache = cache(1024 * 1024);

            fill(&cache, names, addresses).await;

            assert!(cache.weighted_size() <= 1024 * 1024, "{}", cache.weighted_size());
            let most = 1024 * 1024 / (u64::from(addresses) * 4 + ENTRY_BYTES as u64);
            assert!((1..=most).contains(&cache.entry_count()), "{}", cache.entry_count());
        }
    }

    #[tokio::test]
    async fn some_fifty_thousand_names_fit() {
        let cache = cache(CACHE_BYTES);

        fill(&cache, 50_000, 2).await;

        assert_eq!(cache.entry_count(), 50_000);
    }
}
