//! What a run is called, and what else its report is to say.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use crate::plan::slo::Slo;

/// Where the operations go that show what is wrong, if nothing else is said.
pub(crate) const EVIDENCE_FILE: &str = "soloist-load-violation.jsonl";

/// How long the searches of a check may take, if nothing else is said: several times what a run of a million operations on
/// few keys takes, and no longer than people wait.
pub(crate) const SEARCH_TIMEOUT: &str = "1m";

/// What a run is called, and must reach.
#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) name: Option<String>,
    pub(crate) tags: BTreeMap<String, String>,
    pub(crate) slos: Vec<Slo>,
    /// What becomes of its history, if it has one.
    pub(crate) history: HistoryOptions,
}

/// What to do about the history of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct HistoryOptions {
    /// Where it is kept.
    pub(crate) history: Option<PathBuf>,
    /// How long the searches of its check may take.
    pub(crate) search_timeout: Duration,
}
