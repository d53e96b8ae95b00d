//! Where servers run: their folder, their stores, their variables.

use std::{
    fs::File,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use tempfile::TempDir;
use test_support::{Durability, MongoDb, Redis};
use tokio::process::Command;
use tooling::NameServer;

use crate::bare::Answer;
use crate::plan::{PROFILE, Plan};
use crate::server::Server;
use crate::subject::{NAME_SERVER, Subject};

/// What all measurements share.
pub(crate) struct Bench<'a> {
    pub(crate) plan: &'a Plan,
    pub(crate) cargo_target: &'a Path,
    pub(crate) name_server: &'a NameServer,
}

impl Bench<'_> {
    /// A new environment for a subject.
    ///
    /// # Errors
    /// As for [`Environment::new`].
    pub(crate) async fn environment(&self, subject: &'static Subject) -> Result<Environment<'_>> {
        Environment::new(subject, self.plan, self.cargo_target, self.name_server).await
    }
}

/// Where the servers of a subject run.
pub(crate) struct Environment<'a> {
    pub(crate) subject: &'a Subject,
    pub(crate) plan: &'a Plan,
    /// What `NAME_SERVER` stands for.
    name_server: &'a NameServer,
    /// The folder of the binaries.
    binaries: PathBuf,
    /// The working directory of the servers, removed with this.
    folder: TempDir,
    stores: Option<Stores>,
}

/// Servers that keep what they have confirmed.
pub(crate) struct Stores {
    pub(crate) redis: Redis,
    pub(crate) mongo: MongoDb,
}

impl Stores {
    async fn start() -> Result<Self> {
        let redis = Redis::start_own(Durability::Durable).await;
        Ok(Self {
            redis: redis.context("Redis comes with `apt install redis-server`")?,
            mongo: MongoDb::start_own().await.context("`make test-servers` makes a stand-in")?,
        })
    }
}

impl<'a> Environment<'a> {
    /// A new folder on the disk that `cargo_target` is on, and the stores that the subject asks for.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(crate) async fn new(
        subject: &'a Subject,
        plan: &'a Plan,
        cargo_target: &Path,
        name_server: &'a NameServer,
    ) -> Result<Self> {
        let stores = if subject.has_stores { Some(Stores::start().await?) } else { None };
        let binaries = cargo_target.join(PROFILE);
        let folder = tempfile::tempdir_in(cargo_target)?;
        Ok(Self { subject, plan, name_server, binaries, folder, stores })
    }

    /// Its stores, if the subject asks for some.
    pub(crate) fn stores(&self) -> Option<&Stores> {
        self.stores.as_ref()
    }

    /// A path below the folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The service's binary.
    pub(crate) fn binary(&self) -> PathBuf {
        self.binaries.join(self.subject.service)
    }

    /// What the service last started has written to its standard output.
    pub(crate) fn log(&self) -> PathBuf {
        self.path("access.log")
    }

    /// Starts the service with variables beside those of the subject.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(crate) async fn service(&self, env: &[(&str, &str)]) -> Result<Server> {
        let Subject { service, admin_port, .. } = self.subject;
        self.start(service, *admin_port, &[], env, &self.log()).await
    }

    /// Starts the service with HTTPS, its probes on a port of their own.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(crate) async fn https_service(&self, certificate: &str, key: &str) -> Result<Server> {
        let env = [("TLS_CERT_FILE", certificate), ("TLS_KEY_FILE", key)];
        let server = self.start(self.subject.service, true, &[], &env, &self.log()).await?;
        Ok(server.with_https())
    }

    /// Starts another service beside it.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(crate) async fn other_service(
        &self,
        service: &str,
        env: &[(&str, &str)],
    ) -> Result<Server> {
        self.start(service, false, &[], env, &self.path(&format!("{service}.log"))).await
    }

    /// Starts another command of the service's binary that serves its probes.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(crate) async fn service_as(&self, command: &str) -> Result<Server> {
        let Subject { service, admin_port, .. } = self.subject;
        let log = self.path(&format!("{command}.log"));
        self.start(service, *admin_port, &[command], &[], &log).await
    }

    async fn start(
        &self,
        service: &str,
        admin_port: bool,
        args: &[&str],
        env: &[(&str, &str)],
        log: &Path,
    ) -> Result<Server> {
        let value = |value| if value == NAME_SERVER { self.name_server.address() } else { value };
        let own = self.subject.env.iter().filter(|_| service == self.subject.service);
        let own = own.map(|&(name, own)| (name, value(own)));
        let stores = self.stores.iter().flat_map(|Stores { redis, mongo }| {
            [("REDIS_URL", redis.url()), ("MONGO_URL", mongo.url())]
        });
        Server::start(admin_port, |port, admin_port_number| {
            let mut command = Command::new(self.binaries.join(service));
            command
                .args(args)
                .current_dir(&self.folder)
                .env_clear()
                .envs([("HOST", "127.0.0.1"), ("WORKERS", "1"), ("LOG_FORMAT", "json")])
                .env("PORT", port.to_string())
                .envs(stores)
                .envs(own.chain(env.iter().copied()))
                .stdout(File::create(log)?);
            if admin_port {
                command.env("ADMIN_PORT", admin_port_number.to_string());
            }
            Ok(command)
        })
        .await
    }

    /// Starts the bare server with these answers and one worker.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(crate) async fn bare(&self, answers: &[Answer]) -> Result<Server> {
        self.bare_with_workers(answers, 1).await
    }

    /// Starts the bare server with these answers and so many workers.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(crate) async fn bare_with_workers(
        &self,
        answers: &[Answer],
        workers: usize,
    ) -> Result<Server> {
        let answers = self.answers(answers)?;
        let args = ["bare", "--answers", &answers, "--workers", &workers.to_string()];
        self.own_command(&args).await
    }

    /// Starts the bare server with these answers and HTTPS, ready by HTTP on a port of its own.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(crate) async fn https_bare(
        &self,
        answers: &[Answer],
        certificate: &str,
        key: &str,
    ) -> Result<Server> {
        let answers = self.answers(answers)?;
        let server = Server::start(true, |port, probe_port| {
            let mut command = Command::new(self.binaries.join(env!("CARGO_BIN_NAME")));
            command
                .args(["bare", "--answers", &answers, "--certificate", certificate, "--key", key])
                .args(["--port", &port.to_string(), "--probe-port", &probe_port.to_string()]);
            Ok(command)
        });
        Ok(server.await?.with_https())
    }

    /// Writes a file for the bare server.
    fn answers(&self, answers: &[Answer]) -> Result<String> {
        let file = self.path("answers.json");
        std::fs::write(&file, serde_json::to_vec(answers)?)?;
        Ok(file.display().to_string())
    }

    /// Starts a server that is a command of this program.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(crate) async fn own_command(&self, args: &[&str]) -> Result<Server> {
        Server::start(false, |port, _| {
            let mut command = Command::new(self.binaries.join(env!("CARGO_BIN_NAME")));
            command.args(args).args(["--port", &port.to_string()]);
            Ok(command)
        })
        .await
    }
}
