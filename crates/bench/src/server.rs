//! A server under load: its process, what it has used, and what it answers.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::{Child, Command},
    time::{sleep, timeout},
};

use crate::bare::Answer;
use crate::request::Request;

/// Where a load goes, and the process that it loads.
pub(crate) struct Endpoint {
    /// Its URL, which the target of a request continues.
    pub(crate) url: String,
    process: Pid,
}

/// A running server that is ready, killed when dropped.
pub(crate) struct Server {
    process: Child,
    pub(crate) endpoint: Endpoint,
    pub(crate) addr: SocketAddr,
    /// Where probes and metrics are: its admin port, if it has one.
    probes: SocketAddr,
    /// From just before the process was made until `/readyz` answered 200.
    pub(crate) ready_after: Duration,
}

impl Server {
    /// Starts what `command` makes for free ports, the second one its admin port if it wants one, and
    /// waits until it is ready.
    ///
    /// # Errors
    /// When it cannot start, ends by itself, or is not ready within 10 s.
    pub(crate) async fn start(
        admin: bool,
        command: impl FnOnce(u16, u16) -> Result<Command>,
    ) -> Result<Self> {
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
        let endpoint = Endpoint::new(
            format!("http://{addr}"),
            process.id().context("the process has ended")?,
        )?;
        Ok(Self { process, endpoint, addr, probes, ready_after })
    }

    /// The same server, which is asked by HTTPS where requests go, and by HTTP for its probes.
    pub(crate) fn with_https(mut self) -> Self {
        self.endpoint.url = format!("https://{}", self.addr);
        self
    }

    /// One request on a connection of its own.
    ///
    /// # Errors
    /// When there is no connection, no answer within 5 s, or one that is not text.
    pub(crate) async fn fetch(&self, request: &Request) -> Result<Response> {
        fetch(self.addr, request).await
    }

    /// Its answer to `/readyz`.
    ///
    /// # Errors
    /// As for [`Server::fetch`].
    pub(crate) async fn ready(&self) -> Result<Response> {
        fetch(self.probes, &Request::get("/readyz")).await
    }

    /// Its metrics in Prometheus' text format.
    ///
    /// # Errors
    /// As for [`Server::fetch`].
    pub(crate) async fn metrics(&self) -> Result<String> {
        Ok(fetch(self.probes, &Request::get("/metrics")).await?.body)
    }

    /// Asks the process to stop, and waits until it has.
    ///
    /// # Errors
    /// When it ends with another code than 0, or not within 30 s.
    pub(crate) async fn stop(mut self) -> Result<()> {
        kill_process(self.endpoint.process, Signal::TERM)?;
        let ended = timeout(Duration::from_secs(30), self.process.wait()).await;
        let status = ended.context("the service does not stop")??;
        ensure!(status.success(), "the service stopped with {status}");
        Ok(())
    }
}

impl Endpoint {
    /// # Errors
    /// When there is no process of that number.
    pub(crate) fn new(url: String, pid: u32) -> Result<Self> {
        let process = Pid::from_raw(pid.cast_signed()).context("0 is no process")?;
        let endpoint = Self { url, process };
        endpoint.cpu_time()?;
        Ok(endpoint)
    }

    /// CPU time that all threads have used, those that have ended included, in user and kernel
    /// mode. Linux sums it in nanoseconds and reports it in ticks, of which the caller's interval
    /// must hold many.
    pub(crate) fn cpu_time(&self) -> Result<Duration> {
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
    pub(crate) fn resident_mib(&self) -> Result<f64> {
        self.memory_mib("smaps_rollup", "Rss")
    }

    /// The most resident memory there has been since the start, in MiB.
    pub(crate) fn peak_mib(&self) -> Result<f64> {
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
        let path = format!("/proc/{}/{file}", self.process.as_raw_nonzero());
        std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
    }
}

/// A response, as it came over the wire.
pub(crate) struct Response {
    head: String,
    pub(crate) body: String,
}

impl Response {
    pub(crate) fn status(&self) -> Option<u16> {
        self.head.split(' ').nth(1)?.parse().ok()
    }

    /// Length of head and body in bytes.
    pub(crate) fn length(&self) -> usize {
        self.head.len() + self.body.len()
    }

    /// What the bare server has to send so that its response equals this one.
    pub(crate) fn to_answer(&self, request: &Request) -> Result<Answer> {
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
