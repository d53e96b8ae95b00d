//! Which services `make dev` runs of this clone: for a second `make dev`, and for `make stop`.

use std::fs::{self, File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

use crate::process::{self, Process};
use crate::services;
use tooling::Workspace;

/// How long `make stop` waits: longer than a `make dev` waits for its services.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Between two looks at something that is about to change.
const TICK: Duration = Duration::from_millis(50);

/// A `make dev` in progress: a file that is locked as long as it runs, however it ends.
#[derive(Debug)]
pub(crate) struct Session {
    file: File,
    folder: PathBuf,
}

/// What such a file says, below `target/dev/<offset>`.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Notes {
    /// The process of `make dev`.
    pid: u32,
    /// What it printed when all were ready.
    table: String,
    /// The services' processes.
    services: Vec<(String, u32)>,
}

/// How a session begins.
#[derive(Debug)]
pub(crate) enum Begun {
    New(Session),
    /// Another one is there; where, in words.
    RunsAlready(String),
}

impl Session {
    /// Begins one, of all services or of one.
    ///
    /// # Errors
    /// When there can be no file below `target`.
    pub(crate) fn begin(workspace: &Workspace, service: Option<&str>) -> anyhow::Result<Begun> {
        let folder = folder(workspace).join(services::port_offset().to_string());
        fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
        let path = folder.join(service.unwrap_or("all")).with_extension("json");
        let mut file = open(&path)?;
        match file.try_lock() {
            Ok(()) => {
                let mut session = Self { file, folder };
                session.note(&[], "")?;
                Ok(Begun::New(session))
            }
            Err(TryLockError::WouldBlock) => {
                let Notes { pid, table, .. } = read(&mut file);
                let state = if table.is_empty() { "is starting" } else { "runs already" };
                Ok(Begun::RunsAlready(format!(
                    "it {state}, as process {pid}; `make stop` ends it\n\n{table}"
                )))
            }
            Err(TryLockError::Error(error)) => Err(error).context(path.display().to_string()),
        }
    }

    /// Notes what runs; the id of each process also in a file of its own, `multivac.pid`, for shells.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub(crate) fn note(&mut self, processes: &[Process], table: &str) -> anyhow::Result<()> {
        let id = |process: &Process| Some((process.service.package.to_owned(), process.id()?));
        let services = processes.iter().filter_map(id).collect();
        let notes = Notes { pid: std::process::id(), table: table.to_owned(), services };
        for process in processes {
            let file = self.folder.join(process.service.name).with_extension("pid");
            fs::write(file, format!("{}\n", process.id().unwrap_or_default()))?;
        }
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&serde_json::to_vec(&notes)?)?;
        Ok(())
    }
}

/// `xtask stop`: ends every `make dev` of this clone, and services that one has left behind.
///
/// # Errors
/// When something does not end.
pub(crate) async fn stop() -> anyhow::Result<()> {
    if stop_all(&Workspace::load()?).await? == 0 {
        process::say("nothing of this clone runs");
    }
    Ok(())
}

/// Ends them, and returns how many there were.
async fn stop_all(workspace: &Workspace) -> anyhow::Result<usize> {
    let mut stopped = 0;
    let below = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = below(&folder(workspace)).map(|entry| entry.path());
    let files = folders.flat_map(|folder| below(&folder).map(|entry| entry.path()));
    let sessions = files.filter(|path| path.extension().is_some_and(|it| it == "json"));
    for path in sessions {
        let mut file = open(&path)?;
        let is_free = || file.try_lock().is_ok();
        if is_free() {
            let notes = read(&mut file);
            for (package, pid) in notes.services {
                // By now the id may be another process's.
                let is_ours = || {
                    command_of(pid).is_some_and(|command| {
                        command.starts_with(&*workspace.binary(&package).to_string_lossy())
                    })
                };
                if is_ours() {
                    end(pid, &format!("{package}, which was left behind,"), || !is_ours()).await?;
                    stopped += 1;
                }
            }
        } else {
            let pid = read(&mut file).pid;
            end(pid, "make dev", || file.try_lock().is_ok()).await?;
            stopped += 1;
        }
        fs::remove_file(&path).with_context(|| path.display().to_string())?;
    }
    Ok(stopped)
}

/// Asks a process to end, and waits until it has.
async fn end(pid: u32, what: &str, has_ended: impl Fn() -> bool) -> anyhow::Result<()> {
    process::say(&format!("stopping {what} (process {pid})"));
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        kill_process(pid, Signal::TERM).with_context(|| format!("cannot stop {what}"))?;
    }
    let deadline = Instant::now() + STOP_LIMIT;
    while !has_ended() {
        ensure!(Instant::now() < deadline, "process {pid} does not end; try kill -9 {pid}");
        tokio::time::sleep(TICK).await;
    }
    Ok(())
}

/// The command line of a process.
fn command_of(pid: u32) -> Option<String> {
    if let Ok(line) = fs::read(format!("/proc/{pid}/cmdline")) {
        return Some(String::from_utf8_lossy(&line).replace('\0', " "));
    }
    let mut list = std::process::Command::new("ps");
    let output = list.args(["-o", "args=", "-p"]).arg(pid.to_string()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("dev")
}

fn open(path: &Path) -> anyhow::Result<File> {
    let file = File::options().read(true).write(true).create(true).truncate(false).open(path);
    file.with_context(|| path.display().to_string())
}

/// What a file says; one that is written at this moment says nothing.
fn read(file: &mut File) -> Notes {
    let mut text = String::new();
    let is_read = file.rewind().and_then(|()| file.read_to_string(&mut text));
    is_read.ok().and_then(|_| serde_json::from_str(&text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn workspace(target: &Path) -> Workspace {
        Workspace { root: target.to_owned(), target: target.to_owned(), members: Vec::new() }
    }

    #[test]
    fn a_second_one_is_told_where_the_first_runs() {
        let target = tempfile::tempdir().unwrap();
        let workspace = workspace(target.path());
        let begin = |service| Session::begin(&workspace, service).unwrap();

        let Begun::New(mut first) = begin(None) else { panic!("nothing runs yet") };
        let Begun::RunsAlready(starting) = begin(None) else { panic!("the first one runs") };
        first.note(&[], "SERVICE  URL").unwrap();
        let Begun::RunsAlready(running) = begin(None) else { panic!("the first one runs") };

        let id = format!("process {}", std::process::id());
        assert!(starting.contains("is starting") && starting.contains(&id), "{starting}");
        assert!(running.contains(&id) && running.ends_with("SERVICE  URL"), "{running}");
        assert!(matches!(begin(Some("sre-kata")), Begun::New(_)), "one alone is another one");
        drop(first);
        assert!(matches!(begin(None), Begun::New(_)), "the first one has ended");
    }

    #[tokio::test]
    async fn what_was_left_behind_is_ended_and_what_has_its_id_now_is_not() {
        let target = tempfile::tempdir().unwrap();
        let workspace = workspace(target.path());
        let ours = workspace.binary("sleep");
        fs::create_dir_all(ours.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink("/bin/sleep", &ours).unwrap();
        let sleep = |program: &Path| std::process::Command::new(program).arg("60").spawn().unwrap();
        let (mut left_behind, mut foreign) = (sleep(&ours), sleep(Path::new("/bin/sleep")));
        for child in [&left_behind, &foreign] {
            // The kernel lets `spawn` return before it has written the arguments of the new program.
            while command_of(child.id()).is_none_or(|command| command.is_empty()) {
                tokio::task::yield_now().await;
            }
        }
        let services = [&left_behind, &foreign].map(|child| ("sleep".to_owned(), child.id()));
        let notes = Notes { services: services.into(), ..Notes::default() };
        let folder = folder(&workspace).join("0");
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("all.json"), serde_json::to_vec(&notes).unwrap()).unwrap();

        let stopped = stop_all(&workspace).await.unwrap();

        let still_runs = foreign.try_wait().unwrap().is_none();
        foreign.kill().unwrap();
        foreign.wait().unwrap();
        assert_eq!(stopped, 1);
        assert!(!left_behind.wait().unwrap().success());
        assert!(still_runs);
        assert_eq!(stop_all(&workspace).await.unwrap(), 0);
    }
}
