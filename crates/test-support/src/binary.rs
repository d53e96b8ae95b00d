use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tokio::sync::watch;

use crate::child::ChildProcess;
use crate::raw::RawConnection;
use crate::variables::variable;
use crate::wait::wait_until;

/// How long a line of the log may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A service's binary as a child process. It inherits `PATH` and nothing else, works in an empty
/// temporary folder, and is killed on drop.
#[derive(Debug)]
pub struct Binary {
    process: ChildProcess,
    stdout: watch::Receiver<Vec<String>>,
    stderr: watch::Receiver<Vec<String>>,
}

impl Binary {
    /// Starts `program`, most often `env!("CARGO_BIN_EXE_<name>")`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        // The test's own clients need the process's provider; another test may have installed it.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut process = ChildProcess::new("binary", "", &[]);
        let child = process.spawn(
            Command::new(program)
                .args(arguments)
                .env_clear()
                .env("PATH", variable("PATH").unwrap_or_default())
                .envs(variables.iter().copied())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped()),
        );
        let stdout = collect_lines(child.stdout.take().expect("piped"));
        let stderr = collect_lines(child.stderr.take().expect("piped"));
        Self { process, stdout, stderr }
    }

    /// Starts `program` as a server on a free port of the loopback, with one worker thread. Of two variables of the same
    /// name the last one counts, so `variables` may have others.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn serve(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Self {
        let own = [("HOST", "127.0.0.1"), ("PORT", "0"), ("WORKERS", "1")];
        Self::start(program, arguments, &[&own[..], variables].concat())
    }

    /// Runs `program` to its end: exit code, stdout, stderr.
    ///
    /// # Panics
    /// When it cannot be started, or does not end.
    pub async fn run(
        program: &str,
        arguments: &[&str],
        variables: &[(&str, &str)],
    ) -> (Option<i32>, String, String) {
        let mut binary = Self::start(program, arguments, variables);
        let code = binary.exit(TIMEOUT).await.code();
        (code, binary.lines().join("\n"), binary.error_lines().join("\n"))
    }

    /// Starts `program` with variables that are all wrong, and returns what it says of them before it ends.
    ///
    /// # Panics
    /// When it does not end with exit code 78, or does not name one of them.
    pub async fn refuse(program: &str, variables: &[(&str, &str)]) -> String {
        let mut binary = Self::start(program, &[], variables);
        assert_eq!(binary.exit(TIMEOUT).await.code(), Some(78));
        let said = binary.error_lines().join("\n");
        for (name, _) in variables {
            assert!(said.contains(&format!("{name}: ")), "{said}");
        }
        said
    }

    /// What `<program> config` prints with these variables.
    ///
    /// # Panics
    /// When it fails.
    pub async fn config(program: &str, variables: &[(&str, &str)]) -> Vec<String> {
        let mut binary = Self::start(program, &["config"], variables);
        assert_eq!(binary.exit(TIMEOUT).await.code(), Some(0));
        binary.lines()
    }

    /// The lines that it has written to stdout so far.
    pub fn lines(&self) -> Vec<String> {
        self.stdout.borrow().clone()
    }

    /// The lines that it has written to stderr so far.
    pub fn error_lines(&self) -> Vec<String> {
        self.stderr.borrow().clone()
    }

    /// The lines of stdout that are JSON: its log.
    pub fn logs(&self) -> Vec<Value> {
        self.stdout.borrow().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Waits for the first line of its log, written already or still to come, in which `find`
    /// finds something, and returns that.
    ///
    /// # Panics
    /// When it has not come `within` that time, or stdout was closed without it.
    pub async fn wait_for_log<T>(
        &self,
        what: &str,
        within: Duration,
        find: impl Fn(&Value) -> Option<T>,
    ) -> T {
        let (mut seen, mut found) = (0, None);
        let mut stdout = self.stdout.clone();
        let searched = stdout.wait_for(|lines| {
            let mut new = lines[seen..].iter();
            seen = lines.len();
            found = new.find_map(|line| find(&serde_json::from_str(line).ok()?));
            found.is_some()
        });
        let end = tokio::time::timeout(within, searched).await.map(|lines| lines.is_ok());
        let problem = match end {
            Ok(true) => return found.expect("just found"),
            Ok(false) => {
                // What it died of is on the other stream, whose last lines may still be on the way.
                let _ = tokio::time::timeout(within, self.stderr.clone().wait_for(|_| false)).await;
                "its output ended without"
            }
            Err(_) => "waited in vain for",
        };
        panic!("{problem} {what}{}", self.output());
    }

    /// Waits for the line of its log with this message, and returns it.
    ///
    /// # Panics
    /// When it has not come within 30 s, or stdout was closed without it.
    pub async fn wait_for_message(&self, message: &str) -> Value {
        let found = |line: &Value| (line["message"] == message).then(|| line.clone());
        self.wait_for_log(message, TIMEOUT, found).await
    }

    /// Where it listens, as its log says; the loopback where it listens on every address.
    ///
    /// # Panics
    /// When it has not said so within 30 s.
    pub async fn addr(&self) -> SocketAddr {
        self.wait_for_log("its address", TIMEOUT, listening_address).await
    }

    /// Its process id, until its end was seen by [`Self::exit`].
    pub fn pid(&self) -> Option<u32> {
        self.process.pid()
    }

    /// Sends a signal. One that has ended already gets none.
    pub fn signal(&self, signal: Signal) {
        self.process.signal(signal);
    }

    /// Waits for its end. Afterwards its output is complete.
    ///
    /// # Panics
    /// When it, or what holds its stdout and stderr open, lives on for more than `within`.
    pub async fn exit(&mut self, within: Duration) -> ExitStatus {
        let mut status = None;
        wait_until("the binary has ended", within, async || {
            status = self.process.try_wait();
            status.is_some()
        })
        .await;
        for stream in [&mut self.stdout, &mut self.stderr] {
            let closed = tokio::time::timeout(within, stream.wait_for(|_| false)).await.is_ok();
            assert!(closed, "its output is still open {within:?} after its end");
        }
        status.expect("just seen")
    }

    /// Waits until it is ready, then ends it as an orchestrator does.
    ///
    /// # Panics
    /// When it does not become ready or does not end well, or where it has logged a warning or an error on its way.
    pub async fn start_and_stop_quietly(mut self) {
        let addr = self.addr().await;
        wait_until("it is ready", TIMEOUT, async || {
            let mut connection = RawConnection::open(addr).await;
            connection.send("GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
            connection.response().await.is_some_and(|answer| answer.status == 200)
        })
        .await;
        self.signal(Signal::TERM);
        let status = self.exit(TIMEOUT).await;
        assert!(status.success(), "{status}{}", self.output());
        let complaints = self.logs().into_iter().filter(|line| {
            line["level"].as_str().is_some_and(|level| ["WARN", "ERROR"].contains(&level))
        });
        let complaints: Vec<_> = complaints.collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
        assert!(self.error_lines().is_empty(), "{}", self.output());
    }

    fn output(&self) -> String {
        let (stdout, stderr) = (self.lines().join("\n"), self.error_lines().join("\n"));
        format!("\n--- stdout\n{stdout}\n--- stderr\n{stderr}")
    }
}

/// The channel is closed at the end of the stream.
fn collect_lines(stream: impl Read + Send + 'static) -> watch::Receiver<Vec<String>> {
    let (sender, receiver) = watch::channel(Vec::new());
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            sender.send_modify(|lines| lines.push(String::from_utf8_lossy(&line).into_owned()));
        }
    });
    receiver
}

fn listening_address(line: &Value) -> Option<SocketAddr> {
    if line["message"] != "Listening" {
        return None;
    }
    let mut addr: SocketAddr = line["server"]["address"].as_str()?.parse().ok()?;
    if addr.ip().is_unspecified() {
        addr.set_ip(IpAddr::V4(Ipv4Addr::LOCALHOST));
    }
    Some(addr)
}
