//! Secrets that change under load.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::variables::variable;
use crate::{App, wait_until};

/// How often services of these tests read their secrets: `SECRETS_RELOAD_INTERVAL`.
pub const RELOAD_INTERVAL: (&str, &str) = ("SECRETS_RELOAD_INTERVAL", "10ms");

/// How often stores' credentials change in a test: `TEST_ROTATIONS`, 20.
pub fn rotations() -> u32 {
    variable("TEST_ROTATIONS").and_then(|number| number.parse().ok()).unwrap_or(20)
}

/// How long a change may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);

/// A file of a secret, mounted as Kubernetes does it: the folder's files are symbolic links into a folder `..data`,
/// itself a symbolic link, that is replaced by another one in one step.
#[derive(Debug)]
pub struct SecretFile {
    folder: TempDir,
    next: AtomicU32,
}

impl SecretFile {
    /// A file with this content.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn new(content: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder can be made");
        symlink("..data/secret", folder.path().join("secret")).expect("a link can be made");
        let file = Self { folder, next: AtomicU32::new(0) };
        file.put(content);
        file
    }

    /// Its path.
    pub fn path(&self) -> PathBuf {
        self.folder.path().join("secret")
    }

    /// Its path, as the value of a variable.
    pub fn variable(&self) -> String {
        self.path().display().to_string()
    }

    /// Replaces the content, as the kubelet does.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn put(&self, content: &str) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let (folder, name) = (self.folder.path(), format!("..{number}"));
        fs::create_dir(folder.join(&name)).expect("a folder can be made");
        fs::write(folder.join(&name).join("secret"), content).expect("a file can be written");
        symlink(&name, folder.join("..tmp")).expect("a link can be made");
        fs::rename(folder.join("..tmp"), folder.join("..data")).expect("a link can be replaced");
        if let Some(before) = number.checked_sub(1) {
            let _ = fs::remove_dir_all(folder.join(format!("..{before}")));
        }
    }
}

/// Requests of a few clients, one after the other, that must not fail.
#[derive(Debug)]
pub struct Load {
    stop: CancellationToken,
    clients: JoinSet<()>,
    /// How many requests of each client were answered.
    answered: Vec<Arc<AtomicU64>>,
}

impl Load {
    /// Starts that many clients that `ask` again and again.
    pub fn start<F, Fut>(clients: usize, ask: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), String>> + Send,
    {
        let (stop, ask) = (CancellationToken::new(), Arc::new(ask));
        let (mut set, mut counts) = (JoinSet::new(), Vec::new());
        for _ in 0..clients {
            let (stop, ask) = (stop.clone(), Arc::clone(&ask));
            let answered = Arc::<AtomicU64>::default();
            counts.push(Arc::clone(&answered));
            set.spawn(async move {
                while !stop.is_cancelled() {
                    if let Err(error) = ask().await {
                        panic!("request {answered:?} of a client failed: {error}");
                    }
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        Self { stop, clients: set, answered: counts }
    }

    /// Waits until no request is under way that was begun before.
    ///
    /// # Panics
    /// When one was not answered.
    pub async fn next_round(&self) {
        let counts = || self.answered.iter().map(|it| it.load(Ordering::Relaxed));
        let begun: Vec<u64> = counts().collect();
        wait_until("each client has made another request", PATIENCE, async || {
            counts().zip(&begun).all(|(now, begun)| now > begun + 1)
        })
        .await;
    }

    /// Ends it, and returns how many requests were answered.
    ///
    /// # Panics
    /// When one failed.
    pub async fn end(self) -> u64 {
        self.stop.cancel();
        self.clients.join_all().await;
        self.answered.iter().map(|it| it.load(Ordering::Relaxed)).sum()
    }
}

/// How often an application has taken over a changed secret, or refused it.
///
/// # Panics
/// When the metrics cannot be had.
pub async fn reloads(app: &App, secret: &str, outcome: &str) -> u64 {
    let sample = format!("secret_reloads_total{{secret=\"{secret}\",outcome=\"{outcome}\"}}");
    let value = app.metric(&sample).await.unwrap_or_default();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count")]
    let count = value as u64;
    count
}

/// Replaces the content of a file, and waits until all these applications have taken it over, or refused it.
///
/// # Panics
/// When one does not.
pub async fn replace(
    file: &SecretFile,
    content: &str,
    (apps, secret, outcome): (&[&App], &str, &str),
) {
    let mut before = Vec::new();
    for app in apps {
        before.push(reloads(app, secret, outcome).await);
    }
    file.put(content);
    for (app, before) in apps.iter().zip(before) {
        wait_until(&format!("{secret} is {outcome}"), PATIENCE, async || {
            reloads(app, secret, outcome).await > before
        })
        .await;
    }
}
