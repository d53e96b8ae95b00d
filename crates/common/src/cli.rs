//! The command line, the same for every service.

use std::io::{self, Write as _};
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};
use utoipa::openapi::OpenApi;

use crate::causes;
use crate::config::{Config, Invalid, Loader};
use crate::server::{Running, StartError};
use crate::telemetry::Telemetry;
use crate::{Service, signals::Signals};

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

#[derive(Debug, Parser)]
#[command(about = None, disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Ask the running instance, or a URL, whether it is healthy; exit 0 or 1.
    Healthcheck {
        /// The URL to ask instead of `/healthz` of the instance on this machine.
        url: Option<String>,
    },
    /// Print the OpenAPI document.
    Openapi,
    /// Print the effective configuration, secrets masked.
    Config,
}

impl<C: AsRef<Config>> Program<C> {
    /// Does what the command line says: without a command it serves until it is stopped.
    ///
    /// The exit code is 0 after a clean stop, 78 for a wrong configuration, 1 for any other failure.
    #[must_use]
    pub fn run(self) -> ExitCode {
        let command = Arguments::command()
            .name(self.service.name)
            .version(self.service.version)
            .long_version(format!("{} ({})", self.service.version, Service::REVISION))
            .about(self.service.description)
            .after_help(
                "Without a command it serves. Configured by environment variables: see `config`.",
            );
        let arguments = match Arguments::from_arg_matches(&command.get_matches()) {
            Ok(arguments) => arguments,
            Err(error) => error.exit(),
        };
        // The provider is the process's; one that is in place already does as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        match arguments.command {
            Some(Command::Openapi) => {
                print(&(self.document)().to_pretty_json().unwrap_or_default())
            }
            command => {
                let mut variables = Loader::from_environment();
                let config = (self.load)(&mut variables);
                let (config, effective) = match variables.finish(config) {
                    Ok(finished) => finished,
                    Err(invalid) => return fail(&invalid, Invalid::EXIT_CODE),
                };
                match command {
                    Some(Command::Config) => print(effective.to_string().trim_end()),
                    Some(Command::Healthcheck { url }) => {
                        match url {
                            Some(url) => healthcheck(&url, false),
                            // Its certificate is made out to another name than the loopback's.
                            None => healthcheck(&own_health_url(config.as_ref()), true),
                        }
                    }
                    _ => self.serve(config, &effective.near_misses),
                }
            }
        }
    }

    fn serve(self, config: C, near_misses: &[String]) -> ExitCode {
        let common = config.as_ref();
        let file = format!("{}.log", self.service.name);
        let telemetry = match Telemetry::install(&self.service, &file, &common.log, &common.otlp) {
            Ok(telemetry) => telemetry,
            Err(error) => return fail(&causes(&error), 1),
        };
        for near_miss in near_misses {
            tracing::warn!("{near_miss}");
        }
        let clean = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| StartError::Other(error.into()))
            .and_then(|runtime| runtime.block_on(run_until_stopped(|| (self.build)(&config))));
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
    }
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

fn fail(error: &dyn std::fmt::Display, code: u8) -> ExitCode {
    // There is nowhere to tell that stderr is closed.
    let _ = writeln!(io::stderr(), "{error}");
    ExitCode::from(code)
}
