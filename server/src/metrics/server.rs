//! What is counted seldom, by whichever thread: these cells are shared.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::cells::Cell;
use crate::config::IDENTITY_SERIES_MAX;

/// Counts of a server that change seldom.
#[derive(Debug, Default)]
pub(crate) struct ServerCells {
    /// Connections that were accepted.
    pub(crate) connections: Cell,
    pub(crate) connection_moves: Cell,
    pub(crate) handshake_failures: Cell,
    /// Calls of callers that are not known.
    pub(crate) auth_failures: Cell,
    denied: Mutex<BTreeMap<String, u64>>,
    /// When a client had taken the last of a backup, in nanoseconds since 1970; 0 before.
    pub(crate) backup_at: Cell,
    /// How long the start took, in nanoseconds; 0 until it has ended.
    pub(crate) start_nanos: Cell,
}

/// Stands for the identities that have no series of their own.
const OTHER: &str = "(other)";

impl ServerCells {
    /// Counts a call that was refused for want of a right. `identity` is a name of the access file.
    pub(crate) fn count_denied(&self, identity: &str) {
        let mut denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        let name = match denied.contains_key(identity) || denied.len() < IDENTITY_SERIES_MAX {
            true => identity,
            // Access files can be replaced again and again, each with other names.
            false => OTHER,
        };
        *denied.entry(name.to_owned()).or_default() += 1;
    }

    /// The calls that were refused for want of a right, by identity.
    pub(crate) fn denied(&self) -> Vec<(String, u64)> {
        let denied = self.denied.lock().unwrap_or_else(PoisonError::into_inner);
        denied.iter().map(|(name, n)| (name.clone(), *n)).collect()
    }
}

/// The system's time, in nanoseconds since 1970.
pub(crate) fn now_nanos() -> u64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    u64::try_from(since_epoch.unwrap_or(Duration::ZERO).as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_beyond_the_limit_are_counted_together() {
        let cells = ServerCells::default();
        for n in 0..IDENTITY_SERIES_MAX + 7 {
            cells.count_denied(&format!("{n}"));
        }
        cells.count_denied("0");
        let denied = cells.denied();
        assert_eq!(denied.len(), IDENTITY_SERIES_MAX + 1);
        assert!(denied.contains(&(OTHER.into(), 7)));
        assert!(denied.contains(&("0".into(), 2)));
    }
}
