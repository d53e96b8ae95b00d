//! What starting and stopping services on this machine takes.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use sqlx::{Connection as _, PgConnection};
use test_support::{Durability, MongoDb, Postgres, Redis};
use tooling::{NameServer, Workspace};

use crate::observe::Observer;
use crate::process::{Console, Environment, Process, Provided};
use crate::services::Service;
use crate::table;

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
    provided: Vec<Provided>,
    /// Where the network has no resolver.
    name_server: Option<NameServer>,
    /// Where spans go, if they go anywhere.
    observer: Option<Observer>,
    /// Stores that did not run. They go with their data.
    stores: (Option<Postgres>, Option<Redis>, Option<MongoDb>),
}

impl Stack {
    /// A stack of these services, none of which is started.
    ///
    /// # Errors
    /// When Cargo does not tell of the workspace.
    pub(crate) fn new(services: &[&Service], host: String) -> anyhow::Result<Self> {
        let environment: Environment = std::env::vars_os().collect();
        Ok(Self {
            workspace: Workspace::load()?,
            console: Console::new(&environment, services),
            environment,
            host,
            provided: Vec::new(),
            name_server: None,
            observer: None,
            stores: (None, None, None),
        })
    }

    /// Fails before anything is built if a service could not listen anyway.
    ///
    /// # Errors
    /// Which ports are taken, and by whom.
    pub(crate) fn ensure_free_ports(&self, services: &[&Service]) -> anyhow::Result<()> {
        ensure_free_ports(&self.host, services)
    }

    /// Takes the spans of what is started from now on.
    ///
    /// # Errors
    /// When the port of collectors is taken.
    pub(crate) fn observe(&mut self) -> anyhow::Result<()> {
        self.observer = Some(Observer::start()?);
        for (name, value) in Observer::variables() {
            self.provided.push(Provided { package: None, name, value });
        }
        Ok(())
    }

    /// Whether it takes spans.
    pub(crate) fn is_observed(&self) -> bool {
        self.observer.is_some()
    }

    /// Where these services are, as a table.
    pub(crate) fn urls(&self, services: &[&Service]) -> String {
        urls(services, &self.host)
    }

    /// Waits until these services are ready.
    ///
    /// # Errors
    /// When there can be no HTTP client.
    pub(crate) async fn ready(&self, services: &[&Service]) -> anyhow::Result<()> {
        ready(services, &self.host, self.console).await
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
            let value = address.to_owned();
            self.provided.push(Provided { package: None, name: DNS_SERVERS, value });
        }
        Ok(())
    }

    /// Starts those stores that do not run on this machine, unless the developer says where they are.
    pub(crate) async fn provide_stores(
        &mut self,
        services: &[&'static Service],
    ) -> anyhow::Result<()> {
        for service in services {
            match service.name {
                "randomize" | "stakefish" => self.provide_postgres(service).await?,
                "multivac" => self.provide_redis_and_mongodb(service).await?,
                "multivac-worker" => {}
                name => self.console.line(service, &format!("{name} has no other store")),
            }
        }
        Ok(())
    }

    /// A database of a service's own: of the server that `POSTGRES_URL` names, else of the one that lets the user
    /// `postgres` in on the usual port, else of one that is started.
    async fn provide_postgres(&mut self, service: &'static Service) -> anyhow::Result<()> {
        if self.is_said("DATABASE_URL") {
            return Ok(());
        }
        let said = self.environment.get(&OsString::from("POSTGRES_URL"));
        let said = said.map(|url| url.to_string_lossy().into_owned());
        let usual = "postgres://postgres@127.0.0.1:5432/postgres";
        let url = match (said, &self.stores.0) {
            (Some(url), _) => url,
            (None, Some(started)) => started.url().to_owned(),
            (None, None) if PgConnection::connect(usual).await.is_ok() => usual.to_owned(),
            (None, None) => {
                let postgres = Postgres::start_own(Durability::Durable).await.context(
                    "no PostgreSQL runs on this machine that lets the user postgres in, nor can one be \
                     started; install it, or set POSTGRES_URL",
                )?;
                let url = postgres.url().to_owned();
                self.stores.0 = Some(postgres);
                url
            }
        };
        let mut database: reqwest::Url = url.parse().context("POSTGRES_URL")?;
        // Its own, or two services' migrations would meet in one.
        database.set_path(service.package);
        if PgConnection::connect(database.as_str()).await.is_err() {
            let mut admin = PgConnection::connect(&url).await.context("PostgreSQL")?;
            let statement = format!("CREATE DATABASE {}", service.package);
            sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut admin).await?;
        }
        self.provide(service, "DATABASE_URL", database.as_str());
        Ok(())
    }

    async fn provide_redis_and_mongodb(&mut self, service: &'static Service) -> anyhow::Result<()> {
        if !self.is_said("REDIS_URL") {
            let mut url = "redis://127.0.0.1:6379".to_owned();
            if is_free(6379) {
                let redis = Redis::start_own(Durability::Durable).await.context(
                    "no Redis runs on this machine, nor can one be started; install it, or set REDIS_URL",
                )?;
                redis.url().clone_into(&mut url);
                self.stores.1 = Some(redis);
            }
            self.provide(service, "REDIS_URL", &url);
        }
        if !self.is_said("MONGO_URL") {
            let mut url = "mongodb://127.0.0.1:27017/?directConnection=true".to_owned();
            if is_free(27017) {
                let mongo = MongoDb::start_own().await.context(
                    "no MongoDB runs on this machine, nor can one be started; install it, or set MONGO_URL",
                )?;
                mongo.url().clone_into(&mut url);
                self.stores.2 = Some(mongo);
            }
            self.provide(service, "MONGO_URL", &url);
        }
        Ok(())
    }

    /// Whether the developer's environment has a variable, or names a file with its value.
    fn is_said(&self, variable: &str) -> bool {
        let said = [variable.into(), format!("{variable}_FILE")];
        said.map(OsString::from).iter().any(|variable| self.environment.contains_key(variable))
    }

    fn provide(&mut self, service: &'static Service, name: &'static str, url: &str) {
        self.console.line(service, &format!("{name}={url}"));
        let (package, value) = (Some(service.package), url.to_owned());
        self.provided.push(Provided { package, name, value });
    }

    /// Where one service is.
    pub(crate) fn table(&self, service: &Service) -> String {
        urls(&[service], &self.host)
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

/// Whether nobody listens on a port of this machine.
fn is_free(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_err()
}

/// Fails before anything is built if a service could not listen anyway.
fn ensure_free_ports(host: &str, services: &[&Service]) -> anyhow::Result<()> {
    let mut problems = Vec::new();
    for service in services {
        let (name, port) = (service.name, service.port());
        if let Err(error) = TcpListener::bind((host, port)) {
            let owner = (error.kind() == ErrorKind::AddrInUse).then(|| owner(port)).flatten();
            let reason = owner.unwrap_or_else(|| error.to_string());
            problems.push(format!("{name} cannot listen on {host}:{port}: {reason}"));
        }
    }
    ensure!(
        problems.is_empty(),
        "{}\nEnd what is there, `make stop` if it is of this clone, or move all ports: make dev PORT_OFFSET=1000",
        problems.join("\n")
    );
    Ok(())
}

/// Who has a port, in words; the processes of others are seen by root alone.
fn owner(port: u16) -> Option<String> {
    let process = listeners::get_process_by_port(port, listeners::Protocol::TCP).ok()?;
    Some(format!("{} has it (process {}, {})", process.name, process.pid, process.path))
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
    fn a_taken_port_is_reported_with_its_service_and_the_process_that_has_it() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = taken.local_addr().unwrap().port();
        let service = Service { name: "busy", base_port: port, ..SERVICES[0] };
        let problem = ensure_free_ports("127.0.0.1", &[&service]).unwrap_err().to_string();
        let start = format!("busy cannot listen on 127.0.0.1:{port}: ");
        assert!(problem.starts_with(&start), "{problem}");
        let this = format!("process {}", std::process::id());
        assert!(problem.contains(&this), "{problem}");
        assert!(problem.ends_with("make dev PORT_OFFSET=1000"), "{problem}");
    }
}
