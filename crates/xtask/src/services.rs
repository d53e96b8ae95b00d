//! The one list of services. A new service is one entry here, with the requests that prove it.

use std::sync::LazyLock;

use anyhow::Context as _;
use clap::builder::{PossibleValuesParser, TypedValueParser};

use crate::smoke::requests::{self, Request};

/// How one service runs in development.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) name: &'static str,
    /// The package, which is also the name of its binary.
    pub(crate) package: &'static str,
    pub(crate) args: &'static [&'static str],
    /// Its port in development, before `PORT_OFFSET`; no two services share one.
    pub(crate) base_port: u16,
    /// Development defaults beside `HOST` and `PORT`. What the developer's environment sets wins. In values
    /// `{data-api}` is the port of a service, and `{data}` the folder of [`data`].
    pub(crate) env: &'static [(&'static str, &'static str)],
    /// The same, where that folder is not the services' own default.
    pub(crate) store: &'static [(&'static str, &'static str)],
    /// What `smoke` asks beside the requests that every service answers.
    pub(crate) requests: &'static [Request],
}

/// In the order of the printed tables.
pub(crate) const SERVICES: &[Service] = &[
    Service {
        name: "backend-api",
        package: "backend-api",
        args: &[],
        base_port: 5002,
        env: &[
            ("EXTERNAL_INTEGRATION_KEY", DEVELOPMENT_KEY),
            ("EXTERNAL_API_URL", "http://127.0.0.1:{data-api}/logs/download"),
        ],
        store: &[],
        requests: requests::BACKEND_API,
    },
    Service {
        name: "data-api",
        package: "data-api",
        args: &[],
        base_port: 5001,
        env: &[("LOG_FILES_DIR", "{data}/logs"), ("LOGS_API_KEY", DEVELOPMENT_KEY)],
        store: &[],
        requests: requests::DATA_API,
    },
    MULTIVAC,
    Service {
        name: "randomize",
        package: "randomize",
        args: &[],
        base_port: 5000,
        env: &[],
        store: &[("DATABASE_URL", "sqlite://{data}/randomize.db")],
        requests: requests::RANDOMIZE,
    },
    Service {
        name: "sre-kata",
        package: "sre-kata",
        args: &[],
        base_port: 8003,
        env: &[],
        store: &[],
        requests: requests::SRE_KATA,
    },
    Service {
        name: "stakefish",
        package: "stakefish",
        args: &[],
        base_port: 3000,
        env: &[],
        store: &[("DATABASE_URL", "sqlite://{data}/stakefish.db")],
        requests: requests::STAKEFISH,
    },
];

const MULTIVAC: Service = Service {
    name: "multivac",
    package: "multivac",
    args: &[],
    base_port: 5003,
    env: &[],
    store: &[("MULTIVAC_DB", "sqlite://{data}/multivac.db")],
    requests: requests::MULTIVAC,
};

/// What moves multivac's jobs where they are not in a file.
pub(crate) const MULTIVAC_WORKER: Service = Service {
    name: "multivac-worker",
    args: &["worker"],
    base_port: 5004,
    store: &[],
    requests: &[],
    ..MULTIVAC
};

/// What backend-api shows data-api, and data-api wants to see; it protects nothing.
const DEVELOPMENT_KEY: &str = "development-key";

/// Of `docs/adding-a-service.md`: it is found by its name, and is no part of the stack.
pub(crate) const GREETER: Service = Service {
    name: "greeter",
    package: "greeter",
    args: &[],
    base_port: 8010,
    env: &[],
    store: &[],
    requests: requests::GREETER,
};

/// By how much `PORT_OFFSET` moves all ports. More than there are ports counts as none, after [`check_port_offset`].
pub(crate) fn port_offset() -> u16 {
    static OFFSET: LazyLock<u16> = LazyLock::new(|| read_port_offset().unwrap_or_default());
    *OFFSET
}

/// Fails if `PORT_OFFSET` does not leave every service a port.
///
/// # Errors
/// When it is no number or too large.
pub(crate) fn check_port_offset() -> anyhow::Result<()> {
    read_port_offset().map(drop)
}

#[expect(clippy::disallowed_methods, reason = "it is of this tool, and no service's configuration")]
fn read_port_offset() -> anyhow::Result<u16> {
    let variable = std::env::var("PORT_OFFSET").unwrap_or_default();
    let offset = if variable.is_empty() { "0" } else { &variable };
    let highest = all().map(|service| service.base_port).max().unwrap_or_default();
    let offset = offset.parse().ok().filter(|offset| highest.checked_add(*offset).is_some());
    offset.with_context(|| format!("PORT_OFFSET must be a number up to {}", u16::MAX - highest))
}

/// The folder of the data, relative to the workspace: what runs on other ports has other data.
pub(crate) fn data() -> String {
    match port_offset() {
        0 => "data".to_owned(),
        offset => format!("data/offset-{offset}"),
    }
}

impl Service {
    /// Its port in development.
    pub(crate) fn port(&self) -> u16 {
        self.base_port.saturating_add(port_offset())
    }

    /// Its development defaults, complete.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (&'static str, String)> {
        let store = if port_offset() == 0 { &[][..] } else { self.store };
        self.env.iter().chain(store).map(|(name, value)| {
            let with_ports = all().fold((*value).to_owned(), |value, service| {
                value.replace(&format!("{{{}}}", service.name), &service.port().to_string())
            });
            (*name, with_ports.replace("{data}", &data()))
        })
    }

    /// Where it is found in development, without a final slash.
    pub(crate) fn url(&self, host: &str) -> String {
        format!("http://{host}:{}", self.port())
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
        let ports: BTreeSet<_> = all().map(|service| service.base_port).collect();
        assert_eq!((names.len(), ports.len()), (all().count(), all().count()));
    }

    #[test]
    fn defaults_name_the_ports_of_others() {
        let backend = super::find("backend-api").unwrap();
        let url = backend.variables().find(|(name, _)| *name == "EXTERNAL_API_URL").unwrap().1;
        let port = super::find("data-api").unwrap().port();
        assert_eq!(url, format!("http://127.0.0.1:{port}/logs/download"));
    }

    #[test]
    fn the_variable_for_a_base_url_is_a_shell_name() {
        let service = super::find("sre-kata").unwrap();
        assert_eq!(service.url_variable(), "SRE_KATA_URL");
    }
}
