//! What the system says of this process, under the names that all Prometheus clients use.

use std::fs;
use std::time::{Duration, SystemTime};

use nix::sys::resource::{Resource, getrlimit};
use nix::time::{ClockId, clock_gettime};

/// What the system says of this process. 0 stands for what it does not say.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Process {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
    pub(crate) virtual_bytes: u64,
    pub(crate) threads: u64,
    pub(crate) open_fds: u64,
    pub(crate) max_fds: u64,
    pub(crate) started_at: Duration,
}

impl Process {
    /// Asks the system. `started_at` is when this process began to serve.
    pub(crate) fn now(started_at: SystemTime) -> Self {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let kib = |name| field(&status, name).unwrap_or(0) * 1024;
        let cpu = clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID);
        Self {
            cpu: cpu.map(Duration::from).unwrap_or_default(),
            resident_bytes: kib("VmRSS:"),
            virtual_bytes: kib("VmSize:"),
            threads: field(&status, "Threads:").unwrap_or(0),
            // One of them is the directory that is being read.
            open_fds: fs::read_dir("/proc/self/fd")
                .map_or(0, |open| (open.count() as u64).saturating_sub(1)),
            max_fds: getrlimit(Resource::RLIMIT_NOFILE).map_or(0, |(soft, _)| soft),
            started_at: started_at
                .duration_since(SystemTime::UNIX_EPOCH)
                .unwrap_or_default(),
        }
    }
}

/// The number of a line `NAME  NUMBER …`.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_says_something_of_every_kind() {
        let process = Process::now(SystemTime::now());
        for said in [
            process.resident_bytes,
            process.virtual_bytes,
            process.threads,
            process.open_fds,
            process.max_fds,
        ] {
            assert!(said > 0, "{process:?}");
        }
        assert!(process.resident_bytes < process.virtual_bytes);
        assert!(process.cpu > Duration::ZERO);
    }
}
