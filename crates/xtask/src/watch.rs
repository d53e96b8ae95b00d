//! One service, built and started again whenever a file behind it changes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::{Duration, SystemTime};

use anyhow::ensure;
use tokio::select;

use crate::process::{self, Interrupts, Process};
use crate::services::Service;
use crate::session::Session;
use crate::stack::{Stack, succeeds};
use tooling::workspace;

/// How often the files are scanned. To scan the few hundred there are takes a millisecond, works on every
/// file system and needs no library; and when two scans in a row see the same, whoever writes has finished.
const SCAN_INTERVAL: Duration = Duration::from_millis(300);

/// When each file was last changed.
#[derive(Debug, PartialEq)]
struct Files(BTreeMap<PathBuf, SystemTime>);

/// Runs until Ctrl-C. A build that fails leaves the running service alone; a service that ends
/// waits for the next change.
///
/// # Errors
/// When the first build fails, or the service does not stop cleanly in the end.
pub(crate) async fn run(
    service: &'static Service,
    stack: &Stack,
    mut session: Session,
    interrupts: &mut Interrupts,
) -> anyhow::Result<()> {
    let console = stack.console;
    let sources = stack.workspace.sources(service.package);
    let binary = stack.workspace.binary(service.package);
    let mut files = Files::scan(&sources);
    let built = select! {
        built = succeeds(workspace::build(&[service.package])) => built?,
        () = interrupts.next() => return Ok(()),
    };
    ensure!(built, "the build failed");
    let mut started_from = modified(&binary);
    let mut running = Some(stack.start(service)?);
    session.note(running.as_slice(), &stack.table(service))?;
    let mut announced = false;
    loop {
        select! {
            () = interrupts.next() => break,
            status = ended(running.as_mut()) => {
                let status = process::explain(status);
                console.line(service, &format!("ended: {status}; waiting for a change"));
                running = None;
            }
            ready = stack.announce(service), if running.is_some() && !announced => {
                ready?;
                announced = true;
            }
            path = files.changed(&sources) => {
                let path = path.strip_prefix(&stack.workspace.root).unwrap_or(&path);
                console.line(service, &format!("{} changed", path.display()));
                let built = select! {
                    built = succeeds(workspace::build(&[service.package])) => built?,
                    () = interrupts.next() => break,
                };
                if !built {
                    console.line(service, "the build failed; what ran before it is left alone");
                    continue;
                }
                let built_at = modified(&binary);
                if running.is_some() && built_at == started_from {
                    console.line(service, "the binary is the same; it runs on");
                    continue;
                }
                process::stop(running.take().into_iter().collect(), interrupts, console).await;
                running = Some(stack.start(service)?);
                session.note(running.as_slice(), &stack.table(service))?;
                (started_from, announced) = (built_at, false);
            }
        }
    }
    let well = process::stop(running.into_iter().collect(), interrupts, console).await;
    ensure!(well, "{} did not stop cleanly", service.name);
    Ok(())
}

/// The end of what runs; without anything, never.
async fn ended(running: Option<&mut Process>) -> ExitStatus {
    match running {
        Some(process) => process.ended().await,
        None => std::future::pending().await,
    }
}

fn modified(file: &Path) -> Option<SystemTime> {
    file.metadata().and_then(|about| about.modified()).ok()
}

impl Files {
    /// All files at and below some paths, but for hidden ones and build output.
    fn scan(paths: &BTreeSet<PathBuf>) -> Self {
        let mut files = BTreeMap::new();
        let mut open: Vec<_> = paths.iter().cloned().collect();
        while let Some(path) = open.pop() {
            // What has gone between listing and looking is gone in the next scan, too.
            let Some(time) = modified(&path) else {
                continue;
            };
            let Ok(entries) = path.read_dir() else {
                files.insert(path, time);
                continue;
            };
            open.extend(entries.flatten().map(|entry| entry.path()).filter(|path| {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                !name.starts_with('.') && name != "target"
            }));
        }
        Self(files)
    }

    /// Waits until something has changed and nothing changes any more; returns one of the paths.
    async fn changed(&mut self, paths: &BTreeSet<PathBuf>) -> PathBuf {
        let mut last = Self::scan(paths);
        loop {
            tokio::time::sleep(SCAN_INTERVAL).await;
            let now = Self::scan(paths);
            let difference = self.difference(&now);
            if let Some(path) = difference
                && now == last
            {
                *self = now;
                return path;
            }
            last = now;
        }
    }

    /// A file that is new, gone or changed.
    fn difference(&self, other: &Self) -> Option<PathBuf> {
        let differs = |path: &&PathBuf| self.0.get(*path) != other.0.get(*path);
        other.0.keys().chain(self.0.keys()).find(differs).cloned()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_new_a_changed_and_a_removed_file_are_seen_and_hidden_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let paths = BTreeSet::from([folder.path().to_owned()]);
        let file = folder.path().join("src/lib.rs");
        fs::create_dir(folder.path().join("src")).unwrap();
        let empty = Files::scan(&paths);

        fs::write(&file, "1").unwrap();
        fs::write(folder.path().join(".lib.rs.swp"), "1").unwrap();
        let with_file = Files::scan(&paths);
        let time = SystemTime::UNIX_EPOCH;
        fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
        let changed = Files::scan(&paths);

        assert_eq!(with_file.0.len(), 1);
        assert_eq!(empty.difference(&with_file), Some(file.clone()));
        assert_eq!(with_file.difference(&changed), Some(file.clone()));
        assert_eq!(changed.difference(&empty), Some(file));
        assert_eq!(changed.difference(&Files::scan(&paths)), None);
    }

    #[tokio::test]
    async fn a_change_is_reported_once() {
        let folder = tempfile::tempdir().unwrap();
        let paths = BTreeSet::from([folder.path().to_owned()]);
        let mut files = Files::scan(&paths);
        let file = folder.path().join("main.rs");
        fs::write(&file, "1").unwrap();

        assert_eq!(files.changed(&paths).await, file);

        assert_eq!(files.difference(&Files::scan(&paths)), None);
    }
}
