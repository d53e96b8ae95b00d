//! A budget for the memory that clients can make the process hold.
//!
//! What a client causes to be kept (connections, heads, bodies, answers under way, items in queues) takes its size
//! in bytes from the budget before it takes the memory. What does not fit is refused while refusing is still cheap.
//! The budget is what the limit leaves above what the process needs without clients, so that the kernel never has a
//! reason to end the process.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::{fs, io};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

use crate::Metrics;

/// What a process needs without any client: code, runtime, log buffers, pools of connections, and what the allocator
/// keeps of former use.
const BASE: u64 = 28 * 1024 * 1024;

/// How much memory the process may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryLimit {
    /// The limit in bytes.
    pub bytes: u64,
    /// Who sets it.
    pub source: LimitSource,
}

/// Who limits the memory of the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitSource {
    /// `memory.max` of the process's cgroup (v2) or one above it.
    CgroupV2,
    /// `memory.limit_in_bytes` of the process's cgroup (v1) or one above it.
    CgroupV1,
    /// The variable `MEMORY_LIMIT`.
    Variable,
    /// The memory of the machine.
    Machine,
}

impl fmt::Display for LimitSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::CgroupV2 => "memory.max of the cgroup",
            Self::CgroupV1 => "memory.limit_in_bytes of the cgroup",
            Self::Variable => "MEMORY_LIMIT",
            Self::Machine => "the memory of the machine",
        })
    }
}

impl MemoryLimit {
    /// No limit that is known.
    pub const NONE: Self = Self { bytes: u64::MAX, source: LimitSource::Machine };

    /// The limit of this process: the least of its cgroups', of `configured`, and of the machine's memory.
    #[must_use]
    pub fn detect(configured: Option<u64>) -> Self {
        let root = Path::new("/sys/fs/cgroup");
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let variable = configured.map(|bytes| Self { bytes, source: LimitSource::Variable });
        cgroup_limit(&groups, root)
            .into_iter()
            .chain(variable)
            .chain(machine())
            .min_by_key(|limit| limit.bytes)
            .unwrap_or(Self::NONE)
    }
}

/// The least limit of the cgroups that `/proc/self/cgroup` names, and of those above them (cgroups(7)).
fn cgroup_limit(groups: &str, root: &Path) -> Option<MemoryLimit> {
    let limits = groups.lines().flat_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        let (controllers, group) = (fields.next().unwrap_or(""), fields.next().unwrap_or("/"));
        let (folder, file, source) = if controllers.is_empty() {
            (root.to_owned(), "memory.max", LimitSource::CgroupV2)
        } else if controllers.split(',').any(|controller| controller == "memory") {
            (root.join("memory"), "memory.limit_in_bytes", LimitSource::CgroupV1)
        } else {
            return Vec::new();
        };
        // Where the group is named as the host sees it, its folder is not there: the mount is the group itself.
        let group = PathBuf::from(group);
        let groups = group
            .ancestors()
            .map(|group| folder.join(group.strip_prefix("/").unwrap_or(group)).join(file));
        groups
            .filter_map(|file| read_limit(&file).ok())
            .map(|bytes| MemoryLimit { bytes, source })
            .collect()
    });
    limits.min_by_key(|limit| limit.bytes)
}

/// A limit in bytes; an error where there is none, which v2 writes as `max`.
fn read_limit(file: &Path) -> io::Result<u64> {
    fs::read_to_string(file)?.trim().parse().map_err(|_| io::ErrorKind::InvalidData.into())
}

fn machine() -> Option<MemoryLimit> {
    let info = fs::read_to_string("/proc/meminfo").ok()?;
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = total.trim().trim_end_matches(" kB").parse().ok()?;
    Some(MemoryLimit { bytes: kibibytes * 1024, source: LimitSource::Machine })
}

/// What memory is held for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUse {
    /// Connections, with what is read of a head and what a request in flight takes.
    Connections,
    /// Request bodies.
    Bodies,
    /// Answers that are being sent.
    Responses,
    /// Items that wait in queues of this process.
    Queues,
}

const USES: [(MemoryUse, &str); 4] = [
    (MemoryUse::Connections, "connections"),
    (MemoryUse::Bodies, "bodies"),
    (MemoryUse::Responses, "responses"),
    (MemoryUse::Queues, "queues"),
];

/// A use does not fit into what is left of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the memory budget is exhausted")]
pub struct Exhausted;

/// So much of something that may be in use at a time, such as the memory of the process in bytes; clones share it.
#[derive(Clone)]
pub struct Budget(Arc<Shared>);

struct Shared {
    capacity: u64,
    used: AtomicU64,
    by_use: [Gauge<i64, AtomicI64>; USES.len()],
    refused: [Counter; USES.len()],
    released: Notify,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UseLabel {
    kind: &'static str,
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shared { capacity, used, .. } = &*self.0;
        f.debug_struct("Budget")
            .field("capacity", capacity)
            .field("used", used)
            .finish_non_exhaustive()
    }
}

impl Budget {
    /// The memory budget under a limit: nine tenths of it without what the process needs itself, and at least a quarter.
    #[must_use]
    pub fn of_memory(limit: MemoryLimit, metrics: &Metrics) -> Self {
        let capacity = (limit.bytes / 10 * 9).saturating_sub(BASE).max(limit.bytes / 4);
        let help = "Memory that clients can make the process hold";
        let total =
            metrics.add("memory_budget_limit_bytes", help, Gauge::<i64, AtomicI64>::default());
        total.set(i64::try_from(capacity).unwrap_or(i64::MAX));
        let help = "Memory budget in use";
        let used =
            metrics.add("memory_budget_used_bytes", help, Family::<UseLabel, Gauge>::default());
        let help = "Uses that did not fit into the memory budget";
        let refused =
            metrics.add("memory_budget_refused", help, Family::<UseLabel, Counter>::default());
        Self(Arc::new(Shared {
            capacity,
            used: AtomicU64::new(0),
            by_use: USES.map(|(_, kind)| used.get_or_create_owned(&UseLabel { kind })),
            refused: USES.map(|(_, kind)| refused.get_or_create_owned(&UseLabel { kind })),
            released: Notify::new(),
        }))
    }

    /// A budget of this size without metrics: for what is counted in other units than bytes, such as descriptors.
    #[must_use]
    pub fn without_metrics(capacity: u64) -> Self {
        Self(Arc::new(Shared {
            capacity,
            used: AtomicU64::new(0),
            by_use: Default::default(),
            refused: Default::default(),
            released: Notify::new(),
        }))
    }

    /// The size of the budget.
    #[must_use]
    pub fn capacity(&self) -> u64 {
        self.0.capacity
    }

    /// How much of it is in use.
    #[must_use]
    pub fn used(&self) -> u64 {
        self.0.used.load(Ordering::Relaxed)
    }

    /// Takes bytes for a use.
    ///
    /// # Errors
    /// When they do not fit; the refusal is counted.
    pub fn take(&self, of: MemoryUse, bytes: usize) -> Result<Permit, Exhausted> {
        self.take_below(of, bytes, self.0.capacity).inspect_err(|_| self.count_refusal(of))
    }

    /// Takes bytes for a use, as long as no more than `ceiling` bytes are then in use.
    ///
    /// # Errors
    /// When they do not fit; the caller counts the refusal, if it is one.
    pub fn take_below(
        &self,
        of: MemoryUse,
        bytes: usize,
        ceiling: u64,
    ) -> Result<Permit, Exhausted> {
        let mut permit = Permit { budget: self.clone(), of, bytes: 0 };
        permit.grow_below(bytes, ceiling)?;
        Ok(permit)
    }

    /// Counts a use that was refused.
    pub fn count_refusal(&self, of: MemoryUse) {
        self.0.refused[of as usize].inc();
    }

    /// Waits until something is given back after this call.
    pub fn released(&self) -> impl Future<Output = ()> + '_ {
        self.0.released.notified()
    }
}

/// What was taken from a budget; dropped, it is given back.
#[derive(Debug)]
#[must_use = "dropped at once, it would be given back"]
pub struct Permit {
    budget: Budget,
    of: MemoryUse,
    bytes: usize,
}

impl Permit {
    /// How many bytes are held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes more bytes, as long as no more than `ceiling` bytes are then in use.
    ///
    /// # Errors
    /// When they do not fit; nothing has changed then.
    pub fn grow_below(&mut self, bytes: usize, ceiling: u64) -> Result<(), Exhausted> {
        let shared = &*self.budget.0;
        let before = shared.used.fetch_add(bytes as u64, Ordering::Relaxed);
        if before.saturating_add(bytes as u64) > ceiling {
            shared.used.fetch_sub(bytes as u64, Ordering::Relaxed);
            return Err(Exhausted);
        }
        shared.by_use[self.of as usize].inc_by(signed(bytes));
        self.bytes += bytes;
        Ok(())
    }

    /// Gives bytes back.
    pub fn shrink(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        let shared = &*self.budget.0;
        shared.used.fetch_sub(bytes as u64, Ordering::Relaxed);
        shared.by_use[self.of as usize].dec_by(signed(bytes));
        shared.released.notify_waiters();
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.shrink(self.bytes);
    }
}

fn signed(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Service;

    fn budget(bytes: u64) -> Budget {
        let service = Service {
            name: "t",
            version: "0",
            description: "",
            readme: "",
            log_name: "t",
            default_port: 0,
        };
        let limit = MemoryLimit { bytes, source: LimitSource::Variable };
        Budget::of_memory(limit, &Metrics::new(&service))
    }

    #[test]
    fn the_least_limit_of_a_group_and_those_above_it_counts() {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, text: &str| {
            let file = root.path().join(path);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, text).unwrap();
        };
        write("pod/memory.max", "134217728\n");
        write("pod/container/memory.max", "max\n");
        write("memory/memory.limit_in_bytes", "67108864\n");

        let limit = |groups| cgroup_limit(groups, root.path());

        let v2 = MemoryLimit { bytes: 134_217_728, source: LimitSource::CgroupV2 };
        assert_eq!(limit("0::/pod/container\n"), Some(v2));
        // As the host names it: the folder of the mount is the group's.
        let v1 = MemoryLimit { bytes: 67_108_864, source: LimitSource::CgroupV1 };
        assert_eq!(limit("5:cpu:/x\n4:memory:/kubepods/abc\n0::/\n"), Some(v1));
        assert_eq!(limit("0::/\n"), None);
    }

    #[test]
    fn a_variable_lowers_the_limit() {
        let limit = MemoryLimit { bytes: 1 << 20, source: LimitSource::Variable };
        assert_eq!(MemoryLimit::detect(Some(1 << 20)), limit);
        assert_ne!(MemoryLimit::detect(Some(u64::MAX)).source, LimitSource::Variable);
    }

    #[test]
    fn what_does_not_fit_is_refused_and_what_is_dropped_fits_again() {
        let budget = budget(400);
        assert_eq!(budget.capacity(), 100);
        let mut first = budget.take(MemoryUse::Bodies, 60).unwrap();
        assert_eq!(budget.take(MemoryUse::Queues, 41).unwrap_err(), Exhausted);

        let second = budget.take(MemoryUse::Queues, 40).unwrap();
        assert!(first.grow_below(1, 100).is_err());
        drop(second);
        first.grow_below(40, 100).unwrap();
        assert_eq!(first.bytes(), 100);
        first.shrink(100);

        assert!(budget.take(MemoryUse::Connections, 100).is_ok());
    }

    #[test]
    fn a_small_limit_leaves_most_of_itself_to_the_process() {
        const MIB: u64 = 1024 * 1024;
        for (limit, capacity) in [(32, 8), (64, 29), (128, 87), (1024, 893)] {
            assert_eq!(budget(limit * MIB).capacity() / MIB, capacity, "{limit} MiB");
        }
    }
}
