//! A service in a cgroup of its own, and how it fares.

use std::fmt;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::cgroup::Cgroup;
use crate::ordinary::{SERVER_NAME, get, get_text};
use crate::services::Service;

/// How long a service may take until it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// The chart's default limit.
const LIMIT: u64 = 128 * 1024 * 1024;

/// Beyond `SHUTDOWN_GRACE_PERIOD`, for background work and the log.
const STOP_MARGIN: Duration = Duration::from_secs(12);

/// The default `SHUTDOWN_GRACE_PERIOD`.
const GRACE: Duration = Duration::from_secs(20);

/// Certificate and key of a service that speaks TLS, beside its files.
pub struct Certificate {
    /// In PEM form.
    pub certificate: String,
    /// In PEM form.
    pub key: String,
    /// What makes connections to who has it.
    pub client: TlsConnector,
}

/// Where services are started, and how much memory they get.
#[derive(Debug)]
pub struct Environment {
    /// The folder of their binaries.
    pub binaries: PathBuf,
    /// This program, which crowds are processes of.
    pub crowd: PathBuf,
    /// In bytes.
    pub limit: u64,
    /// Whether cgroups can be made here; `MEMORY_LIMIT` stands for them otherwise.
    pub cgroups: bool,
    /// Where backend-api downloads from.
    pub upstream: SocketAddr,
}

impl Environment {
    /// Binaries of services in this folder, each with the chart's default limit of memory.
    #[must_use]
    pub fn new(binaries: PathBuf, crowd: PathBuf, upstream: SocketAddr) -> Self {
        let name = format!("torture-{}-{}", std::process::id(), upstream.port());
        Self { binaries, crowd, limit: LIMIT, cgroups: Cgroup::new(&name, LIMIT).is_ok(), upstream }
    }
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").finish_non_exhaustive()
    }
}

impl Certificate {
    /// A new one that nobody has signed.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn generate() -> anyhow::Result<Self> {
        let pair = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
        let mut roots = RootCertStore::empty();
        roots.add(pair.cert.der().clone())?;
        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self {
            certificate: pair.cert.pem(),
            key: pair.signing_key.serialize_pem(),
            client: TlsConnector::from(Arc::new(client)),
        })
    }
}

/// A running service; killed when dropped, its files with it.
#[derive(Debug)]
pub struct Process {
    child: Child,
    pid: Pid,
    /// Where it listens, for TLS if it has a certificate.
    pub address: SocketAddr,
    /// Where it speaks plain HTTP: the same, or its admin port.
    pub plain: SocketAddr,
    group: Option<Cgroup>,
    folder: TempDir,
}

impl Process {
    /// Starts a service and waits until it is ready.
    ///
    /// # Errors
    /// When it cannot start or does not become ready; with the last lines of its log.
    pub async fn start(
        service: &Service,
        environment: &Environment,
        tls: Option<&Certificate>,
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        service.prepare(folder.path())?;
        // Held both at once, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let [address, admin] = free.map(|listener| listener?.local_addr());
        let (address, admin) = (address?, admin?);
        let plain = if tls.is_some() { admin } else { address };
        let port = address.port();
        let group = environment
            .cgroups
            .then(|| {
                Cgroup::new(&format!("torture-{}-{port}", std::process::id()), environment.limit)
            })
            .transpose()
            .context("cannot make a cgroup")?;
        // The shell enters the group, then becomes the service.
        let mut command = Command::new("/bin/sh");
        let enter = "if [ -n \"$0\" ]; then echo $$ >\"$0\"; fi; exec \"$@\"";
        command
            .arg("-c")
            .arg(enter)
            .arg(group.as_ref().map(Cgroup::processes).unwrap_or_default())
            .arg(environment.binaries.join(service.name))
            .current_dir(folder.path())
            .env_clear()
            .env("HOST", "127.0.0.1")
            .env("PORT", port.to_string())
            .env("WORKERS", "1")
            // As in the images.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .env("EXTERNAL_API_URL", format!("http://{}/", environment.upstream))
            .envs(service.variables.iter().copied())
            .stdout(fs::File::create(folder.path().join("stdout"))?)
            .stderr(fs::File::create(folder.path().join("stderr"))?)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        if group.is_none() {
            command.env("MEMORY_LIMIT", environment.limit.to_string());
        }
        if let Some(tls) = tls {
            fs::write(folder.path().join("tls.crt"), &tls.certificate)?;
            fs::write(folder.path().join("tls.key"), &tls.key)?;
            command.env("TLS_CERT_FILE", "tls.crt").env("TLS_KEY_FILE", "tls.key");
            // Probes speak plain HTTP.
            command.env("ADMIN_PORT", admin.port().to_string());
        }
        let child = command.spawn().context("cannot start it")?;
        let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.context("it has ended")?;
        let mut process = Self { child, pid, address, plain, group, folder };
        let begun = Instant::now();
        while get(&process.plain.into(), "/readyz").await.ok() != Some(200) {
            let ended = process.child.try_wait()?.is_some();
            ensure!(!ended && begun.elapsed() < READY_LIMIT, "it is not ready:\n{}", process.log());
            sleep(Duration::from_millis(20)).await;
        }
        Ok(process)
    }

    /// Resident memory in bytes.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn resident(&self) -> anyhow::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most resident memory there has been, in bytes.
    ///
    /// # Errors
    /// When the process has ended.
    pub fn peak(&self) -> anyhow::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> anyhow::Result<u64> {
        let text = fs::read_to_string(format!("/proc/{}/status", self.pid.as_raw_nonzero()))?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        Ok(kibibytes.with_context(|| format!("no {name} it has ended"))?.parse::<u64>()? * 1024)
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn end(&mut self) -> anyhow::Result<Option<String>> {
        let kills = self.group.as_ref().map(Cgroup::kills).transpose()?.unwrap_or(0);
        let ended = self.child.try_wait()?;
        Ok(match (ended, kills) {
            (None, 0) => None,
            (Some(status), 0) => Some(status.to_string()),
            (_, kills) => Some(format!("out of memory, {kills} times")),
        })
    }

    /// The sum of a metric's samples.
    ///
    /// # Errors
    /// When `/metrics` is not answered.
    pub async fn metric(&self, name: &str) -> anyhow::Result<f64> {
        let text = get_text(&self.plain.into(), "/metrics").await?;
        let samples = text.lines().filter_map(|line| line.strip_prefix(name));
        Ok(samples
            .filter(|rest| rest.starts_with(['{', ' ']))
            .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum())
    }

    /// Ends it as an orchestrator does. Returns how long that took.
    ///
    /// # Errors
    /// When it ends with another status than 0, or not in time.
    pub async fn stop(mut self) -> anyhow::Result<Duration> {
        let begun = Instant::now();
        kill_process(self.pid, Signal::TERM)?;
        let limit = GRACE + STOP_MARGIN;
        let status = timeout(limit, self.child.wait()).await.context("it does not stop")??;
        ensure!(status.success(), "it stopped with {status}:\n{}", self.log());
        Ok(begun.elapsed())
    }

    /// The last lines of its log.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |name| fs::read_to_string(self.folder.path().join(name)).unwrap_or_default();
        let (stdout, stderr) = (read("stdout"), read("stderr"));
        let lines: Vec<_> = stdout.lines().rev().take(5).collect();
        lines.into_iter().rev().chain(stderr.lines()).collect::<Vec<_>>().join("\n")
    }
}
