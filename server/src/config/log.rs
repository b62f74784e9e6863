//! What is logged of calls.

use std::time::Duration;

use clap::Args;

use super::parse::duration;

/// What is logged of calls.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Logs")]
pub struct LogConfig {
    /// Log each call with one answer, and each message of frames, that takes at least this long: its method, who called, its
    /// trace (of the header traceparent), and how long it waited in the mailbox, was handled, and waited for the disk. Off by
    /// default, because each call then costs a few clock readings.
    #[arg(long, value_name = "TIME", env = "SOLOIST_SLOW_CALL", value_parser = duration)]
    pub slow_call: Option<Duration>,
}
