//! A server under load: its process, what it has used, and what it answers.

use std::{
    fs::File,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use test_support::{Durability, MongoDb, Redis};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use super::{
    Plan,
    bare::Answer,
    entries::{Entry, NAME_SERVER, Request},
};
use crate::dns::NameServer;

/// A running server that is ready, killed when dropped.
pub(super) struct Server {
    process: Child,
    pid: Pid,
    pub(super) addr: SocketAddr,
    /// Where probes and metrics are: its admin port, if it has one.
    probes: SocketAddr,
    /// From just before the process was made until `/readyz` answered 200.
    pub(super) ready_after: Duration,
}

impl Server {
    /// Starts what `command` makes for free ports, the second one its admin port if it wants one, and
    /// waits until it is ready.
    ///
    /// # Errors
    /// When it cannot start, ends by itself, or is not ready within 10 s.
    async fn start(admin: bool, command: impl FnOnce(u16, u16) -> Result<Command>) -> Result<Self> {
        // Held both at once, so that they differ.
        let free = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)));
        let [addr, admin_addr] = free.map(|listener| listener?.local_addr());
        let (addr, admin_addr) = (addr?, admin_addr?);
        let probes = if admin { admin_addr } else { addr };
        let mut command = command(addr.port(), admin_addr.port())?;
        let started = Instant::now();
        let mut process = command.kill_on_drop(true).spawn()?;
        let ready = async {
            loop {
                let answer = fetch(probes, &Request::get("/readyz")).await;
                if answer.is_ok_and(|answer| answer.status() == Some(200)) {
                    return Ok(started.elapsed());
                }
                let ended = process.try_wait()?;
                ensure!(ended.is_none(), "{command:?} has ended by itself");
                sleep(Duration::from_millis(1)).await;
            }
        };
        let ready_after = timeout(Duration::from_secs(10), ready)
            .await
            .with_context(|| format!("{command:?} is not ready"))??;
        let pid = process.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let pid = pid.context("the process has ended")?;
        Ok(Self { process, pid, addr, probes, ready_after })
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When there is no connection, no answer within 5 s, or one that is not text.
    pub(super) async fn fetch(&self, request: &Request) -> Result<Response> {
        fetch(self.addr, request).await
    }

    /// Its answer to `/readyz`.
    ///
    /// # Errors
    /// As for [`Server::fetch`].
    pub(super) async fn ready(&self) -> Result<Response> {
        fetch(self.probes, &Request::get("/readyz")).await
    }

    /// Its metrics in Prometheus' text format.
    ///
    /// # Errors
    /// As for [`Server::fetch`].
    pub(super) async fn metrics(&self) -> Result<String> {
        Ok(fetch(self.probes, &Request::get("/metrics")).await?.body)
    }

    /// Asks the process to stop, and waits until it has.
    ///
    /// # Errors
    /// When it ends with another code than 0, or not within 30 s.
    pub(super) async fn stop(mut self) -> Result<()> {
        kill_process(self.pid, Signal::TERM)?;
        let ended = timeout(Duration::from_secs(30), self.process.wait()).await;
        let status = ended.context("the service does not stop")??;
        ensure!(status.success(), "the service stopped with {status}");
        Ok(())
    }

    /// CPU time that all threads have used, those that have ended included, in user and kernel
    /// mode. Linux sums it in nanoseconds and reports it in ticks, of which the caller's interval
    /// must hold many.
    pub(super) fn cpu_time(&self) -> Result<Duration> {
        let stat = self.proc("stat")?;
        // The second field is the program's name in brackets, which may hold anything.
        let (_, fields) = stat.rsplit_once(')').context("a strange /proc/<pid>/stat")?;
        let ticks: u64 = fields
            .split_whitespace()
            .skip(11)
            .take(2)
            .map(str::parse::<u64>)
            .sum::<Result<_, _>>()?;
        Ok(Duration::from_secs(ticks) / u32::try_from(rustix::param::clock_ticks_per_second())?)
    }

    /// Resident memory in MiB. `VmRSS` would be off by some hundred KiB a core: the kernel sums it
    /// lazily.
    pub(super) fn resident_mib(&self) -> Result<f64> {
        self.memory_mib("smaps_rollup", "Rss")
    }

    /// The most resident memory there has been since the start, in MiB.
    pub(super) fn peak_mib(&self) -> Result<f64> {
        self.memory_mib("status", "VmHWM")
    }

    fn memory_mib(&self, file: &str, name: &str) -> Result<f64> {
        let text = self.proc(file)?;
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.strip_suffix("kB"))
            .with_context(|| format!("no {name} in /proc/<pid>/{file}"))?;
        Ok(kib.trim().parse::<f64>()? / 1024.0)
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.pid.as_raw_nonzero());
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

/// A response, as it came over the wire.
pub(super) struct Response {
    head: String,
    pub(super) body: String,
}

impl Response {
    pub(super) fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }

    /// Length of head and body in bytes.
    pub(super) fn length(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What the bare server has to send so that its response equals this one.
    pub(super) fn to_answer(&self, request: &Request) -> Result<Answer> {
        Ok(Answer {
            method: request.method.to_owned(),
            path: request.path().to_owned(),
            status: self.status().context("a response without status")?,
            headers: self.headers(),
            body: self.body.clone(),
        })
    }

    /// In the order of their names, without those that actix itself adds.
    fn headers(&self) -> Vec<(String, String)> {
        let own = ["connection", "content-length", "date"];
        let mut headers: Vec<_> = self
            .head
            .lines()
            .filter_map(|line| line.split_once(": "))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .filter(|(name, _)| !own.contains(&name.as_str()))
            .collect();
        headers.sort();
        headers
    }
}

async fn fetch(addr: SocketAddr, request: &Request) -> Result<Response> {
    let mut text = String::new();
    let exchange = async {
        let mut stream = TcpStream::connect(addr).await?;
        stream.write_all(request.to_http(addr, "close").as_bytes()).await?;
        stream.read_to_string(&mut text).await
    };
    let exchanged = timeout(Duration::from_secs(5), exchange).await;
    exchanged.with_context(|| format!("no answer to {}", request.target))??;
    let (head, body) = text.split_once("\r\n\r\n").context("a response without an end of head")?;
    Ok(Response { head: head.to_owned(), body: body.to_owned() })
}

/// Where the servers of an entry run.
pub(super) struct Stand<'a> {
    pub(super) entry: &'a Entry,
    pub(super) plan: &'a Plan,
    /// What `NAME_SERVER` stands for.
    name_server: &'a NameServer,
    /// The folder of the binaries.
    binaries: PathBuf,
    /// The working directory of the servers, removed with this.
    folder: TempDir,
    stores: Option<Stores>,
}

/// Servers that keep what they have confirmed.
pub(super) struct Stores {
    pub(super) redis: Redis,
    pub(super) mongo: MongoDb,
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

impl<'a> Stand<'a> {
    /// A new folder on the disk that `cargo_target` is on, and the stores that the entry asks for.
    ///
    /// # Errors
    /// When they cannot be made.
    pub(super) async fn new(
        entry: &'a Entry,
        plan: &'a Plan,
        cargo_target: &Path,
        name_server: &'a NameServer,
    ) -> Result<Self> {
        let stores = if entry.has_stores { Some(Stores::start().await?) } else { None };
        let binaries = cargo_target.join(super::PROFILE);
        let folder = tempfile::tempdir_in(cargo_target)?;
        Ok(Self { entry, plan, name_server, binaries, folder, stores })
    }

    /// Its stores, if the entry asks for some.
    pub(super) fn stores(&self) -> Option<&Stores> {
        self.stores.as_ref()
    }

    /// A path below the folder.
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The service's binary.
    pub(super) fn binary(&self) -> PathBuf {
        self.binaries.join(self.entry.service)
    }

    /// What the service last started has written to its standard output.
    pub(super) fn log(&self) -> PathBuf {
        self.path("access.log")
    }

    /// Starts the service with variables beside those of the entry.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(super) async fn service(&self, env: &[(&str, &str)]) -> Result<Server> {
        self.start(&[], env, &self.log()).await
    }

    /// Starts another command of the service's binary that serves its probes.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(super) async fn service_as(&self, command: &str) -> Result<Server> {
        self.start(&[command], &[], &self.path(&format!("{command}.log"))).await
    }

    async fn start(&self, args: &[&str], env: &[(&str, &str)], log: &Path) -> Result<Server> {
        let Entry { env: own, admin_port, .. } = self.entry;
        let value = |value| if value == NAME_SERVER { self.name_server.address() } else { value };
        let own = own.iter().map(|&(name, own)| (name, value(own)));
        let stores = self.stores.iter().flat_map(|Stores { redis, mongo }| {
            [("REDIS_URL", redis.url()), ("MONGO_URL", mongo.url())]
        });
        Server::start(*admin_port, |port, admin_port_number| {
            let mut command = Command::new(self.binary());
            command
                .args(args)
                .current_dir(&self.folder)
                .env_clear()
                .envs([("HOST", "127.0.0.1"), ("WORKERS", "1"), ("LOG_FORMAT", "json")])
                .env("PORT", port.to_string())
                .envs(stores)
                .envs(own.chain(env.iter().copied()))
                .stdout(File::create(log)?);
            if *admin_port {
                command.env("ADMIN_PORT", admin_port_number.to_string());
            }
            Ok(command)
        })
        .await
    }

    /// Starts the bare server with these answers.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(super) async fn bare(&self, answers: &[Answer]) -> Result<Server> {
        let file = self.path("answers.json");
        std::fs::write(&file, serde_json::to_vec(answers)?)?;
        self.xtask(&["bare", "--answers", &file.to_string_lossy()]).await
    }

    /// Starts a server that is a command of this program.
    ///
    /// # Errors
    /// As for [`Server::start`].
    pub(super) async fn xtask(&self, args: &[&str]) -> Result<Server> {
        Server::start(false, |port, _| {
            let mut command = Command::new(self.binaries.join("xtask"));
            command.args(args).args(["--port", &port.to_string()]);
            Ok(command)
        })
        .await
    }
}
