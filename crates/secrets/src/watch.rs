//! Files that are read again when their content changes: secrets and certificates.
//!
//! A new content is taken over when two readings one after the other find the same and whoever uses it takes it.
//! Else the old one stays in use.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, Guard};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio::time::sleep;

use crate::secret::{Secret, digest, hex, read, without_line_end, written};

/// How often files are read where nothing else is configured.
const INTERVAL: Duration = Duration::from_secs(10);

/// How long a new content is left alone before it is read the second time, at most: its writer may be at work.
const SETTLING: Duration = Duration::from_secs(1);

/// Digits that tell certificates from each other, in bytes.
const CERTIFICATE_FINGERPRINT: usize = 8;

/// Why a new content is not taken over. Never with the content itself.
pub type Refusal = Box<dyn StdError + Send + Sync>;

/// The secrets in use, and the files that they come from; clones share them.
#[derive(Clone)]
pub struct Secrets {
    interval: Duration,
    spawn: Spawn,
    metrics: SecretMetrics,
    shown: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

/// Runs a task until the service stops.
type Spawn = Arc<dyn Fn(BoxFuture<'static, ()>) + Send + Sync>;

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secrets").field("interval", &self.interval).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default)]
struct SecretMetrics {
    info: Family<InfoLabels, Gauge>,
    changed: Family<SecretLabel, Gauge<f64, AtomicU64>>,
    reloads: Family<ReloadLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SecretLabel {
    secret: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InfoLabels {
    secret: String,
    fingerprint: String,
    /// `yes` for the first line, `no` for those that are only accepted.
    in_use: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReloadLabels {
    secret: String,
    outcome: &'static str,
}

/// Reads a secret's file again at once, instead of at its time.
#[derive(Clone, Debug, Default)]
pub struct ReloadTrigger(Arc<Notify>);

impl ReloadTrigger {
    /// Asks for it, as where the peer refuses the secret that is in use.
    pub fn request_reload(&self) {
        self.0.notify_one();
    }
}

/// What was made of a secret, as it is at the moment; clones share it.
#[derive(Debug)]
pub struct Reloadable<T> {
    value: Arc<ArcSwap<T>>,
    trigger: ReloadTrigger,
}

impl<T> Reloadable<T> {
    /// The current one. To be asked for anew each time that it is needed.
    #[must_use]
    pub fn get(&self) -> Guard<Arc<T>> {
        self.value.load()
    }

    /// Asks for the file to be read again at once, as where the peer refuses the secret that is in use.
    pub fn request_reload(&self) {
        self.trigger.request_reload();
    }
}

impl<T> Clone for Reloadable<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), trigger: self.trigger.clone() }
    }
}

/// Files whose content is of use together.
#[derive(Clone, Debug)]
struct Files {
    name: String,
    paths: Vec<PathBuf>,
    /// What is done to a content before it is compared.
    normalize: fn(Vec<u8>) -> Vec<u8>,
    taken: Counter,
    refused: Counter,
}

impl Files {
    async fn read(&self) -> std::io::Result<Vec<Vec<u8>>> {
        let (paths, normalize) = (self.paths.clone(), self.normalize);
        let read = move || paths.iter().map(|path| read(path).map(normalize)).collect();
        tokio::task::spawn_blocking(read).await?
    }

    /// What two readings find one after the other.
    async fn read_settled(
        &self,
        current: Digest,
        settling: Duration,
    ) -> std::io::Result<Vec<Vec<u8>>> {
        let mut last = self.read().await;
        loop {
            if last.as_ref().is_ok_and(|contents| digest(contents) == current) {
                return last;
            }
            sleep(settling).await;
            let next = self.read().await;
            match (&last, &next) {
                (Ok(last), Ok(next)) if last != next => {}
                (Err(_), Ok(_)) => {}
                _ => return next,
            }
            last = next;
        }
    }

    fn written(&self) -> SystemTime {
        let latest = self.paths.iter().filter_map(|path| written(path)).max();
        latest.unwrap_or_else(SystemTime::now)
    }
}

type Digest = [u8; 32];

/// Files that are watched, and what of them is in use when that begins.
struct Watch<F> {
    files: Files,
    current: Digest,
    /// What `current` is shown as, once that is computed.
    fingerprints: F,
    trigger: ReloadTrigger,
}

impl Secrets {
    /// None yet. `spawn` runs a task until the service stops.
    pub fn new(
        registry: &mut Registry,
        spawn: impl Fn(BoxFuture<'static, ()>) + Send + Sync + 'static,
    ) -> Self {
        let own = SecretMetrics::default();
        registry.register(
                "secret_info",
                "Secrets and certificates that are accepted, by fingerprint, and whether they are in use; always 1",
                own.info.clone(),
            );
        registry.register(
                "secret_changed_timestamp_seconds",
                "When the file of the secret in use was written, or the process was given it, as UNIX time",
                own.changed.clone(),
            );
        registry.register(
            "secret_reloads",
            "Changed contents of the files of secrets, taken over or refused",
            own.reloads.clone(),
        );
        let spawn = Arc::new(spawn);
        Self { interval: INTERVAL, spawn, metrics: own, shown: Arc::default() }
    }

    /// Sets how often files are read.
    pub fn read_every(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// Follows the file of a secret, if it has one. `take` gets each new value, and the old one stays in use when it
    /// refuses; it is then offered again with each reading.
    pub fn follow<F, Fut>(&self, secret: &Secret, mut take: F) -> ReloadTrigger
    where
        F: FnMut(Secret) -> Fut + Send + 'static,
        Fut: Future<Output = Result<(), Refusal>> + Send + 'static,
    {
        let trigger = ReloadTrigger::default();
        let Some(source) = secret.source().cloned() else { return trigger };
        let Some(path) = source.file.clone() else {
            let (secrets, secret) = (self.clone(), secret.clone());
            let show = async move {
                secrets.show(&source.name, &fingerprints_of(secret).await, SystemTime::now());
            };
            (self.spawn)(show.boxed());
            return trigger;
        };
        let files = self.files(&source.name, vec![path], without_line_end);
        let (current, first) = (digest(&[secret.expose().as_bytes().to_vec()]), secret.clone());
        let offer = move |contents: Vec<Vec<u8>>| {
            let parsed = source.parse(contents.first().map_or(&[], Vec::as_slice));
            let taken = parsed.map(|secret| (take(secret.clone()), secret));
            async move {
                let (taking, secret) = taken?;
                taking.await?;
                Ok(fingerprints_of(secret).await)
            }
        };
        let fingerprints = fingerprints_of(first);
        let watch = Watch { files, current, fingerprints, trigger: trigger.clone() };
        (self.spawn)(self.clone().run(watch, offer).boxed());
        trigger
    }

    /// What `parse` makes of a secret, now and whenever its file changes.
    ///
    /// # Errors
    /// When it makes nothing of the first value.
    pub fn reloadable<T, E>(
        &self,
        secret: &Secret,
        parse: impl Fn(&Secret) -> Result<T, E> + Send + 'static,
    ) -> Result<Reloadable<T>, E>
    where
        T: Send + Sync + 'static,
        E: Into<Refusal>,
    {
        let value = Arc::new(ArcSwap::from_pointee(parse(secret)?));
        let current = Arc::clone(&value);
        let trigger = self.follow(secret, move |secret| {
            let parsed = parse(&secret).map(|parsed| current.store(Arc::new(parsed)));
            std::future::ready(parsed.map_err(Into::into))
        });
        Ok(Reloadable { value, trigger })
    }

    /// Follows files that are of use together only, such as a certificate and its key; `contents` is what they held
    /// when they were first read, and the first of them may be known by its digest.
    pub fn follow_files<F>(
        &self,
        name: &str,
        paths: Vec<PathBuf>,
        contents: &[Vec<u8>],
        mut take: F,
    ) where
        F: FnMut(&[Vec<u8>]) -> Result<(), Refusal> + Send + 'static,
    {
        let fingerprint = |contents: &[Vec<u8>]| {
            let public = contents.get(..1).unwrap_or_default();
            vec![hex(&digest(public)[..CERTIFICATE_FINGERPRINT])]
        };
        let offer = move |contents: Vec<Vec<u8>>| {
            std::future::ready(take(&contents).map(|()| fingerprint(&contents)))
        };
        let watch = Watch {
            files: self.files(name, paths, |content| content),
            current: digest(contents),
            fingerprints: std::future::ready(fingerprint(contents)),
            trigger: ReloadTrigger::default(),
        };
        (self.spawn)(self.clone().run(watch, offer).boxed());
    }

    fn files(&self, name: &str, paths: Vec<PathBuf>, normalize: fn(Vec<u8>) -> Vec<u8>) -> Files {
        let [taken, refused] = ["taken", "refused"].map(|outcome| {
            let labels = ReloadLabels { secret: name.to_owned(), outcome };
            self.metrics.reloads.get_or_create(&labels).clone()
        });
        Files { name: name.to_owned(), paths, normalize, taken, refused }
    }

    /// Reads again and again, and offers what is new.
    async fn run<Fut>(
        self,
        watch: Watch<impl Future<Output = Vec<String>> + Send>,
        mut offer: impl FnMut(Vec<Vec<u8>>) -> Fut + Send,
    ) where
        Fut: Future<Output = Result<Vec<String>, Refusal>> + Send,
    {
        let Watch { files, mut current, fingerprints, trigger } = watch;
        self.show(&files.name, &fingerprints.await, files.written());
        let settling = SETTLING.min(self.interval);
        // What was warned of: a content, or that there is none.
        let mut warned: Option<Option<Digest>> = None;
        loop {
            // Whoever is refused asks again and again.
            sleep(settling / 10).await;
            tokio::select! {
                () = sleep(self.interval) => {}
                () = trigger.0.notified() => {}
            }
            let (found, outcome) = match files.read_settled(current, settling).await {
                Ok(contents) => {
                    let found = digest(&contents);
                    if found == current {
                        warned = None;
                        continue;
                    }
                    (Some(found), offer(contents).await)
                }
                Err(error) => (None, Err(error.into())),
            };
            match outcome {
                Ok(fingerprints) => {
                    current = found.unwrap_or(current);
                    warned = None;
                    files.taken.inc();
                    self.show(&files.name, &fingerprints, files.written());
                }
                Err(error) => {
                    files.refused.inc();
                    if warned != Some(found) {
                        warned = Some(found);
                        tracing::warn!(
                            secret.name = files.name,
                            error = &*error,
                            "New secret rejected; keeping the previous one"
                        );
                    }
                }
            }
        }
    }

    /// Tells what is in use from now on.
    fn show(&self, name: &str, fingerprints: &[String], written: SystemTime) {
        let mut shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let labels = |(index, fingerprint): (usize, &String)| InfoLabels {
            secret: name.to_owned(),
            fingerprint: fingerprint.clone(),
            in_use: if index == 0 { "yes" } else { "no" },
        };
        let written_at = written.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        let changed = SecretLabel { secret: name.to_owned() };
        let changed = self.metrics.changed.get_or_create(&changed).clone();
        let before = shown.insert(name.to_owned(), fingerprints.to_vec());
        if let Some(before) = before {
            for old in before.iter().enumerate() {
                self.metrics.info.remove(&labels(old));
            }
            let age = written_at - changed.get();
            tracing::info!(
                secret.name = name,
                secret.fingerprint = fingerprints.join(","),
                secret.previous_fingerprint = before.join(","),
                secret.previous_age_seconds = age,
                "Secret replaced"
            );
        }
        changed.set(written_at);
        for new in fingerprints.iter().enumerate() {
            self.metrics.info.get_or_create(&labels(new)).set(1);
        }
    }
}

/// They take long enough to hold up everything else.
async fn fingerprints_of(secret: Secret) -> Vec<String> {
    tokio::task::spawn_blocking(move || secret.fingerprints()).await.unwrap_or_default()
}
