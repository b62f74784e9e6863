//! The subcommands of `soloist-server`: backups, and the inspection of data directories.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Subcommand;
use soloist::v1::BackupRequest;
use soloist::v1::admin_client::AdminClient;
use tonic::transport::Endpoint;

use crate::access::Token;
use crate::config::Limits;
use crate::ids::random_name;
use crate::journal::backup;
use crate::journal::inspect::{self, StateItem};
use crate::machine::StoreLimits;
use crate::wall_clock;

/// A subcommand, instead of serving.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Writes a backup of a running server's store to a file.
    ///
    /// The backup is a copy of the store at one revision. The server handles calls meanwhile.
    Backup {
        /// Address and port of the server.
        #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:50051")]
        from: String,
        /// The file to write. It must not exist yet. Until it is complete, it is named FILE.partial- and a random part.
        #[arg(long, value_name = "FILE")]
        to: PathBuf,
        /// Give up when the server sends nothing for this long.
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
        timeout: Duration,
    },
    /// Creates a store from a backup, in a directory without a store.
    ///
    /// The new store has a store_id of its own. Its revisions continue far above the backup's, so that no revision is
    /// used twice. A restore that did not end can be made again in the same directory.
    Restore {
        /// The backup file.
        #[arg(long, value_name = "FILE")]
        from: PathBuf,
        /// The data directory of the new store. It is created if it does not exist.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Checks a data directory that no server is using.
    ///
    /// Reads all files, and rebuilds the state from each snapshot and from the whole log, if the log has it all. Every
    /// rebuild must give the same digest.
    Verify {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
    },
    /// Prints what is in a data directory that no server is using: the state, or the log.
    Inspect {
        /// The data directory.
        #[arg(long, value_name = "DIR")]
        data_dir: PathBuf,
        /// Print the records of the log instead of the state, the oldest first.
        #[arg(long)]
        log: bool,
        /// Print only keys that begin with PREFIX.
        #[arg(long, value_name = "PREFIX", default_value = "")]
        prefix: String,
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

/// Runs a subcommand, and writes its result to `out`.
///
/// # Errors
/// What went wrong, as a message for people.
pub fn run(command: &Command, out: &mut dyn Write) -> Result<(), Box<dyn std::error::Error>> {
    match command {
        Command::Backup { from, to, timeout } => backup(from, to, *timeout, out),
        Command::Restore { from, data_dir } => restore(from, data_dir, out),
        Command::Verify { data_dir } => verify(data_dir, out),
        Command::Inspect {
            data_dir,
            log: true,
            prefix,
        } => inspect_log(data_dir, prefix, out),
        Command::Inspect {
            data_dir, prefix, ..
        } => inspect_state(data_dir, prefix, out),
        Command::Token { name } => token(name, out),
    }
}

fn token(name: &str, out: &mut dyn Write) -> Result<(), Box<dyn std::error::Error>> {
    let token = Token::random();
    let hash = token.hash();
    writeln!(out, "{}", token.secret())?;
    writeln!(out, "{hash}")?;
    writeln!(
        out,
        "# access file: identities.{name:?}.tokens = [\"{hash}\"]"
    )?;
    Ok(())
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

fn backup(
    from: &str,
    to: &Path,
    timeout: Duration,
    out: &mut dyn Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let refuse_existing = || match fs::symlink_metadata(to) {
        Ok(_) => Err(format!("cannot create {}: the file exists", to.display())),
        Err(_) => Ok(()),
    };
    refuse_existing()?;
    // An incomplete file must not be taken for a backup, even if this process is killed: only the complete one gets its name.
    let mut partial = to.as_os_str().to_owned();
    partial.push(format!(".partial-{}", random_name()));
    let partial = PathBuf::from(partial);
    let written = create_private(&partial)
        .map_err(|error| format!("cannot create {}: {error}", partial.display()))
        .and_then(|file| {
            let fetched = runtime.block_on(fetch(from, timeout, file));
            let finished = fetched.map_err(|error| error.to_string()).and_then(|()| {
                let checked = backup::check(&partial, &limits());
                let checked = checked.map_err(|error| error.to_string())?;
                refuse_existing()?;
                rename_durably(&partial, to)
                    .map_err(|error| format!("cannot create {}: {error}", to.display()))?;
                Ok(checked)
            });
            finished.inspect_err(|_| drop(fs::remove_file(&partial)))
        })?;
    writeln!(
        out,
        "{}: {} keys as of revision {} of store {}, digest {}",
        to.display(),
        written.key_count,
        written.revision,
        written.store_id,
        hex(&written.digest)
    )?;
    Ok(())
}

/// Creates a file that only its owner may read: a backup holds everything that the store holds.
fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
}

/// Renames a file, and makes its new name durable.
fn rename_durably(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    let parent = match to.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    File::open(parent)?.sync_all()
}

async fn fetch(
    from: &str,
    timeout: Duration,
    mut file: File,
) -> Result<(), Box<dyn std::error::Error>> {
    let endpoint = match from.contains("://") {
        true => from.to_owned(),
        false => format!("http://{from}"),
    };
    let endpoint = Endpoint::from_shared(endpoint)
        .map_err(|error| format!("{from:?} must be ADDRESS:PORT or a URL: {error}"))?;
    let silent = |what: &'static str| {
        let timeout = humantime::format_duration(timeout);
        move |_| format!("{from} {what} within {timeout}, as --timeout says")
    };
    let channel = tokio::time::timeout(timeout, endpoint.connect())
        .await
        .map_err(silent("did not accept a connection"))?
        .map_err(|error| {
            let cause = std::error::Error::source(&error);
            let cause = cause.map_or_else(String::new, |cause| format!(": {cause}"));
            format!("cannot connect to {from}: {error}{cause}")
        })?;
    let mut admin = AdminClient::new(channel).max_decoding_message_size(usize::MAX);
    let mut chunks = tokio::time::timeout(timeout, admin.backup(BackupRequest {}))
        .await
        .map_err(silent("did not begin the backup"))?
        .map_err(|status| refused(from, &status))?
        .into_inner();
    let mut ended = false;
    while let Some(chunk) = tokio::time::timeout(timeout, chunks.message())
        .await
        .map_err(silent("sent nothing more of the backup"))?
        .map_err(|status| refused(from, &status))?
    {
        file.write_all(&chunk.chunk)?;
        ended = !chunk.digest.is_empty();
    }
    if !ended {
        return Err(format!("{from} ended the backup before its end").into());
    }
    file.sync_all()?;
    Ok(())
}

fn refused(from: &str, status: &tonic::Status) -> String {
    format!("{from} answered {}: {}", status.code(), status.message())
}

fn restore(
    from: &Path,
    data_dir: &Path,
    out: &mut dyn Write,
) -> Result<(), Box<dyn std::error::Error>> {
    let limits = limits();
    let store_id = random_name();
    let (backup, revision) =
        backup::restore(from, data_dir, &limits, wall_clock::now(), &store_id)?;
    writeln!(
        out,
        "{}: {} keys as of revision {} of store {}; restored as store {store_id}, which continues from revision {revision}",
        data_dir.display(),
        backup.key_count,
        backup.revision,
        backup.store_id,
    )?;
    Ok(())
}

fn verify(data_dir: &Path, out: &mut dyn Write) -> Result<(), Box<dyn std::error::Error>> {
    let summary = inspect::verify(data_dir, &limits())?;
    let ended = match summary.closed {
        true => "in order",
        false => "abruptly",
    };
    writeln!(out, "store_id    {}", summary.store_id)?;
    writeln!(out, "revision    {}", summary.revision)?;
    writeln!(out, "keys        {}", summary.key_count)?;
    writeln!(out, "durability  {}", summary.durability)?;
    writeln!(out, "opened      {} times, ended {ended}", summary.epoch)?;
    for (seq, revision) in &summary.snapshots {
        writeln!(out, "snapshot    of record {seq}, revision {revision}")?;
    }
    match summary.records {
        Some((first, last)) => writeln!(
            out,
            "log         records {first} to {last}, {} bytes",
            summary.record_bytes
        )?,
        None => writeln!(out, "log         no records")?,
    }
    for (start, digest) in &summary.replays {
        writeln!(out, "digest      {} from {start}", hex(digest))?;
    }
    if let Some(harmless_damage) = summary.harmless_damage {
        return Err(
            format!("{harmless_damage}; no data is lost: the same data is in other files").into(),
        );
    }
    writeln!(out, "undamaged")?;
    Ok(())
}

/// Whether to go on printing. Not after a failed write, as when the output goes to `head`.
fn goes_on(written: io::Result<()>) -> bool {
    written.is_ok()
}

fn inspect_state(
    data_dir: &Path,
    prefix: &str,
    out: &mut dyn Write,
) -> Result<(), Box<dyn std::error::Error>> {
    inspect::state(data_dir, &limits(), |part| {
        goes_on(match part {
            StateItem::Machine(machine) => writeln!(out, "machine {machine:?}"),
            StateItem::Session(session) => writeln!(out, "session {session:?}"),
            StateItem::Entry(key, _) if !key.as_str().starts_with(prefix) => Ok(()),
            StateItem::Entry(key, entry) => writeln!(out, "key {:?} {entry:?}", key.as_str()),
        })
    })?;
    Ok(())
}

fn inspect_log(
    data_dir: &Path,
    prefix: &str,
    out: &mut dyn Write,
) -> Result<(), Box<dyn std::error::Error>> {
    use crate::machine::Effect;
    inspect::records(data_dir, &limits(), |record| {
        let mut written = writeln!(
            out,
            "record {} epoch {} revision {} time {}.{:09}",
            record.seq,
            record.epoch,
            record.revision,
            record.time.to_epoch().as_secs(),
            record.time.to_epoch().subsec_nanos(),
        );
        for effect in record.effects {
            written = written.and_then(|()| match effect {
                Effect::Changed(change) if !change.key.as_str().starts_with(prefix) => Ok(()),
                Effect::Changed(change) => writeln!(
                    out,
                    "  {:?} key {:?} revision {} {:?}",
                    change.cause,
                    change.key.as_str(),
                    change.revision,
                    change.entry
                ),
                other => writeln!(out, "  {other:?}"),
            });
        }
        goes_on(written)
    })?;
    Ok(())
}
