//! What starting and stopping services on this machine takes.

use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use test_support::{Durability, MongoDb, Redis};

use crate::observe::Observer;
use crate::process::{Console, Environment, Process};
use crate::services::Service;
use crate::table;
use tooling::NameServer;
use tooling::Workspace;

/// How often a service is asked whether it is ready.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Where stakefish looks names up.
const DNS_SERVERS: &str = "DNS_SERVERS";

/// How often the log says what is still waited for.
const REMINDER: Duration = Duration::from_secs(10);

/// The services' workspace and surroundings.
pub(crate) struct Stack {
    pub(crate) workspace: Workspace,
    pub(crate) console: Console,
    environment: Environment,
    host: String,
    /// Variables that lead to what was started for the services.
    provided: Vec<(&'static str, String)>,
    /// Where the network has no resolver.
    name_server: Option<NameServer>,
    /// Where spans go, if they go anywhere.
    observer: Option<Observer>,
    /// Stores that did not run. They go with their data.
    stores: (Option<Redis>, Option<MongoDb>),
}

impl Stack {
    /// A stack of these services, none of which is started.
    ///
    /// # Errors
    /// When Cargo does not tell of the workspace, or a service could not listen on its port.
    pub(crate) fn new(services: &[&Service], host: String) -> anyhow::Result<Self> {
        ensure_free_ports(&host, services)?;
        let environment: Environment = std::env::vars_os().collect();
        Ok(Self {
            workspace: Workspace::load()?,
            console: Console::new(&environment, services),
            environment,
            host,
            provided: Vec::new(),
            name_server: None,
            observer: None,
            stores: (None, None),
        })
    }

    /// Takes the spans of what is started from now on.
    ///
    /// # Errors
    /// When the port of collectors is taken.
    pub(crate) fn observe(&mut self) -> anyhow::Result<()> {
        self.observer = Some(Observer::start()?);
        self.provided.extend(Observer::variables());
        Ok(())
    }

    /// Whether it takes spans.
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Starts one service from the last build.
    ///
    /// # Errors
    /// When no process can be made.
    pub(crate) fn start(&self, service: &'static Service) -> anyhow::Result<Process> {
        let Self { workspace, console, environment, provided, .. } = self;
        Process::start(service, &self.host, workspace, environment, *console, provided)
    }

    /// Lets a service look names up where the system cannot, unless the developer says where.
    pub(crate) async fn provide_names(&mut self, service: &Service) -> anyhow::Result<()> {
        if !self.environment.contains_key(&OsString::from(DNS_SERVERS)) {
            self.name_server = NameServer::start_if_needed().await?;
        }
        if let Some(server) = &self.name_server {
            let address = server.address();
            let text = format!("this machine looks no names up; {address} knows example.com");
            self.console.line(service, &text);
            self.provided.push((DNS_SERVERS, address.to_owned()));
        }
        Ok(())
    }

    /// Starts those stores that do not run on this machine, unless the developer says where they are.
    pub(crate) async fn provide_stores(&mut self, service: &Service) -> anyhow::Result<()> {
        if self.lacks("REDIS_URL", 6379) {
            let redis = Redis::start_own(Durability::Durable).await;
            let redis = redis.context("no Redis runs on this machine, nor can one be started")?;
            self.provide(service, "REDIS_URL", redis.url());
            self.stores.0 = Some(redis);
        }
        if self.lacks("MONGO_URL", 27017) {
            let mongo = MongoDb::start_own().await;
            let mongo = mongo.context("no MongoDB runs on this machine, nor can one be started")?;
            self.provide(service, "MONGO_URL", mongo.url());
            self.stores.1 = Some(mongo);
        }
        Ok(())
    }

    /// Whether nobody says where a store is, and none is where it would be then.
    fn lacks(&self, variable: &str, port: u16) -> bool {
        let said = [variable.into(), format!("{variable}_FILE")];
        let mut said = said.map(OsString::from).into_iter();
        !said.any(|variable| self.environment.contains_key(&variable))
            && TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
    }

    fn provide(&mut self, service: &Service, variable: &'static str, url: &str) {
        self.console.line(service, &format!("{variable}={url} was started, and ends with this"));
        self.provided.push((variable, url.to_owned()));
    }

    /// Waits until these services are ready; returns a table of their URLs.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub(crate) async fn ready(&self, services: &[&Service]) -> anyhow::Result<String> {
        ready(services, &self.host, self.console).await?;
        Ok(urls(services, &self.host))
    }

    /// Waits until one service is ready, and says so.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub(crate) async fn announce(&self, service: &'static Service) -> anyhow::Result<()> {
        ready(&[service], &self.host, self.console).await?;
        self.console.line(service, &format!("ready on {}", service.url(&self.host)));
        Ok(())
    }
}

/// Fails before anything is built if a service could not listen anyway.
fn ensure_free_ports(host: &str, services: &[&Service]) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for Service { name, port, .. } in services {
        if let Err(error) = TcpListener::bind((host, *port)) {
            problems.push(format!("{name} cannot listen on {host}:{port}: {error}"));
        }
    }
    ensure!(problems.is_empty(), "{}", problems.join("\n"));
    Ok(())
}

/// Runs a command to its end and returns whether it succeeded. Dropped, it kills it.
///
/// # Errors
/// When it cannot be run at all.
pub(crate) async fn succeeds(command: Command) -> anyhow::Result<bool> {
    let program = command.get_program().to_owned();
    let mut command = tokio::process::Command::from(command);
    let status = command.kill_on_drop(true).status().await;
    Ok(status.with_context(|| format!("cannot run {}", program.display()))?.success())
}

/// Waits until each service's `/readyz` answers 200; every [`REMINDER`] it says what is missing.
async fn ready(services: &[&Service], host: &str, console: Console) -> anyhow::Result<()> {
    // An own server on the loopback interface is not behind the developer's proxy.
    let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(2)).build()?;
    let mut reminder = tokio::time::interval(REMINDER);
    reminder.reset();
    for service in services {
        let url = format!("{}/readyz", service.url(&local(host)));
        loop {
            let answer = client.get(&url).send().await;
            let problem = match answer {
                Ok(answer) if answer.status() == 200 => break,
                Ok(answer) => {
                    answer.status().to_string() + " " + &answer.text().await.unwrap_or_default()
                }
                Err(error) => error.to_string(),
            };
            tokio::select! {
                () = tokio::time::sleep(POLL_INTERVAL) => {}
                _ = reminder.tick() => console.line(service, &format!("not ready: {problem}")),
            }
        }
    }
    Ok(())
}

/// The address at which this machine reaches what listens on `host`.
fn local(host: &str) -> String {
    if host == "0.0.0.0" { "127.0.0.1".to_owned() } else { host.to_owned() }
}

fn urls(services: &[&Service], host: &str) -> String {
    let rows: Vec<_> = services
        .iter()
        .map(|service| {
            let url = service.url(&local(host));
            [service.name.to_owned(), url.clone(), format!("{url}/docs")]
        })
        .collect();
    table::render(["SERVICE", "URL", "DOCS"], &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::SERVICES;

    #[test]
    fn a_taken_port_is_reported_with_its_service() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let service = Service { name: "busy", port, ..SERVICES[0] };
        let problem = ensure_free_ports("127.0.0.1", &[&service]).unwrap_err();
        let start = format!("busy cannot listen on 127.0.0.1:{port}: ");
        assert!(problem.to_string().starts_with(&start), "{problem}");
    }
}
