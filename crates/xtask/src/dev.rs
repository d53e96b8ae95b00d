//! The whole stack on this machine, or one service of it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use test_support::{Durability, MongoDb, Redis};

use crate::dns::NameServer;
use crate::observe::Observer;
use crate::process::{self, Console, Environment, Interrupts, Process};
use crate::services::{self, MULTIVAC_WITH_REAL_STORES, SERVICES, Service};
use crate::table;
use crate::watch;
use crate::workspace::{self, Workspace};

/// Between two looks at something that is about to change.
const TICK: Duration = Duration::from_millis(50);

/// Where stakefish looks names up.
const DNS_SERVERS: &str = "DNS_SERVERS";

/// How often the log says what is still waited for.
const REMINDER: Duration = Duration::from_secs(10);

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this one, built and started again whenever a file behind it changes.
    #[arg(value_parser = services::parser())]
    service: Option<&'static Service>,
    /// The address to listen on; 0.0.0.0 makes the services reachable from other machines.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// What multivac keeps jobs and data in: `real` starts its server and its worker, with the Redis
    /// and the MongoDB that `REDIS_URL` and `MONGO_URL` name, or else run on this machine, or else are
    /// started until the end.
    #[arg(long, value_enum, default_value_t = Stores::Embedded)]
    stores: Stores,
    /// Takes the services' spans and shows them: see `trace`.
    #[arg(long)]
    observe: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Stores {
    Embedded,
    Real,
}

/// What starting and stopping services takes.
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

/// Runs until Ctrl-C.
///
/// # Errors
/// When a port is taken, the build fails, a service ends by itself or does not stop cleanly.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let real = args.stores == Stores::Real;
    ensure!(
        !real || args.service.is_some_and(|service| service.name == "multivac"),
        "only multivac has other stores: make dev/multivac STORES=real"
    );
    let services: Vec<_> = match args.service {
        Some(_) if real => MULTIVAC_WITH_REAL_STORES.iter().collect(),
        Some(service) => vec![service],
        None => SERVICES.iter().collect(),
    };
    let environment: Environment = std::env::vars_os().collect();
    let mut stack = Stack {
        workspace: Workspace::load()?,
        console: Console::new(&environment, &services),
        environment,
        host: args.host,
        provided: Vec::new(),
        name_server: None,
        observer: None,
        stores: (None, None),
    };
    ensure_free_ports(&stack.host, &services)?;
    if args.observe {
        stack.observer = Some(Observer::start()?);
        stack.provided.extend(Observer::variables());
    }
    if let Some(service) = services.iter().find(|service| service.name == "stakefish") {
        stack.provide_names(service).await?;
    }
    let mut interrupts = Interrupts::catch()?;
    if real {
        stack.provide_stores(services[0]).await?;
    }
    match args.service {
        Some(service) if !real => watch::run(service, &stack, &mut interrupts).await,
        _ => run_all(&services, &stack, &mut interrupts).await,
    }
}

async fn run_all(
    services: &[&'static Service],
    stack: &Stack,
    interrupts: &mut Interrupts,
) -> anyhow::Result<()> {
    let binaries: BTreeSet<_> = services.iter().map(|service| service.package).collect();
    let binaries = Vec::from_iter(binaries);
    tokio::select! {
        built = succeeds(workspace::build(&binaries)) => ensure!(built?, "the build failed"),
        () = interrupts.next() => return Ok(()),
    }
    let mut processes = Vec::new();
    for service in services {
        processes.push(stack.start(service)?);
    }
    let ended = {
        let serve = async {
            ready(services, &stack.host, stack.console).await?;
            let urls = urls(services, &stack.host);
            process::say(&format!("\n{urls}\nCtrl-C stops them all.\n"));
            if stack.observer.is_some() {
                process::say("`make trace` lists traces, `make trace ID=<trace id>` shows one.\n");
            }
            std::future::pending::<anyhow::Result<()>>().await
        };
        tokio::select! {
            failed = serve => return failed,
            ended = process::first_ended(&mut processes) => Some(ended),
            () = interrupts.next() => None,
        }
    };
    if let Some((service, status)) = ended {
        stack.console.line(service, &format!("ended: {}", process::explain(status)));
    }
    processes
        .retain(|process| ended.is_none_or(|(service, _)| process.service.name != service.name));
    if !processes.is_empty() {
        process::say("\nstopping; another Ctrl-C ends everything at once");
    }
    let stopped_well = process::stop(processes, interrupts, stack.console).await;
    if let Some((service, status)) = ended {
        bail!("{} ended by itself: {}", service.name, process::explain(status));
    }
    ensure!(stopped_well, "not every service stopped cleanly");
    Ok(())
}

impl Stack {
    /// Starts one service from the last build.
    ///
    /// # Errors
    /// When no process can be made.
    pub(crate) fn start(&self, service: &'static Service) -> anyhow::Result<Process> {
        let Self { workspace, console, environment, provided, .. } = self;
        Process::start(service, &self.host, workspace, environment, *console, provided)
    }

    /// Lets a service look names up where the system cannot, unless the developer says where.
    async fn provide_names(&mut self, service: &Service) -> anyhow::Result<()> {
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
    async fn provide_stores(&mut self, service: &Service) -> anyhow::Result<()> {
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
                () = tokio::time::sleep(TICK) => {}
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
