//! What a report says beside the measurement: names, objectives, and where the history goes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::plan::slo::Slo;

/// The file for the operations that show a violation, unless a flag names another.
pub(crate) const EVIDENCE_FILE: &str = "soloist-load-violation.jsonl";

/// The default of `--search-timeout`: several times what the check of a million operations on few keys takes, and short
/// enough to wait for.
pub(crate) const SEARCH_TIMEOUT: &str = "1m";

/// The names and the objectives of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) name: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) slos: Vec<Slo>,
    /// Used only if the run records a history.
    pub(crate) history: HistoryOptions,
}

/// What happens to the history of a run with `--verify`.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistoryOptions {
    /// The file that keeps the history, if one is to.
    pub(crate) file: Option<PathBuf>,
    /// How long the check may search, all keys together.
    pub(crate) search_timeout: Duration,
}
