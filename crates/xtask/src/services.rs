//! The one list of services. A new service is one entry here, with the requests that prove it.

use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::smoke::requests::{self, Request};

/// How one service runs in development.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// The package, which is also the name of its binary.
    pub(crate) package: &'static str,
    pub(crate) args: &'static [&'static str],
    /// Its port in development; no two services share one.
    pub(crate) port: u16,
    /// Development defaults beside `HOST` and `PORT`. What the developer's environment sets wins.
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// What `smoke` asks beside the requests that every service answers.
    pub(crate) requests: &'static [Request],
}

/// In the order of the printed tables.
pub(crate) const SERVICES: &[Service] = &[
    Service {
        name: "backend-api",
        package: "backend-api",
        args: &[],
        port: 5002,
        env: &[
            ("EXTERNAL_INTEGRATION_KEY", DEVELOPMENT_KEY),
            ("EXTERNAL_API_URL", "http://127.0.0.1:5001/logs/download"),
        ],
        requests: requests::BACKEND_API,
    },
    Service {
        name: "data-api",
        package: "data-api",
        args: &[],
        port: 5001,
        env: &[("LOG_FILES_DIR", "data/logs"), ("LOGS_API_KEY", DEVELOPMENT_KEY)],
        requests: requests::DATA_API,
    },
    MULTIVAC,
    Service {
        name: "randomize",
        package: "randomize",
        args: &[],
        port: 5000,
        env: &[],
        requests: requests::RANDOMIZE,
    },
    Service {
        name: "sre-kata",
        package: "sre-kata",
        args: &[],
        port: 8003,
        env: &[],
        requests: requests::SRE_KATA,
    },
    Service {
        name: "stakefish",
        package: "stakefish",
        args: &[],
        port: 3000,
        env: &[],
        requests: requests::STAKEFISH,
    },
];

const MULTIVAC: Service = Service {
    name: "multivac",
    package: "multivac",
    args: &[],
    port: 5003,
    env: &[],
    requests: requests::MULTIVAC,
};

/// multivac as it is on many machines: a server and a worker, with Redis and MongoDB.
pub(crate) const MULTIVAC_WITH_REAL_STORES: &[Service] = &[
    Service { env: REAL_STORES, ..MULTIVAC },
    Service {
        name: "multivac-worker",
        args: &["worker"],
        port: 5004,
        env: REAL_STORES,
        requests: &[],
        ..MULTIVAC
    },
];

/// Where Redis and MongoDB are if nothing else is said.
const REAL_STORES: &[(&str, &str)] = &[
    ("REDIS_URL", "redis://127.0.0.1:6379"),
    ("MONGO_URL", "mongodb://127.0.0.1:27017/?directConnection=true"),
];

/// What backend-api shows data-api, and data-api wants to see; it protects nothing.
const DEVELOPMENT_KEY: &str = "development-key";

/// Of `docs/adding-a-service.md`: it is found by its name, and is no part of the stack.
pub(crate) const GREETER: Service = Service {
    name: "greeter",
    package: "greeter",
    args: &[],
    port: 8010,
    env: &[],
    requests: requests::GREETER,
};

impl Service {
    /// Where it is found in development, without a final slash.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port)
    }

    /// The variable that names another base URL for it: `SRE_KATA_URL`.
    pub(crate) fn url_variable(&self) -> String {
        format!("{}_URL", self.name.to_uppercase().replace('-', "_"))
    }
}

/// The stack, and the example.
pub(crate) fn all() -> impl Iterator<Item = &'static Service> {
    SERVICES.iter().chain([&GREETER])
}

/// The service of that name.
pub(crate) fn find(name: &str) -> Option<&'static Service> {
    all().find(|service| service.name == name)
}

/// Takes a service's name from the command line and lists the names in help and errors.
pub(crate) fn parser() -> impl TypedValueParser<Value = &'static Service> {
    let names = all().map(|service| service.name);
    PossibleValuesParser::new(names)
        .try_map(|name| find(&name).ok_or_else(|| format!("no service is called {name}")))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::all;

    #[test]
    fn no_two_services_share_a_name_or_a_port() {
        let names: BTreeSet<_> = all().map(|service| service.name).collect();
        let ports: BTreeSet<_> = all().map(|service| service.port).collect();
        assert_eq!((names.len(), ports.len()), (all().count(), all().count()));
    }

    #[test]
    fn the_variable_for_a_base_url_is_a_shell_name() {
        let service = super::find("sre-kata").unwrap();
        assert_eq!(service.url_variable(), "SRE_KATA_URL");
    }
}
