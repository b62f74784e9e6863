//! The commands about sessions.

use std::time::Duration;

use clap::Subcommand;

use crate::command_line::parse::time;

/// What to do with sessions.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum SessionCommand {
    /// Opens a session. It ends after --ttl unless it is renewed.
    Open(OpenArgs),
    /// Renews a session: its ttl counts from now again.
    Renew(OneArgs),
    /// Renews a session until a signal comes, or until it is lost: exit code 75.
    Keep(OneArgs),
    /// Ends a session and deletes its keys.
    Close(OneArgs),
    /// Lists the sessions that live, or one of them.
    List {
        /// The id of a session. Exit code 1: there is none.
        id: Option<String>,
    },
}

/// Which session to open.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OpenArgs {
    /// The id. Default: the server makes a random one.
    pub(crate) id: Option<String>,
    /// How long the session lives without being renewed, 1s to 24h.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub(crate) ttl: Duration,
    /// First end a session of the same id.
    #[arg(long, requires = "id")]
    pub(crate) take_over: bool,
}

/// Which session.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct OneArgs {
    /// The id.
    pub(crate) id: String,
    /// Only if it is the session that began at this revision. Default: the one that lives now.
    #[arg(long, value_name = "REVISION")]
    pub(crate) create_revision: Option<i64>,
}
