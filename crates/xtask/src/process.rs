//! One service as a child process: started, its output prefixed, stopped.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::Context as _;
use futures_util::future::{join_all, select_all};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::services::{SERVICES, Service};
use tooling::Workspace;

/// How long a service may take to stop: the default `SHUTDOWN_GRACE_PERIOD`, and some time to
/// flush.
const STOP_LIMIT: Duration = Duration::from_secs(25);

/// The exit code of a service whose variables are wrong: `EX_CONFIG` of sysexits.h.
const EX_CONFIG: i32 = 78;

/// Cyan, green, yellow, magenta, blue, bright cyan: readable on light and dark. Red is for errors.
const COLOURS: [u8; 6] = [36, 32, 33, 35, 34, 96];

/// What the developer's shell exports.
pub(crate) type Environment = BTreeMap<OsString, OsString>;

/// Where the lines go, and how they look there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Console {
    terminal: bool,
    colour: bool,
    /// Of the longest name that is printed.
    width: usize,
}

impl Console {
    /// Colours only for a terminal, and there only without `NO_COLOR` (no-color.org).
    pub(crate) fn new(environment: &Environment, services: &[&Service]) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let plain = environment.get(&OsString::from("NO_COLOR")).is_some_and(|it| !it.is_empty());
        let width = services.iter().map(|service| service.name.len()).max().unwrap_or(0);
        Self { terminal, colour: terminal && !plain, width }
    }

    /// One line of a service's, or of ours about it.
    pub(crate) fn line(self, service: &Service, text: &str) {
        say(&self.prefixed(service, text));
    }

    fn prefixed(self, service: &Service, text: &str) -> String {
        let (name, width) = (service.name, self.width);
        if self.colour {
            let position = SERVICES.iter().position(|other| other.package == service.package);
            let code = COLOURS[position.unwrap_or(0) % COLOURS.len()];
            format!("\x1b[{code}m{name:width$} |\x1b[0m {text}")
        } else {
            format!("{name:width$} | {text}")
        }
    }
}

/// Prints lines about the stack.
pub(crate) fn say(text: &str) {
    // That nobody reads any more is no reason to end the services in the middle of something.
    let _ = writeln!(std::io::stdout().lock(), "{text}");
}

/// A variable that leads to what was started for the services.
#[derive(Debug)]
pub(crate) struct Provided {
    /// Who gets it; without, all.
    pub(crate) package: Option<&'static str>,
    pub(crate) name: &'static str,
    pub(crate) value: String,
}

/// A started service. Dropped, it is killed.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) service: &'static Service,
    child: Child,
    output: JoinSet<()>,
}

impl Process {
    /// Starts the binary that the last build left.
    ///
    /// # Errors
    /// When no process can be made.
    pub(crate) fn start(
        service: &'static Service,
        host: &str,
        workspace: &Workspace,
        environment: &Environment,
        console: Console,
        provided: &[Provided],
    ) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("supervised").arg(std::process::id().to_string());
        command.arg(workspace.binary(service.package)).args(service.args);
        command.env("HOST", host).env("PORT", service.port().to_string());
        let format = console.terminal.then(|| ("LOG_FORMAT", "pretty".to_owned()));
        let is_for = |it: &&Provided| it.package.is_none_or(|package| package == service.package);
        let provided = provided.iter().filter(is_for).map(|it| (it.name, it.value.clone()));
        for (name, value) in service.variables().chain(format).chain(provided) {
            if !environment.contains_key(&OsString::from(name)) {
                command.env(name, value);
            }
        }
        let mut child = command
            .current_dir(&workspace.root)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C reaches the terminal's whole foreground group; the services are told by us.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", service.name))?;
        let mut output = JoinSet::new();
        if let (Some(stdout), Some(stderr)) = (child.stdout.take(), child.stderr.take()) {
            output.spawn(forward(stdout, service, console));
            output.spawn(forward(stderr, service, console));
        }
        Ok(Self { service, child, output })
    }

    /// Its end, all its output printed.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        let status = self.child.wait().await.unwrap_or_default();
        while self.output.join_next().await.is_some() {}
        status
    }

    /// Its id, until it has been waited for.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    fn signal(&self, signal: Signal) {
        // A child that was waited for has no id any more, so this signals no other process.
        let id = self.child.id().and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = id.and_then(Pid::from_raw) {
            let _ = kill_process(pid, signal);
        }
    }
}

/// Prints a stream line by line until it ends.
async fn forward(stream: impl AsyncRead + Unpin, service: &'static Service, console: Console) {
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    while stream.read_until(b'\n', &mut line).await.is_ok_and(|length| length > 0) {
        console.line(service, String::from_utf8_lossy(&line).trim_end());
        line.clear();
    }
}

/// The first of some processes to end.
pub(crate) async fn first_ended(processes: &mut [Process]) -> (&'static Service, ExitStatus) {
    let ended = processes
        .iter_mut()
        .map(|process| Box::pin(async move { (process.service, process.ended().await) }));
    select_all(ended).await.0
}

/// Ends them all in order: SIGTERM, and SIGKILL for those left after [`STOP_LIMIT`] or at the next
/// interrupt. Says which did not end well and returns whether all did.
pub(crate) async fn stop(
    mut processes: Vec<Process>,
    interrupts: &mut Interrupts,
    console: Console,
) -> bool {
    for process in &processes {
        process.signal(Signal::TERM);
    }
    let all = join_all(processes.iter_mut().map(Process::ended));
    let in_time = tokio::select! {
        _ = all => true,
        () = tokio::time::sleep(STOP_LIMIT) => false,
        () = interrupts.next() => false,
    };
    if !in_time {
        for process in &processes {
            process.signal(Signal::KILL);
        }
    }
    let mut well = true;
    for process in &mut processes {
        let status = process.ended().await;
        if !status.success() {
            well = false;
            console.line(process.service, &format!("did not stop cleanly: {}", explain(status)));
        }
    }
    well
}

/// An exit status in words.
pub(crate) fn explain(status: ExitStatus) -> String {
    if status.code() == Some(EX_CONFIG) {
        format!("{status}, a configuration error: the lines above name the variables")
    } else {
        status.to_string()
    }
}

/// Ctrl-C, and what else asks a program to end.
#[derive(Debug)]
pub(crate) struct Interrupts([tokio::signal::unix::Signal; 3]);

impl Interrupts {
    /// From now on these signals end nothing by themselves.
    ///
    /// # Errors
    /// When the handlers cannot be installed.
    pub(crate) fn catch() -> anyhow::Result<Self> {
        let [int, term, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([int?, term?, hangup?]))
    }

    /// The next one.
    pub(crate) async fn next(&mut self) {
        select_all(self.0.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}

#[derive(Debug, clap::Args)]
pub(crate) struct SupervisedArgs {
    /// The process without which this one shall not live.
    parent: u32,
    #[arg(trailing_var_arg = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the given command, which gets a SIGTERM when its parent dies, however that dies. The
/// request survives the change of program (prctl(2), `PR_SET_PDEATHSIG`), and making it here, in
/// a process of our own, takes no unsafe code. Only Linux can do it: elsewhere a service outlives
/// `xtask dev` if that is killed with SIGKILL.
///
/// # Errors
/// Returns only if the command cannot be run.
pub(crate) fn supervised(args: &SupervisedArgs) -> anyhow::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
    // It may have died before the request was made.
    anyhow::ensure!(std::os::unix::process::parent_id() == args.parent, "the parent is gone");
    let error = std::process::Command::new(&args.command[0]).args(&args.command[1..]).exec();
    Err(error).with_context(|| format!("cannot run {}", args.command[0].display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt as _;

    use super::*;

    #[test]
    fn a_line_is_prefixed_and_coloured_only_where_that_is_wanted() {
        let plain = Console { terminal: false, colour: false, width: 10 };
        let coloured = Console { colour: true, ..plain };
        let service = &SERVICES[0];
        let label = format!("{:<10} |", service.name);
        assert_eq!(plain.prefixed(service, "ready"), format!("{label} ready"));
        assert_eq!(coloured.prefixed(service, "ready"), format!("\x1b[36m{label}\x1b[0m ready"));
    }

    #[test]
    fn wrong_variables_are_told_from_other_ends() {
        assert!(explain(ExitStatus::from_raw(78 << 8)).contains("a configuration error"));
        assert_eq!(explain(ExitStatus::from_raw(1 << 8)), "exit status: 1");
        assert_eq!(explain(ExitStatus::from_raw(9)), "signal: 9 (SIGKILL)");
    }
}
