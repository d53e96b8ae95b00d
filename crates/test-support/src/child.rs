use std::io::Write;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};

use rustix::process::{Pid, Signal, kill_process};

/// Reads until the test process closes the pipe, which the system does for one that was killed.
/// Every line is the process to end: the last counts, an empty one means none.
///
/// PostgreSQL gives each of its processes a group of its own, hence children next to the group. What
/// libfaketime shares stays behind where a process is killed.
const WATCHDOG: &str = r#"
while read -r line; do pid=$line; pids="$pids $line"; done
if [ -n "$pid" ]; then
    children=$(ps -A -o pid=,ppid= | awk -v parent="$pid" '$2 == parent { print $1 }')
    kill -s KILL -- "-$pid" $children
fi
for pid in $pids; do rm -f "/dev/shm/sem.faketime_sem_$pid" "/dev/shm/faketime_shm_$pid"; done
eval "$1"
tries=0
until rm -rf "$2" || [ $((tries += 1)) -gt 50 ]; do sleep 0.1; done
"#;

/// A child process and a temporary folder that is its working directory. Neither outlives the test
/// process, even if that is killed: a watchdog, a small shell, ends the one and removes the other.
#[derive(Debug)]
pub(crate) struct ChildProcess {
    folder: PathBuf,
    watchdog: Child,
    watchdog_input: Option<ChildStdin>,
    child: Option<Child>,
}

impl ChildProcess {
    /// The folder and its watchdog, no process yet. At the end, after the process and before the
    /// folder, the watchdog runs the shell commands `cleanup` in the folder with `variables`.
    pub(crate) fn new(name: &str, cleanup: &str, variables: &[(&str, &str)]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix(&format!("test-{name}-"))
            .tempdir()
            .expect("a temporary folder can be made")
            .keep();
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", cleanup])
            .arg(&folder)
            .envs(variables.iter().copied())
            .current_dir(&folder)
            // Ctrl-C goes to the whole group of the test process, and must not end the watchdog.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("there is a shell");
        let watchdog_input = watchdog.stdin.take();
        Self { folder, watchdog, watchdog_input, child: None }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the process, in the folder and in a process group of its own.
    pub(crate) fn spawn(&mut self, command: &mut Command) -> &mut Child {
        let child = command
            .current_dir(&self.folder)
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        self.tell_watchdog(&child.id().to_string());
        self.child.insert(child)
    }

    fn tell_watchdog(&mut self, line: &str) {
        let input = self.watchdog_input.as_mut().expect("open until the drop");
        writeln!(input, "{line}").expect("the watchdog reads until then");
    }

    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// The exit status, when there is one and the first time that it is asked for. Its process id
    /// is free for others from then on.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        let status = self.child.as_mut()?.try_wait().expect("the child is ours")?;
        self.forget();
        Some(status)
    }

    fn forget(&mut self) {
        self.child = None;
        self.tell_watchdog("");
    }

    /// Sends a signal to the process alone. A process that has ended is left in peace.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            send(pid, signal);
        }
    }

    /// Sends a signal to the process, then to its children.
    pub(crate) fn signal_all(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            send(pid, signal);
            for child in children_of(pid) {
                send(child, signal);
            }
        }
    }

    /// `kill -9` for the process and its children, and waits for its end.
    pub(crate) fn kill(&mut self) {
        // A process that stands still has no further child between the check and the kill.
        self.signal(Signal::STOP);
        self.signal_all(Signal::KILL);
        if let Some(child) = &mut self.child {
            child.wait().expect("the child is ours");
            self.forget();
        }
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        drop(self.watchdog_input.take());
        let _ = self.watchdog.wait();
        if let Some(child) = &mut self.child {
            // Dead already, unless somebody ended the watchdog.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn send(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    // The process may have ended meanwhile.
    let _ = kill_process(pid.expect("process ids are positive"), signal);
}

fn children_of(parent: u32) -> Vec<u32> {
    let list = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output().expect("there is ps");
    String::from_utf8_lossy(&list.stdout)
        .lines()
        .filter_map(|line| {
            let (child, its_parent) = line.trim().split_once(char::is_whitespace)?;
            (its_parent.trim().parse() == Ok(parent)).then(|| child.parse().ok())?
        })
        .collect()
}
