//! What the process itself uses, by the names that Prometheus's client libraries share.

use std::fs;
use std::sync::OnceLock;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;
use rustix::param::{clock_ticks_per_second, page_size};
use rustix::process::{Resource, getrlimit};

/// Reads `/proc` at each scrape; where there is none, it reports nothing.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, unit, gauge.metric_type())?)
        };
        if let Some(stat) = Stat::read() {
            gauge("process_resident_memory", "Memory in RAM", Some(&Unit::Bytes), stat.resident)?;
            gauge("process_virtual_memory", "Memory mapped", Some(&Unit::Bytes), stat.virtual_)?;
            if let Some(start) = stat.start {
                let help = "When the process started, as UNIX time";
                gauge("process_start_time", help, Some(&Unit::Seconds), start)?;
            }
            let cpu = ConstCounter::new(stat.cpu);
            let help = "CPU time used, in user and system mode";
            let kind = cpu.metric_type();
            cpu.encode(encoder.encode_descriptor(
                "process_cpu",
                help,
                Some(&Unit::Seconds),
                kind,
            )?)?;
        }
        let mut gauge = |name: &str, help: &str, value: f64| {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        if let Some(open) = open_descriptors() {
            gauge("process_open_fds", "Open file descriptors", count(open))?;
        }
        if let Some(limit) = getrlimit(Resource::Nofile).current {
            gauge("process_max_fds", "Most file descriptors that may be open", count(limit))?;
        }
        Ok(())
    }
}

/// Linux tells their number as the folder's size since version 6.2, so that their names need not be read.
fn open_descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    let size = fs::metadata(FOLDER).ok()?.len();
    if size > 0 { Some(size) } else { Some(fs::read_dir(FOLDER).ok()?.count() as u64) }
}

#[expect(clippy::cast_precision_loss, reason = "exact up to 2^53")]
fn count(value: u64) -> f64 {
    value as f64
}

/// Of `/proc/self/stat` (proc(5)), in bytes and seconds.
struct Stat {
    cpu: f64,
    virtual_: f64,
    resident: f64,
    start: Option<f64>,
}

impl Stat {
    fn read() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name, field 2, may hold anything; it ends with the last parenthesis.
        let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        let seconds = |ticks: u64| count(ticks) / count(clock_ticks_per_second());
        Some(Self {
            cpu: seconds(field(14)? + field(15)?),
            virtual_: count(field(23)?),
            resident: count(field(24)?) * count(page_size() as u64),
            // `/proc/stat` is made anew for each reader, over all CPUs and interrupts: it takes longer than all the rest.
            start: *START.get_or_init(|| Some(boot_time()? + seconds(field(22)?))),
        })
    }
}

/// When the process started, as UNIX time.
static START: OnceLock<Option<f64>> = OnceLock::new();

fn boot_time() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
