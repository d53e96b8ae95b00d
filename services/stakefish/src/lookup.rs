//! Lookups: what a name's addresses are, and that somebody asked.

use std::net::{IpAddr, Ipv4Addr};
use std::time::SystemTime;

use chrono::{DateTime, SubsecRound as _, Utc};
use common::ServiceContext;
use common::context::RequestContext;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use server::{RateLimiter, StartError};

use crate::config::LookupConfig;
use crate::domain::Domain;
use crate::error::Error;
use crate::resolver::Resolver;
use crate::store::{Lookup, Query, Store};

/// Looks names up and saves what was found; shared by all workers.
pub(crate) struct Lookups {
    resolver: Resolver,
    store: Store,
    limiter: Option<RateLimiter>,
    outcomes: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Lookups {
    /// # Errors
    /// When no resolver can be made of the configuration.
    pub(crate) fn new(
        config: &LookupConfig,
        store: Store,
        context: &ServiceContext,
    ) -> Result<Self, StartError> {
        let outcomes = OUTCOMES.map(|outcome| [("outcome", outcome)]);
        let help = "Lookups by how they ended";
        let outcomes = context.metrics.add_family("stakefish_lookups", help, outcomes);
        let limiter = RateLimiter::new(config.lookup_rate_limit);
        Ok(Self { resolver: Resolver::new(config, context)?, store, limiter, outcomes })
    }

    /// Looks a name up for the client of the request at hand. What is returned is saved.
    ///
    /// # Errors
    /// When the client asks too often, the name has no addresses, the resolvers do not say, or the lookup cannot be
    /// saved.
    pub(crate) async fn look_up(&self, domain: Domain) -> Result<Query, Error> {
        let client_ip = RequestContext::with_current(RequestContext::client);
        let client_ip = client_ip.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let result: Result<Query, Error> = async {
            if let Some(limiter) = &self.limiter {
                limiter.take(client_ip).map_err(Error::TooManyLookups)?;
            }
            let addresses = self.resolver.resolve(&domain).await?;
            let created_at = DateTime::<Utc>::from(SystemTime::now()).trunc_subsecs(3);
            let lookup = Lookup { domain, client_ip, created_at, addresses };
            let id = self.store.save(lookup.clone()).await?;
            Ok(Query { id, lookup })
        }
        .await;
        self.outcomes.get_or_create(&[("outcome", outcome(&result))]).inc();
        result
    }
}

/// How lookups end.
const OUTCOMES: [&str; 6] = ["saved", "not_found", "failed", "timed_out", "limited", "not_saved"];

fn outcome(result: &Result<Query, Error>) -> &'static str {
    let [saved, not_found, failed, timed_out, limited, not_saved] = OUTCOMES;
    match result {
        Ok(_) => saved,
        Err(Error::NotFound) => not_found,
        Err(Error::Resolver(_)) => failed,
        Err(Error::ResolverTimedOut) => timed_out,
        Err(Error::TooManyLookups(_)) => limited,
        Err(Error::Database(_)) => not_saved,
    }
}
