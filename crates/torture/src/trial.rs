//! One crowd at one service: what it came to, and what was promised.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use tokio::io::AsyncWriteExt as _;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::crowd::{Kind, Order, Outcome};
use crate::ordinary::{self, Seen, Server};
use crate::process::{Certificate, Environment, Process};
use crate::services::Service;

/// The address of all clients of a crowd, another than that of ordinary clients.
const CROWD: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// The most clients of one process, below the usual limits of file descriptors.
const CLIENTS_PER_PROCESS: usize = 10_000;

/// How long ordinary requests may take that are sent all at once.
const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How long memory may take to be given back once a crowd has gone.
const GIVE_BACK: Duration = Duration::from_secs(10);

/// How long the clients of a crowd may take to tell how it went.
const TELL_LIMIT: Duration = Duration::from_secs(90);

/// How long clients of a crowd may take to notice that the service has stopped. Who had filled the receive window learns
/// of it by the kernel's next probe of the window, and probes come ever later (RFC 9293, 3.8.6.1).
const NOTICE: Duration = Duration::from_secs(15);

/// Where a service counts whom it refuses.
const REFUSALS: [&str; 3] = [
    "memory_budget_refused_total",
    "connections_refused_total",
    "db_client_operations_refused_total",
];

const MEBIBYTE: f64 = 1024.0 * 1024.0;

/// How large crowds are, and how long they stay.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// What part of the full size, one for all.
    pub divisor: usize,
    /// How long a crowd stays once it was sent.
    pub stay: Duration,
}

impl Scale {
    /// How many clients a crowd of this kind has.
    fn size(self, kind: Kind) -> usize {
        let size = match kind {
            Kind::HalfHeads => 20_000,
            Kind::InFlight => 10_000,
            Kind::HalfBodies
            | Kind::SlowReaders
            | Kind::SlowHandshakes
            | Kind::Pipelining
            | Kind::EndlessForms => 5_000,
        };
        size / self.divisor
    }
}

/// What is tried.
#[derive(Clone, Debug)]
pub struct Trial {
    /// Whom.
    pub service: &'static Service,
    /// The crowds, all at once.
    pub kinds: Vec<Kind>,
    /// Whether the service is stopped in the middle.
    pub stop: bool,
    /// The first port of the crowd's clients, which have one each: trials at the same time take different ones.
    pub first_port: u16,
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// How the clients of the crowd fared.
    pub outcome: Outcome,
    /// Resident memory, in MiB: at idle, at most, and after the crowd.
    pub memory: [f64; 3],
    /// Of ordinary clients, the 99th percentile.
    pub p99: Duration,
    /// Of probes, the longest.
    pub probe: Duration,
    /// How long the stop took.
    pub stopped_after: Option<Duration>,
    /// What did not hold.
    pub broken: Vec<String>,
    /// What was slower than promised, which on a busy machine may be the machine's.
    pub slow: Vec<String>,
}

impl Trial {
    /// The name of its row.
    #[must_use]
    pub fn name(&self) -> String {
        let kinds = match &self.kinds[..] {
            [kind] => format!("{kind:?}"),
            _ => "all at once".into(),
        };
        if self.stop { format!("{kinds}, stopped") } else { kinds }
    }

    /// Starts the service and sends the crowds. `None` where the service has nothing for any of them.
    ///
    /// # Errors
    /// When it cannot be tried at all.
    pub async fn run(
        &self,
        environment: &Environment,
        scale: Scale,
        certificate: &Certificate,
    ) -> anyhow::Result<Option<Report>> {
        let orders = |server| {
            let order = |&kind: &Kind| {
                let bytes = self.service.bytes(kind)?;
                let size = scale.size(kind);
                Some(Order { kind, size, server, from: CROWD, first_port: 0, bytes })
            };
            self.kinds.iter().filter_map(order).collect::<Vec<_>>()
        };
        let tls = self.kinds == [Kind::SlowHandshakes];
        let mut process =
            Process::start(self.service, environment, tls.then_some(certificate)).await?;
        let orders = orders(process.address);
        if orders.is_empty() {
            return Ok(None);
        }
        let mut report = Report::default();
        sleep(Duration::from_millis(500)).await;
        let idle = process.resident()?;
        report.memory[0] = mebibytes(idle);

        let leave = CancellationToken::new();
        let _leave = leave.clone().drop_guard();
        let server =
            Server { address: process.address, tls: tls.then(|| certificate.client.clone()) };
        let probes = (process.plain.into(), vec!["/healthz", "/readyz"]);
        let others = ordinary::ask_apart([(server, vec![self.service.ordinary]), probes], &leave)?;
        let mut crowds = Vec::new();
        let mut first_port = self.first_port;
        for order in &orders {
            crowds.extend(send(&environment.crowd, order, &mut first_port).await?);
        }
        sleep(scale.stay).await;

        if self.stop {
            leave.cancel();
            match process.stop().await {
                Ok(time) => report.stopped_after = Some(time),
                Err(error) => report.broken.push(format!("{error:#}")),
            }
            others.await?;
            let noticed = Instant::now() + NOTICE;
            for crowd in crowds {
                report.outcome = report.outcome.with(gone(crowd, noticed).await?);
            }
            // A slow reader does not see the end before what was sent until then.
            if report.outcome.held > 0 && !self.kinds.contains(&Kind::SlowReaders) {
                report.broken.push(format!("{} clients hang", report.outcome.held));
            }
            return Ok(Some(report));
        }

        if self.kinds == [Kind::InFlight] {
            wait_until_answered(&process).await;
        }
        let now = Instant::now();
        for crowd in crowds {
            report.outcome = report.outcome.with(gone(crowd, now).await?);
        }
        let mut refused = 0.0;
        for counter in REFUSALS {
            refused += process.metric(counter).await.unwrap_or(0.0);
        }
        leave.cancel();
        let [clients, probes] = others.await?;
        report.memory[1] = process.peak().map_or(0.0, mebibytes);
        report.p99 = clients.quantile(0.99);
        report.probe = probes.quantile(1.0);
        let given_back = self.wait_until_given_back(&process, idle).await;
        report.memory[2] = process.resident().map_or(0.0, mebibytes);
        self.judge(&mut report, environment, [&clients, &probes]);
        if !given_back {
            report.broken.push("memory is not given back".into());
        }
        #[expect(clippy::cast_precision_loss, reason = "some thousand clients")]
        if refused < report.outcome.refused as f64 {
            let seen = report.outcome.refused;
            report.broken.push(format!("{refused} refusals counted, {seen} seen"));
        }
        if let Some(end) = process.end()? {
            report.broken.push(format!("ended: {end}"));
        } else if let Err(error) = process.stop().await {
            report.broken.push(format!("{error:#}"));
        }
        Ok(Some(report))
    }

    async fn wait_until_given_back(&self, process: &Process, idle: u64) -> bool {
        let begun = Instant::now();
        while begun.elapsed() < GIVE_BACK {
            if process.resident().is_ok_and(|bytes| bytes <= 2 * idle) {
                return true;
            }
            sleep(Duration::from_millis(100)).await;
        }
        false
    }

    fn judge(&self, report: &mut Report, environment: &Environment, seen: [&Seen; 2]) {
        let [_, peak, _] = report.memory;
        if peak > mebibytes(environment.limit) * 0.9 {
            report.broken.push(format!("memory: {peak:.0} MiB at most"));
        }
        for (who, seen) in ["ordinary clients", "probes"].into_iter().zip(seen) {
            if let Some(failure) = seen.failures.first() {
                let failures = seen.failures.len();
                report.broken.push(format!("{who}: {failures} failures, as {failure}"));
            }
        }
        if self.kinds == [Kind::InFlight] && report.outcome.held > 0 {
            report.broken.push(format!("{} clients hang", report.outcome.held));
        }
        if report.p99 > Duration::from_millis(100) {
            report.slow.push("p99 of ordinary clients".into());
        }
        if report.probe > Duration::from_secs(1) {
            report.slow.push("slowest probe".into());
        }
    }
}

/// Waits until no request is in flight but the one that asks: on a busy machine ordinary requests take longer than a crowd
/// stays, and do not hang.
async fn wait_until_answered(process: &Process) {
    let begun = Instant::now();
    while begun.elapsed() < ANSWER_LIMIT
        && process.metric("http_server_active_requests").await.is_ok_and(|active| active > 1.0)
    {
        sleep(Duration::from_millis(100)).await;
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / MEBIBYTE
}

/// Sends a crowd, in as many processes as it takes.
async fn send(program: &Path, order: &Order, first_port: &mut u16) -> anyhow::Result<Vec<Child>> {
    let mut crowds = Vec::new();
    let mut left = order.size;
    while left > 0 {
        let size = left.min(CLIENTS_PER_PROCESS);
        left -= size;
        let mut crowd = Command::new(program)
            .arg("crowd")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut line =
            serde_json::to_vec(&Order { size, first_port: *first_port, ..order.clone() })?;
        *first_port += u16::try_from(size)?;
        line.push(b'\n');
        crowd.stdin.as_mut().context("piped")?.write_all(&line).await?;
        crowds.push(crowd);
    }
    Ok(crowds)
}

/// Sends a crowd home, at the latest at this time, and asks how it was.
async fn gone(mut crowd: Child, at: Instant) -> anyhow::Result<Outcome> {
    let stay = crowd.stdin.take();
    let _ = timeout_at(at.into(), crowd.wait()).await;
    drop(stay);
    let output = timeout(TELL_LIMIT, crowd.wait_with_output()).await.context("it stays")??;
    serde_json::from_slice(&output.stdout).context("the crowd does not tell how it was")
}
