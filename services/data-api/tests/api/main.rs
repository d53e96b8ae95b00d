//! The service as its clients see it.
#![expect(clippy::unwrap_used, reason = "in a test, what cannot go on is a failure")]

mod cardinality;
mod documents;
mod faults;
mod logs;
mod process;
mod processing;
mod rotation;

use std::path::{Path, PathBuf};
use std::time::Duration;

use data_api::{Config, build};
use tempfile::TempDir;
use test_support::{App, wait_until};

/// How long a test waits for what happens in the background.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The service on a directory of its own, once it is ready.
struct Service {
    app: App,
    folder: TempDir,
}

impl Service {
    async fn start(variables: &[(&str, &str)]) -> Self {
        Self::start_on(tempfile::tempdir().unwrap(), variables).await
    }

    /// Starts on the directory `logs` in a folder that a test has prepared.
    async fn start_on(folder: TempDir, variables: &[(&str, &str)]) -> Self {
        let service = Self::begin(folder, variables);
        service.wait_for_readyz(200).await;
        service
    }

    /// Starts without waiting.
    fn begin(folder: TempDir, variables: &[(&str, &str)]) -> Self {
        let path = folder.path().join("logs");
        let mut all = vec![("LOG_FILES_DIR", path.to_str().unwrap()), ("PROCESSING_DELAY", "0s")];
        all.extend(variables);
        let app = App::start(&all, Config::load, build);
        Self { app, folder }
    }

    async fn wait_for_readyz(&self, status: u16) {
        let what = format!("/readyz answers {status}");
        wait_until(&what, TIMEOUT, async || self.app.get("/readyz").await.status() == status).await;
    }

    fn logs(&self) -> PathBuf {
        self.folder.path().join("logs")
    }
}

/// A folder with the directory `logs`, in which there are these files.
fn folder_with(files: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let logs = folder.path().join("logs");
    std::fs::create_dir(&logs).unwrap();
    for (name, content) in files {
        std::fs::write(logs.join(name), content).unwrap();
    }
    folder
}

/// The names in a directory, sorted.
fn names_in(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    // The readiness check's own file comes and goes, and that with the lock stays.
    names.retain(|name| ![".log-volume-probe", ".log-files.lock"].contains(&name.as_str()));
    names.sort();
    names
}
