//! The subcommands of `soloist-server`: backups, and the inspection of data directories.

mod backup;
mod cluster;
mod inspect;
mod token;
mod verify;

use std::error::Error;
use std::fmt;
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

pub use backup::Credentials;
use clap::Subcommand;
pub use cluster::{ClusterArgs, ClusterCommand, NewClusterArgs};

use crate::config::Limits;
use crate::journal::OpenError;
use crate::machine::StoreLimits;
use crate::progress::Progress;

/// A subcommand, instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Writes a backup of a running server's store to a file.
    ///
    /// The backup is a copy of the store at one revision. The server handles calls meanwhile. The digest that is printed is
    /// that of the contents: "verify" prints the same for a store that was restored from the backup.
    Backup {
        /// The server: HOST:PORT, https://HOST:PORT with TLS, or unix:PATH.
        #[arg(long, value_name = "SERVER", default_value = "127.0.0.1:50051", value_parser = backup::address)]
        from: String,
        #[command(flatten)]
        /// Whom to trust, and what to show the server.
        credentials: Credentials,
        /// The file to write. It must not exist yet. Until it is complete, it is named FILE.partial- and a random part. If
        /// this command is killed, the next backup to the same FILE removes what is left.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Give up when the server sends nothing for this long.
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
        timeout: Duration,
        /// Do not show how far the backup is.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Creates a store from a backup: in a directory without a store, or as a new cluster in etcd.
    ///
    /// The new store has a store_id of its own. Its revisions continue far above the backup's, so that no revision is
    /// used twice. A restore that did not end can be made again in the same directory. Exit code 3: the backup is damaged,
    /// or no backup.
    Restore {
        /// The backup file.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The data directory of the new store. It is created if it does not exist.
        #[arg(
            long,
            value_name = "DIR",
            required_unless_present = "etcd",
            conflicts_with_all = ["etcd", "cluster"]
        )]
        data_dir: Option<PathBuf>,
        #[command(flatten)]
        /// The new cluster, instead of a directory.
        new_cluster: NewClusterArgs,
        /// Do not show how far the restore is.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Checks a data directory that no server is using.
    ///
    /// Reads all files, and rebuilds the state from each snapshot and from the whole log, if the log has it all. Every
    /// rebuild must give the same state. Writes nothing: the directory may be read-only, and stays as it is.
    ///
    /// Exit codes: 0 if the store is whole. 3 if data is missing or damaged, even if other files still have the same data.
    /// 4 if something is unfinished, as after a kill during a snapshot, the first start or a restore: nothing is damaged,
    /// and the message says what finishes it. 1 if the directory cannot be read, has no store, or is in use. 2 if an argument
    /// is invalid.
    ///
    /// The digest is the SHA-256 of the contents: of machines, sessions and keys with their revisions, without the revision
    /// of the store. A backup and the store that is restored from it have the same.
    Verify {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// Do not show how far the check is.
        #[arg(short, long)]
        quiet: bool,
    },
    /// Prints what is in a data directory that no server is using: the state, or the log.
    ///
    /// Prints JSON, one object a line, with values as long as they are. Messages are mapped as protobuf's JSON mapping says:
    /// the same as grpcurl prints. Each line of the state has one field: "machine", "session" or "entry". Each record of the
    /// log has "record", "epoch", "revision", "time" and "effects"; docs/durability.md names the effects. Writes nothing to
    /// the directory. Exit codes are those of "verify".
    Inspect {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// Print the records of the log instead of the state, the oldest first.
        #[arg(long)]
        log: bool,
        /// Print only keys that begin with PREFIX, and of the log only their changes.
        #[arg(long, value_name = "PREFIX", default_value = "")]
        prefix: String,
    },
    /// Shows a cluster, and changes who owns its store.
    Cluster {
        /// What to do.
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Makes a token for an identity of the access file.
    ///
    /// Prints the token, which is a secret for the caller, and a line with its hash for --access-file. The token is
    /// stored nowhere.
    Token {
        /// The name of the identity.
        name: String,
    },
}

impl Command {
    /// Returns whether nothing but results and errors is to be shown.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        match self {
            Self::Backup { quiet, .. }
            | Self::Restore { quiet, .. }
            | Self::Verify { quiet, .. } => *quiet,
            Self::Inspect { .. } | Self::Cluster { .. } | Self::Token { .. } => true,
        }
    }
}

/// Why a data directory is not whole: a file is damaged, although the same data is in other files.
#[derive(Debug)]
pub struct Damaged(String);

/// Why a data directory is not whole: a process ended in the middle of something that can be made again. Nothing is damaged.
#[derive(Debug)]
pub struct Unfinished(String);

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Damaged {}

impl fmt::Display for Unfinished {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Unfinished {}

/// Runs a subcommand, and writes its result to `out`. Meanwhile a clone of `progress` shows how far it is.
///
/// # Errors
/// What went wrong, as a message for people. [`OpenError`], [`Damaged`] and [`Unfinished`] say how a data directory or a
/// backup is not whole.
pub fn run(
    command: &Command,
    progress: &Progress,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    match command {
        Command::Backup {
            from,
            credentials,
            to,
            timeout,
            quiet: _,
        } => backup::backup(from, credentials, to, *timeout, progress, out),
        Command::Restore {
            from,
            data_dir,
            new_cluster,
            quiet: _,
        } => match data_dir {
            Some(data_dir) => backup::restore(from, data_dir, progress, out),
            None => cluster::restore(from, new_cluster, progress, out),
        },
        Command::Verify { data_dir, .. } => verify::verify(data_dir, progress, out),
        Command::Inspect {
            data_dir,
            log: true,
            prefix,
        } => inspect::inspect_log(data_dir, prefix, progress, out),
        Command::Inspect {
            data_dir, prefix, ..
        } => inspect::inspect_state(data_dir, prefix, progress, out),
        Command::Cluster { command } => cluster::run(command, out),
        Command::Token { name } => token::token(name, out),
    }
}

/// The limits for reading a store, whatever limits its server had: no request id is ever too old.
fn limits() -> StoreLimits {
    StoreLimits {
        request_id_window: Duration::MAX,
        ..Limits::DEFAULT.store_limits()
    }
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    })
}

/// Tells what can be finished from what must be repaired.
fn finishable(error: OpenError) -> Box<dyn Error> {
    match error {
        OpenError::Unfinished { .. } | OpenError::NotCreated { .. } => {
            Unfinished(error.to_string()).into()
        }
        other => other.into(),
    }
}
