//! The flags of `watch`.

use std::ffi::OsString;

/// What to watch.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct WatchArgs {
    /// The key.
    #[arg(required_unless_present = "prefix")]
    pub(crate) key: Option<String>,
    /// All keys that begin with this; "" for every key.
    #[arg(long, conflicts_with = "key")]
    pub(crate) prefix: Option<String>,
    /// First show what there is. If the connection breaks before all of it was shown, the watch ends: begin again.
    #[arg(long, conflicts_with = "after")]
    pub(crate) initial: bool,
    /// First show each change after this revision.
    #[arg(long, value_name = "REVISION")]
    pub(crate) after: Option<i64>,
    /// Show what each key had before the change, too.
    #[arg(long)]
    pub(crate) previous: bool,
    /// End after this many changes.
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Run this for each change, one after the other. It gets SOLOIST_EVENT_CAUSE, SOLOIST_EVENT_KEY and SOLOIST_EVENT_REVISION, and
    /// the value on standard input.
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
