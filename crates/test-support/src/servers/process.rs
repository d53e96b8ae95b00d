use std::net::{Ipv4Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{fs, io};

use rustix::process::Signal;
use url::Url;

use crate::child::ChildProcess;
use crate::variables::variable;
use crate::wait::wait_until;

/// For a server to come up, also on a machine that is busy with other tests.
pub(super) const STARTUP: Duration = Duration::from_mins(1);
/// PostgreSQL refuses to start while the last child of a killed one still lives.
const STARTS: u32 = 10;
const BETWEEN_STARTS: Duration = Duration::from_millis(200);
/// For one exchange with a server that answers.
pub(super) const EXCHANGE: Duration = Duration::from_secs(10);

/// What a server promises about the writes that it has confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// As little as makes it quick. Redis loses everything when it is killed; PostgreSQL keeps
    /// what it has confirmed, unless the machine loses power.
    Fast,
    /// They are on the disk: `fsync` before the answer, as in production.
    Durable,
}

/// A database server: a child process, or one that runs elsewhere and was named by a variable.
///
/// Only a child that a test has started for itself can be changed, since the shared ones are never
/// handed out as mutable.
pub struct Server {
    addr: SocketAddr,
    process: Option<Process>,
}

struct Process {
    child: ChildProcess,
    launch: Launch,
}

/// How to start a server again and again, always with the same port and data.
pub(super) struct Launch {
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    /// The user and group to become.
    pub(super) user: Option<(u32, u32)>,
    /// Whether the server that listens there takes part in the conversation.
    pub(super) ready: fn(SocketAddr) -> bool,
}

/// The words of a command line, one space apart.
pub(super) fn words(line: &str) -> Vec<String> {
    line.split(' ').map(Into::into).collect()
}

impl Server {
    /// One that runs elsewhere.
    pub(super) fn external(url: &Url, default_port: u16) -> io::Result<Self> {
        let host = url.host_str().unwrap_or("localhost");
        let addr = (host, url.port().unwrap_or(default_port))
            .to_socket_addrs()?
            .find(|addr| TcpStream::connect_timeout(addr, EXCHANGE).is_ok())
            .ok_or(io::ErrorKind::ConnectionRefused)?;
        Ok(Self { addr, process: None })
    }

    pub(super) async fn start(child: ChildProcess, port: u16, launch: Launch) -> Self {
        let addr = (Ipv4Addr::LOCALHOST, port).into();
        let mut server = Self { addr, process: Some(Process { child, launch }) };
        server.restart().await;
        server
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its process id, if it is a child and runs.
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref()?.child.pid()
    }

    /// `kill -9`, for the server with its own children. It is gone when this returns.
    pub fn kill(&mut self) {
        self.process_mut().child.kill();
    }

    /// Stops it like `kill -STOP`: the system still accepts connections and bytes, nobody answers.
    pub fn freeze(&mut self) {
        self.process_mut().child.signal_all(Signal::STOP);
    }

    /// Lets a frozen server go on.
    pub fn thaw(&mut self) {
        self.process_mut().child.signal_all(Signal::CONT);
    }

    /// Starts it again, after a kill if it still runs, on the same port with the same data, and
    /// waits until it answers.
    ///
    /// # Panics
    /// When it does not answer within a minute, with what it has written.
    pub async fn restart(&mut self) {
        let addr = self.addr;
        let Process { child, launch } = self.process_mut();
        child.kill();
        let log = child.folder().join("server.log");
        let ready = launch.ready;
        let started = async {
            for _ in 0..STARTS {
                let output = fs::File::create(&log).expect("the folder can be written to");
                let mut command = Command::new(&launch.program);
                command
                    .args(&launch.arguments)
                    .stdout(output.try_clone().expect("a file can be cloned"))
                    .stderr(output);
                become_user(launch.user, &mut command);
                child.spawn(&mut command);
                let mut exited = false;
                wait_until("the server answers", STARTUP, async || {
                    exited = child.try_wait().is_some();
                    exited || blocking(move || ready(addr)).await
                })
                .await;
                if !exited {
                    return true;
                }
                tokio::time::sleep(BETWEEN_STARTS).await;
            }
            false
        };
        if tokio::time::timeout(STARTUP, started).await != Ok(true) {
            let log = fs::read_to_string(&log).unwrap_or_default();
            panic!("{} does not start:\n{log}", launch.program.display());
        }
    }

    fn process_mut(&mut self) -> &mut Process {
        self.process.as_mut().expect("only a server that runs elsewhere has none, which is shared")
    }
}

/// The URL in the variable `name`, if that is set.
///
/// # Panics
/// When it is none: a server that was asked for and cannot be used is no reason to skip.
pub(super) fn url_variable(name: &str) -> Option<Url> {
    let url = variable(name)?;
    Some(
        Url::parse(&url)
            .unwrap_or_else(|error| panic!("{name} is not the URL of one host: {error}")),
    )
}

/// The first of these programs that is on the `PATH` or in one of the further folders.
pub(super) fn find_program(names: &[&str], folders: &[PathBuf]) -> Option<PathBuf> {
    let path = variable("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> =
        std::env::split_paths(&path).chain(folders.iter().cloned()).collect();
    names
        .iter()
        .flat_map(|name| folders.iter().map(move |folder| folder.join(name)))
        .find(|program| program.is_file())
}

pub(super) fn become_user(user: Option<(u32, u32)>, command: &mut Command) {
    if let Some((uid, gid)) = user {
        command.uid(uid).gid(gid);
    }
}

/// Runs what waits for a server on a thread where it may.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("a helper thread has not panicked")
}
