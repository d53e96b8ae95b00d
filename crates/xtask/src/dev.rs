//! `xtask dev`: the whole stack on this machine, or one service of it.

use std::collections::BTreeSet;

use anyhow::{bail, ensure};
use tooling::workspace;

use crate::process::{self, Interrupts};
use crate::services::{self, MULTIVAC_WORKER, SERVICES, Service};
use crate::session::{Begun, Session};
use crate::stack::{Stack, succeeds};
use crate::watch;

#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Only this one, built and started again whenever a file behind it changes.
    #[arg(value_parser = services::parser())]
    service: Option<&'static Service>,
    /// The address to listen on; 0.0.0.0 makes the services reachable from other machines.
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// What data is kept in: `real` is PostgreSQL, and for multivac, which then has a worker, Redis and
    /// MongoDB. They are those that `POSTGRES_URL`, `REDIS_URL` and `MONGO_URL` name, or else run on this
    /// machine, or else are started until the end.
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

/// Runs until Ctrl-C.
///
/// # Errors
/// When a port is taken, the build fails, a service ends by itself or does not stop cleanly.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let real = args.stores == Stores::Real;
    services::check_port_offset()?;
    let mut services: Vec<_> = match args.service {
        Some(service) => vec![service],
        None => SERVICES.iter().collect(),
    };
    if real && let Some(place) = services.iter().position(|service| service.name == "multivac") {
        services.insert(place + 1, &MULTIVAC_WORKER);
    }
    let mut stack = Stack::new(&services, args.host)?;
    let begun = Session::begin(&stack.workspace, args.service.map(|service| service.name))?;
    let session = match begun {
        Begun::New(session) => session,
        Begun::RunsAlready(where_it_is) => {
            process::say(&where_it_is);
            return Ok(());
        }
    };
    stack.ensure_free_ports(&services)?;
    if args.observe {
        stack.observe()?;
    }
    if let Some(service) = services.iter().find(|service| service.name == "stakefish") {
        stack.provide_names(service).await?;
    }
    let mut interrupts = Interrupts::catch()?;
    if real {
        stack.provide_stores(&services).await?;
    }
    match args.service {
        Some(service) if services.len() == 1 => {
            watch::run(service, &stack, session, &mut interrupts).await
        }
        _ => run_all(&services, &stack, session, &mut interrupts).await,
    }
}

async fn run_all(
    services: &[&'static Service],
    stack: &Stack,
    mut session: Session,
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
    let table = stack.urls(services);
    session.note(&processes, &table)?;
    let ended = {
        let serve = async {
            stack.ready(services).await?;
            process::say(&format!("\n{table}\nCtrl-C stops them all.\n"));
            if stack.is_observed() {
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
