//! `backup` and `restore`.

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use http::Uri;
use soloist::v1::{BackupRequest, BackupResponse};
use soloist_client::{Client, ClientBuilder};
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};
use tonic::{Code, Status};
use tracing::info;

use super::{hex, limits};
use crate::ids::random_name;
use crate::journal;
use crate::journal::backup::{self, Backup};
use crate::progress::{Progress, Unit};
use crate::wall_clock;

/// Between the name of a backup and the random part, in the name of the file until the backup is complete.
const PARTIAL: &str = ".partial-";

/// Digits of a [`random_name`].
const RANDOM_LEN: usize = 32;

/// Whom `backup` trusts, and how it presents itself. Not the flags of the server that it might share a machine with.
#[derive(Args, Clone, Debug)]
pub struct Credentials {
    /// The CAs that the server's certificate may come from, in PEM form. [default: those of the system]
    #[arg(long, value_name = "FILE", env = "SOLOIST_CLIENT_TLS_CA")]
    tls_ca: Option<PathBuf>,
    /// The certificate to show the server, and the chain above it, in PEM form.
    #[arg(
        long,
        value_name = "FILE",
        env = "SOLOIST_CLIENT_TLS_CERT",
        requires = "tls_key"
    )]
    tls_cert: Option<PathBuf>,
    /// The key of --tls-cert, in PEM form.
    #[arg(
        long,
        value_name = "FILE",
        env = "SOLOIST_CLIENT_TLS_KEY",
        requires = "tls_cert"
    )]
    tls_key: Option<PathBuf>,
    /// A file with the token to show the server.
    #[arg(long, value_name = "FILE", env = "SOLOIST_CLIENT_TOKEN_FILE")]
    token_file: Option<PathBuf>,
}

impl Credentials {
    fn client(&self, server: &str) -> ClientBuilder {
        let mut builder = Client::builder(server);
        if let Some(ca) = &self.tls_ca {
            builder = builder.ca_file(ca);
        }
        if let (Some(cert), Some(key)) = (&self.tls_cert, &self.tls_key) {
            builder = builder.identity_files(cert, key);
        }
        if let Some(token) = &self.token_file {
            builder = builder.token_file(token);
        }
        builder
    }
}

/// Writes a backup of the server at `from` to the file `to`, which must not exist.
pub(super) fn backup(
    from: &str,
    credentials: &Credentials,
    to: &Path,
    timeout: Duration,
    progress: &Progress,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    refuse_existing(to)?;
    remove_abandoned(to);
    let (partial, file) = create_partial(to)?;
    let client = credentials.client(from);
    let fetching = fetch(from, client, timeout, progress, &file);
    let fetched = runtime.block_on(unless_interrupted(fetching));
    let finished = fetched.and_then(|()| finish(from, &partial, progress, to));
    progress.end();
    let written = finished.inspect_err(|_| drop(fs::remove_file(&partial)))?;
    drop(file);
    writeln!(
        out,
        "{}: {} keys as of revision {} of store {}, digest {}",
        to.display(),
        written.key_count,
        written.revision,
        written.store_id,
        hex(&written.contents_digest)
    )?;
    Ok(())
}

/// Creates a store from the backup `from`.
pub(super) fn restore(
    from: &Path,
    data_dir: &Path,
    progress: &Progress,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let (now, store_id) = (wall_clock::now(), random_name());
    let restored = journal::restore(from, data_dir, &limits(), now, &store_id, progress);
    progress.end();
    let (backup, revision) = restored?;
    writeln!(
        out,
        "{}: {} keys as of revision {} of store {}; restored as store {store_id}, which continues from revision {revision}, digest {}",
        data_dir.display(),
        backup.key_count,
        backup.revision,
        backup.store_id,
        hex(&backup.contents_digest)
    )?;
    Ok(())
}

fn refuse_existing(to: &Path) -> Result<(), String> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(format!("cannot create {}: the file exists", to.display())),
        Err(_) => Ok(()),
    }
}

/// The directory that a file is in.
fn parent(of: &Path) -> &Path {
    match of.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// Creates and locks the file that gets the name `to` when it is complete: an incomplete one must not be taken for a backup,
/// even if this process is killed. The lock tells other processes that the file is being written.
fn create_partial(to: &Path) -> Result<(PathBuf, File), String> {
    let mut partial = to.as_os_str().to_owned();
    partial.push(format!("{PARTIAL}{}", random_name()));
    let partial = PathBuf::from(partial);
    // Only its owner may read it: a backup holds everything that the store holds.
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial);
    let file = created.map_err(|error| format!("cannot create {}: {error}", partial.display()))?;
    // Not every file system can lock. Then nobody removes the file, either.
    let _ = file.try_lock();
    Ok((partial, file))
}

/// Removes the files that killed backups to the same place left: those of the right name that no process has locked.
fn remove_abandoned(to: &Path) {
    let (Some(name), Ok(files)) = (to.file_name(), fs::read_dir(parent(to))) else {
        return;
    };
    let partial = format!("{}{PARTIAL}", name.to_string_lossy());
    let is_random = |text: &str| {
        let is_digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        text.len() == RANDOM_LEN && text.as_bytes().iter().all(is_digit)
    };
    for file in files.flatten() {
        let name = file.file_name();
        let random = name.to_str().and_then(|name| name.strip_prefix(&partial));
        let is_file = file.file_type().is_ok_and(|kind| kind.is_file());
        if !is_file || !random.is_some_and(is_random) {
            continue;
        }
        let path = file.path();
        let is_abandoned = File::open(&path).is_ok_and(|file| file.try_lock().is_ok());
        if is_abandoned && fs::remove_file(&path).is_ok() {
            info!(
                "removed {}, which an interrupted backup left",
                path.display()
            );
        }
    }
}

/// Checks a complete file, and gives it its name.
fn finish(from: &str, partial: &Path, progress: &Progress, to: &Path) -> Result<Backup, String> {
    let checked = backup::check(partial, &limits(), progress);
    let checked = checked.map_err(|error| format!("{from} sent a bad backup: {error}"))?;
    refuse_existing(to)?;
    let renamed = fs::rename(partial, to).and_then(|()| File::open(parent(to))?.sync_all());
    renamed.map_err(|error| format!("cannot create {}: {error}", to.display()))?;
    Ok(checked)
}

/// Waits for `work`, unless a signal ends this process: then the caller can still remove what is not complete.
async fn unless_interrupted(work: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    let listen = |kind| signal(kind).map_err(|error| format!("cannot wait for signals: {error}"));
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    tokio::select! {
        done = work => done,
        _ = interrupt.recv() => Err("interrupted: no backup was made".into()),
        _ = terminate.recv() => Err("interrupted: no backup was made".into()),
    }
}

/// Checks an address: HOST:PORT, or `http://` before it. Those with `https://` and `unix:` are checked later.
pub(super) fn address(text: &str) -> Result<String, String> {
    if text.starts_with("https://") || text.starts_with("unix:") {
        return Ok(text.to_owned());
    }
    let host_and_port = text.strip_prefix("http://").unwrap_or(text);
    let host_and_port = host_and_port.strip_suffix('/').unwrap_or(host_and_port);
    let bad = |why: &str| {
        Err(format!(
            "{why}; it must be HOST:PORT, https://HOST:PORT or unix:PATH"
        ))
    };
    match format!("http://{host_and_port}").parse::<Uri>() {
        Err(_) => bad("not an address (an IPv6 address must be in brackets)"),
        Ok(uri) if uri.host().is_none_or(str::is_empty) => bad("the host is missing"),
        Ok(uri) if uri.port_u16().is_none() => bad("the port is missing"),
        Ok(uri)
            if uri
                .authority()
                .is_some_and(|of| of.as_str() != host_and_port) =>
        {
            bad("there is something behind the port")
        }
        Ok(_) => Ok(host_and_port.to_owned()),
    }
}

/// Writes the backup of a server to a file, durably.
async fn fetch(
    from: &str,
    client: ClientBuilder,
    timeout: Duration,
    progress: &Progress,
    mut file: &File,
) -> Result<(), String> {
    let silent = |what: &'static str| {
        let timeout = humantime::format_duration(timeout);
        move |_| format!("{from} {what} within {timeout}, as --timeout says")
    };
    // Its own limit comes later than the one here.
    let connecting = client.connect_timeout(timeout.saturating_mul(2)).connect();
    let client = tokio::time::timeout(timeout, connecting)
        .await
        .map_err(silent("did not answer"))?
        .map_err(|error| not_connected(from, &error))?;
    let mut admin = client.admin_client().max_decoding_message_size(usize::MAX);
    let mut chunks = tokio::time::timeout(timeout, admin.backup(BackupRequest {}))
        .await
        .map_err(silent(
            "accepted a connection, but did not begin the backup",
        ))?
        .map_err(|status| refused(from, &status))?
        .into_inner();
    let (mut ended, mut received) = (false, false);
    while let Some(chunk) = tokio::time::timeout(timeout, chunks.message())
        .await
        .map_err(silent("sent nothing more of the backup"))?
        .map_err(|status| broken_off(from, &status))?
    {
        if !std::mem::replace(&mut received, true) {
            begin_receiving(progress, &chunk);
        }
        // An older server does not say how many keys there are.
        match chunk.key_total {
            0 => progress.add(chunk.chunk.len() as u64),
            _ => progress.set(chunk.keys_so_far.cast_unsigned()),
        }
        let written = file.write_all(&chunk.chunk);
        written.map_err(|error| format!("cannot write the backup: {error}"))?;
        ended = !chunk.digest.is_empty();
    }
    if !ended {
        return Err(format!("{from} ended the backup before its end"));
    }
    let synced = file.sync_all();
    synced.map_err(|error| format!("cannot write the backup: {error}"))
}

/// Begins the step that receives the backup. Its first message says how many keys there are, if the server does at all.
fn begin_receiving(progress: &Progress, first: &BackupResponse) {
    let (unit, total) = match first.key_total {
        0 => (Unit::Bytes, None),
        total => (Unit::Things("keys"), Some(total.cast_unsigned())),
    };
    progress.begin("receiving the backup", unit, total);
}

/// The error about a connection that was not made. The client library names files by the methods of its builder.
fn not_connected(from: &str, error: &soloist_client::Error) -> String {
    let why = error.message();
    let Some(field) = error.metadata("field") else {
        return format!("{why} (--from {from})");
    };
    let flag = match field {
        "ca_file" => "--tls-ca",
        "identity_files" => "--tls-cert and --tls-key:",
        "token_file" => "--token-file",
        other => other,
    };
    why.replacen(field, flag, 1)
}

/// The error about a backup that did not begin.
fn refused(from: &str, status: &Status) -> String {
    // Messages of tonic for an answer that is no gRPC answer. Its code is derived from the HTTP status and says nothing.
    let not_grpc = [
        "grpc-status header missing",
        "Missing response message",
        "invalid compression flag",
    ];
    if let Some(source) = status.source() {
        let cause = root_cause(source);
        return format!("{from} accepts connections, but does not answer as a Soloist: {cause}");
    }
    if not_grpc
        .iter()
        .any(|words| status.message().contains(words))
    {
        return format!("{from} answers HTTP/2, but is not a Soloist");
    }
    match status.code() {
        Code::Unimplemented => format!("{from} is a gRPC server, but not a Soloist"),
        code => format!("{from} refused the backup: {} ({code:?})", status.message()),
    }
}

/// The error about a backup that ended in the middle.
fn broken_off(from: &str, status: &Status) -> String {
    match status.source() {
        Some(source) => {
            let cause = root_cause(source);
            format!(
                "the connection to {from} broke during the backup: {cause}; make the backup again"
            )
        }
        None => format!(
            "{from} broke the backup off: {} ({:?}); make it again",
            status.message(),
            status.code()
        ),
    }
}

/// The innermost error: those around it say only that something failed.
fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let cases = [
            ("127.0.0.1:50051", Ok("127.0.0.1:50051")),
            ("http://localhost:50051/", Ok("localhost:50051")),
            ("[::1]:50051", Ok("[::1]:50051")),
            ("example.org", Err("the port")),
            (":50051", Err("the host")),
            ("", Err("not an address")),
            ("::1:50051", Err("in brackets")),
            ("https://example.org:443", Ok("https://example.org:443")),
            ("unix:/run/socket", Ok("unix:/run/socket")),
            ("ftp://example.org:21", Err("the port")),
            ("example.org:50051/state", Err("behind the port")),
        ];
        for (text, expected) in cases {
            match (address(text), expected) {
                (Ok(address), Ok(expected)) => assert_eq!(address, expected),
                (Err(error), Err(part)) => assert!(error.contains(part), "{text}: {error}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
    }
}
