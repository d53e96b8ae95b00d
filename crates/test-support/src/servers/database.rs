use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::SystemTime;

/// A database that one test has for itself. It is dropped with this.
pub struct Database {
    url: String,
    cleanup: Option<Box<dyn FnOnce() + Send + Sync>>,
}

impl Database {
    pub(super) fn new(
        url: impl Into<String>,
        cleanup: impl FnOnce() + Send + Sync + 'static,
    ) -> Self {
        Self { url: url.into(), cleanup: Some(Box::new(cleanup)) }
    }

    /// How a client gets to it.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        if let Some(cleanup) = self.cleanup.take() {
            cleanup();
        }
    }
}

/// What all names in this process begin with, so that those of others on a server that runs
/// elsewhere differ.
pub(super) static NAMES: LazyLock<String> = LazyLock::new(|| {
    let since_1970 = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    format!("test_{}_{:x}", std::process::id(), since_1970.as_nanos())
});

pub(super) fn unique_name() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{}_{}", *NAMES, NEXT.fetch_add(1, Ordering::Relaxed))
}
