//! A limit of memory that the kernel enforces.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

/// How long the kernel may take to let go of a group whose process has ended.
const REMOVE_LIMIT: Duration = Duration::from_secs(5);

/// A memory cgroup (v1 or v2), removed when dropped.
#[derive(Debug)]
pub struct Cgroup {
    folder: PathBuf,
    v2: bool,
}

impl Cgroup {
    /// A group of this name in which processes may have so many bytes.
    ///
    /// # Errors
    /// When this user may not make one here.
    pub fn new(name: &str, bytes: u64) -> io::Result<Self> {
        let root = Path::new("/sys/fs/cgroup");
        let v2 = root.join("cgroup.controllers").exists();
        let folder = if v2 { root.join(name) } else { root.join("memory").join(name) };
        fs::create_dir(&folder)?;
        let group = Self { folder, v2 };
        let file = if v2 { "memory.max" } else { "memory.limit_in_bytes" };
        fs::write(group.folder.join(file), bytes.to_string())?;
        // Swapping would hide what does not fit; where there is no swap, there is no file either.
        if v2 {
            let _ = fs::write(group.folder.join("memory.swap.max"), "0");
        }
        Ok(group)
    }

    /// The file that a process writes its id to, to be in the group.
    #[must_use]
    pub fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// How often the kernel ended a process here for want of memory.
    ///
    /// # Errors
    /// When the group cannot be read.
    pub fn kills(&self) -> io::Result<u64> {
        let file = if self.v2 { "memory.events" } else { "memory.oom_control" };
        let text = fs::read_to_string(self.folder.join(file))?;
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        Ok(kills.and_then(|kills| kills.trim().parse().ok()).unwrap_or(0))
    }
}

impl Drop for Cgroup {
    #[expect(
        clippy::disallowed_methods,
        reason = "what is dropped cannot await, and no worker is held up"
    )]
    fn drop(&mut self) {
        let begun = Instant::now();
        while fs::remove_dir(&self.folder).is_err() && begun.elapsed() < REMOVE_LIMIT {
            thread::sleep(Duration::from_millis(20));
        }
    }
}
