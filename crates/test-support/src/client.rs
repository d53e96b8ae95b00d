use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::skips::skip;
use crate::variables::variable;

/// A client in Python, made of an OpenAPI document by openapi-python-client: whether others can use a
/// service by its document alone.
///
/// The generator is the one that `TEST_OPENAPI_PYTHON_CLIENT` names, else that on the `PATH`; the Python
/// beside it has what the client needs.
pub struct GeneratedClient {
    folder: TempDir,
    python: PathBuf,
}

impl GeneratedClient {
    /// Generates the package `client`, or notes that there is no generator.
    ///
    /// # Panics
    /// When the document is of no use to the generator.
    pub fn generate(document: &Path) -> Option<Self> {
        let named = variable("TEST_OPENAPI_PYTHON_CLIENT").map(PathBuf::from);
        let found = || {
            let path = variable("PATH")?;
            std::env::split_paths(&path)
                .map(|folder| folder.join("openapi-python-client"))
                .find(|file| file.exists())
        };
        let Some(generator) = named.filter(|file| file.exists()).or_else(found) else {
            skip("openapi-python-client", "it is not on the PATH; `make test-servers` installs it");
            return None;
        };
        let bin = generator.parent().expect("a file is in a folder");
        let folder = tempfile::tempdir().expect("a folder can be made");
        let path = std::env::join_paths([bin.to_owned(), "/usr/bin".into(), "/bin".into()]);
        run(Command::new(&generator)
            .args(["generate", "--meta", "none", "--fail-on-warning", "--path"])
            .arg(document)
            .arg("--output-path")
            .arg(folder.path().join("client"))
            // It formats the client by a tool beside it.
            .env("PATH", path.expect("no colon in it")));
        Some(Self { folder, python: bin.join("python") })
    }

    /// Runs a script, which may `import client` and has these arguments in `sys.argv[1:]`; returns what it
    /// prints.
    ///
    /// # Panics
    /// When it fails.
    pub async fn run(&self, script: &str, arguments: &[&str]) -> String {
        let mut python = Command::new(&self.python);
        python.arg("-c").arg(script).args(arguments).env("PYTHONPATH", self.folder.path());
        tokio::task::spawn_blocking(move || run(&mut python)).await.expect("the script runs")
    }
}

fn run(command: &mut Command) -> String {
    let output = command.output().expect("the program can be started");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{command:?}: {}\n{stdout}{stderr}", output.status);
    stdout
}
