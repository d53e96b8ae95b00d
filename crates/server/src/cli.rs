//! The command line, the same for every service but for the commands that are its own.

use std::convert::Infallible;
use std::fmt;
use std::io::{self, Write as _};
use std::net::IpAddr;
use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use common::config::{Effective, Invalid, Loader};
use common::telemetry::Telemetry;
use common::{Service, causes};
use tokio::runtime::Runtime;
use utoipa::openapi::OpenApi;

use crate::config::Config;
use crate::endpoints::admin_document;
use crate::error::StartError;
use crate::running::Running;
use crate::signals::Signals;

/// How long `healthcheck` waits for an answer.
const HEALTHCHECK_TIMEOUT: Duration = Duration::from_secs(3);

/// A service's program: what its `main` runs.
#[derive(Debug)]
pub struct Program<C> {
    /// Who it is.
    pub service: Service,
    /// Reads its configuration.
    pub load: fn(&mut Loader) -> C,
    /// Its OpenAPI document.
    pub document: fn() -> OpenApi,
    /// Starts it.
    pub build: fn(&C) -> Result<Running, StartError>,
}

/// What a service's own command comes to.
pub enum Work<C> {
    /// To serve, until it is stopped.
    Serve(Program<C>),
    /// To do something with the configuration, print what came of it, and end.
    Once(Program<C>, Task<C>),
}

/// What is run once.
type Task<C> = Box<dyn FnOnce(C) -> Pin<Box<dyn Future<Output = Outcome>>>>;

/// What is printed, or why there is nothing: the exit code is then 1.
pub type Outcome = Result<String, Box<dyn std::error::Error + Send + Sync>>;

impl<C> Work<C> {
    /// To run `task` with the configuration that `program` loads, inside a tokio runtime.
    pub fn once<F>(program: Program<C>, task: impl FnOnce(C) -> F + 'static) -> Self
    where
        F: Future<Output = Outcome> + 'static,
    {
        Self::Once(program, Box::new(|config| Box::pin(task(config))))
    }
}

impl<C> fmt::Debug for Work<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if matches!(self, Self::Serve(_)) { "Serve" } else { "Once" })
    }
}

#[derive(Debug, Parser)]
#[command(about = None, disable_help_subcommand = true)]
struct Arguments<Own: Subcommand> {
    #[command(subcommand)]
    command: Option<Command<Own>>,
}

#[derive(Debug, Subcommand)]
enum Command<Own: Subcommand> {
    #[command(flatten)]
    Own(Own),
    /// Ask the running instance, or a URL, whether it is healthy; exit 0 or 1.
    Healthcheck {
        /// The URL to ask instead of `/healthz` of the instance on this machine.
        url: Option<String>,
    },
    /// Print the OpenAPI document.
    Openapi {
        /// That of the admin port, which is the same for every service.
        #[arg(long)]
        admin: bool,
    },
    /// Print the effective configuration, secrets masked.
    Config,
}

impl<C: AsRef<Config>> Program<C> {
    /// Does what the command line says: without a command it serves until it is stopped.
    ///
    /// The exit code is 0 after a clean stop, 78 for a wrong configuration, 1 for any other failure.
    #[must_use]
    pub fn run(self) -> ExitCode {
        self.run_with(|none: Infallible, _| match none {})
    }

    /// The same with commands of the service's own, which `work` gives their meaning.
    #[must_use]
    pub fn run_with<Own: Subcommand>(self, work: fn(Own, Self) -> Work<C>) -> ExitCode {
        let command = Arguments::<Own>::command()
            .name(self.service.name)
            .version(self.service.version)
            .long_version(format!("{} ({})", self.service.version, Service::revision()))
            .about(self.service.description)
            .after_help(
                "Without a command it serves. Configured by environment variables: see `config`.",
            );
        let arguments = match Arguments::<Own>::from_arg_matches(&command.get_matches()) {
            Ok(arguments) => arguments,
            Err(error) => error.exit(),
        };
        // The provider is the process's; one that is in place already does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match arguments.command {
            None => self.serve(),
            Some(Command::Own(own)) => match work(own, self) {
                Work::Serve(program) => program.serve(),
                Work::Once(program, task) => program.with_config(|_, config, _| {
                    match runtime().map(|runtime| runtime.block_on(task(config))) {
                        Ok(Ok(text)) => print(text.trim_end()),
                        Ok(Err(error)) => fail(&causes(&*error), 1),
                        Err(error) => fail(&causes(&error), 1),
                    }
                }),
            },
            Some(Command::Openapi { admin }) => {
                let document = if admin { admin_document() } else { (self.document)() };
                print(&document.to_pretty_json().unwrap_or_default())
            }
            Some(Command::Config) => {
                self.with_config(|_, _, effective| print(effective.to_string().trim_end()))
            }
            // Its certificate is made out to another name than the loopback's.
            Some(Command::Healthcheck { url: None }) => {
                self.with_config(|_, config, _| healthcheck(&own_health_url(config.as_ref()), true))
            }
            Some(Command::Healthcheck { url: Some(url) }) => healthcheck(&url, false),
        }
    }

    /// Goes on with the configuration, if nothing is wrong with it.
    fn with_config(self, go_on: impl FnOnce(Self, C, Effective) -> ExitCode) -> ExitCode {
        let mut variables = Loader::from_environment();
        let config = (self.load)(&mut variables);
        match variables.finish(config) {
            Ok((config, effective)) => go_on(self, config, effective),
            Err(invalid) => fail(&invalid, Invalid::EXIT_CODE),
        }
    }

    fn serve(self) -> ExitCode {
        self.with_config(|program, config, effective| {
            let (service, common) = (&program.service, config.as_ref());
            let telemetry = match Telemetry::install(service, &common.log, &common.otlp) {
                Ok(telemetry) => telemetry,
                Err(error) => return fail(&causes(&error), 1),
            };
            for near_miss in effective.near_misses {
                tracing::warn!("{near_miss}");
            }
            let clean = runtime().and_then(|runtime| {
                runtime.block_on(run_until_stopped(|| (program.build)(&config)))
            });
            let code = match clean {
                Ok(true) => ExitCode::SUCCESS,
                Ok(false) => ExitCode::FAILURE,
                Err(error) => {
                    tracing::error!(error = causes(&error), "Cannot start");
                    ExitCode::FAILURE
                }
            };
            drop(telemetry);
            code
        })
    }
}

fn runtime() -> Result<Runtime, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| StartError::Other(error.into()))
}

async fn run_until_stopped(
    build: impl FnOnce() -> Result<Running, StartError>,
) -> Result<bool, StartError> {
    let signals = Signals::listen().map_err(|error| StartError::Other(error.into()))?;
    let running = build()?;
    let handle = running.stop_handle();
    Ok(tokio::select! {
        clean = running.wait() => clean,
        () = signals.until_second(&handle) => {
            tracing::warn!("A second signal: ending at once");
            false
        }
    })
}

/// The address of this machine's instance: the wildcard address is asked by way of loopback.
fn own_health_url(config: &Config) -> String {
    let host = match config.server.host {
        IpAddr::V4(host) if host.is_unspecified() => "127.0.0.1".to_owned(),
        IpAddr::V4(host) => host.to_string(),
        IpAddr::V6(host) if host.is_unspecified() => "[::1]".to_owned(),
        IpAddr::V6(host) => format!("[{host}]"),
    };
    let scheme = if config.server.tls_files().is_some() { "https" } else { "http" };
    format!("{scheme}://{host}:{}/healthz", config.server.port)
}

fn healthcheck(url: &str, any_certificate: bool) -> ExitCode {
    let answer = reqwest::blocking::Client::builder()
        .timeout(HEALTHCHECK_TIMEOUT)
        .danger_accept_invalid_certs(any_certificate)
        .build()
        .and_then(|client| client.get(url).send());
    match answer {
        Ok(answer) if answer.status().is_success() => print(&format!("{url}: {}", answer.status())),
        Ok(answer) => fail(&format!("{url}: {}", answer.status()), 1),
        Err(error) => fail(&causes(&error), 1),
    }
}

fn print(text: &str) -> ExitCode {
    match writeln!(io::stdout(), "{text}") {
        Ok(()) => ExitCode::SUCCESS,
        // Whoever reads has had enough, such as `head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn fail(error: &dyn fmt::Display, code: u8) -> ExitCode {
    // There is nowhere to tell that stderr is closed.
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(code)
}
