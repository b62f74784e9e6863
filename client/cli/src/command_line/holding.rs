//! The flags of `lock` and `elect`.

use std::ffi::OsString;
use std::num::NonZeroUsize;
use std::time::Duration;

use crate::command_line::parse::{positive, time};

/// What to lock.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct LockArgs {
    /// The name of the lock: the keys NAME/… belong to it.
    pub(crate) name: String,
    #[command(flatten)]
    pub(crate) hold: HoldFlags,
    /// How many may hold it at once: a semaphore. All should say the same; then the token protects nothing.
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    pub(crate) holders: NonZeroUsize,
    /// What others see under the key of the holder.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub(crate) value: String,
    /// What to run with the lock.
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// Which office to stand for.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct ElectArgs {
    /// The name of the election: the keys NAME/… belong to it.
    pub(crate) name: String,
    /// What others see of the leader.
    #[arg(required_unless_present = "observe")]
    pub(crate) value: Option<String>,
    /// Show who leads, and each change, instead of standing.
    #[arg(long, conflicts_with_all = ["value", "wait", "ttl", "session_prefix", "command"])]
    pub(crate) observe: bool,
    #[command(flatten)]
    pub(crate) hold: HoldFlags,
    /// What to run while leading.
    #[arg(last = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

/// How to hold a lock or an office.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct HoldFlags {
    /// How long it outlives a holder that is gone, 1s to 24h.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) ttl: Duration,
    /// How long to wait for it. Exit code 124: in vain. Default: for ever.
    #[arg(long, value_name = "TIME", value_parser = positive)]
    pub(crate) wait: Option<Duration>,
    /// What the id of the session begins with, for a caller that may not open every session. The rest is random.
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        hide_default_value = true
    )]
    pub(crate) session_prefix: String,
}
