//! This process' own memory, CPU, start and files, read from `/proc/self` when a scrape asks.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric as _},
    metrics::{counter::ConstCounter, gauge::ConstGauge},
};

use super::table::{self, Metric};

/// `/proc/self/stat` counts CPU time in units of 1/100 s (`USER_HZ`) on every architecture that Kubernetes runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// Reads `/proc` at each scrape; elsewhere than on Linux it exports nothing.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stat = read("/proc/self/stat");
        let resident = read("/proc/self/status").as_deref().and_then(resident_bytes);
        gauge(&mut encoder, &table::PROCESS_RESIDENT, resident)?;
        if let Some(seconds) = stat.as_deref().and_then(cpu_seconds) {
            let metric = table::PROCESS_CPU;
            let family = encoder.encode_descriptor(metric.family(), metric.meaning, None, metric.kind.encoded())?;
            ConstCounter::new(seconds).encode(family)?;
        }
        let started = stat.as_deref().and_then(started_after_boot);
        let boot = read("/proc/stat").as_deref().and_then(boot_time);
        gauge(&mut encoder, &table::PROCESS_START, started.zip(boot).map(|(after, boot)| boot + after))?;
        let open = std::fs::read_dir("/proc/self/fd").ok().and_then(|open| u32::try_from(open.count()).ok());
        gauge(&mut encoder, &table::PROCESS_OPEN_FDS, open.map(f64::from))?;
        gauge(&mut encoder, &table::PROCESS_MAX_FDS, read("/proc/self/limits").as_deref().and_then(max_fds))
    }
}

/// What is not known has no series.
fn gauge(encoder: &mut DescriptorEncoder<'_>, metric: &Metric, value: Option<f64>) -> fmt::Result {
    let Some(value) = value else { return Ok(()) };
    let family = encoder.encode_descriptor(metric.family(), metric.meaning, None, metric.kind.encoded())?;
    ConstGauge::new(value).encode(family)
}

fn read(path: &str) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

/// `VmRSS:      1234 kB`.
fn resident_bytes(status: &str) -> Option<f64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u32 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(f64::from(kib) * 1024.0)
}

/// The fields of `/proc/self/stat` from the third on: the command's name before them may itself contain blanks.
fn fields(stat: &str) -> Option<impl Iterator<Item = &str>> {
    stat.rsplit_once(')').map(|(_, behind)| behind.split_ascii_whitespace())
}

/// Fields 14 and 15 (`utime`, `stime`).
fn cpu_seconds(stat: &str) -> Option<f64> {
    let mut fields = fields(stat)?.skip(11);
    let user: u32 = fields.next()?.parse().ok()?;
    let system: u32 = fields.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_SECOND)
}

/// Field 22 (`starttime`), in seconds after the machine started.
fn started_after_boot(stat: &str) -> Option<f64> {
    let ticks: f64 = fields(stat)?.nth(19)?.parse().ok()?;
    Some(ticks / TICKS_PER_SECOND)
}

/// `btime 1700000000` of `/proc/stat`: when the machine started, in Unix time.
fn boot_time(stat: &str) -> Option<f64> {
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// `Max open files            1024                 524288               files`: the soft limit; `None`: unlimited.
fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_kernel_writes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nVmData:\t1 kB\n"), Some(2_097_152.0));
        let stat = "42 (odd ) name) S 1 42 42 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 4 0 7 8 9";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("42 (short) S 1"), None);
        assert_eq!(started_after_boot(stat), Some(0.07));
        assert_eq!(started_after_boot("42 (short) S 1"), None);
        assert_eq!(boot_time("cpu 1 2\nbtime 1700000000\nprocesses 4\n"), Some(1.7e9));
        let limits = |soft: &str| format!("Max open files            {soft}    524288    files\n");
        assert_eq!(max_fds(&limits("1024")), Some(1024.0));
        assert_eq!(max_fds(&limits("unlimited")), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn reads_this_process() {
        assert!(read("/proc/self/status").as_deref().and_then(resident_bytes).expect("resident memory") > 0.0);
        assert!(read("/proc/self/stat").as_deref().and_then(cpu_seconds).expect("CPU time") >= 0.0);
    }
}
