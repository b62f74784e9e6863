//! `info`, `health`, `backup`.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use soloist::v1;
use soloist_client::{Error, Outcome};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::command_line::BackupArgs;
use crate::command_line::connection::Form;
use crate::connect::Target;
use crate::failure::{Failure, UNAVAILABLE};
use crate::output::{Out, json, text};

pub(super) async fn info(target: &Target, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    let info = client.info().await?;
    out.message(
        "Info",
        &info,
        |style| {
            let rows = rows(&info);
            text::table(&rows, |column, cell| match column {
                0 => style.dim(cell),
                _ => cell.to_owned(),
            })
        },
        || info.revision.to_string(),
    )?;
    Ok(0)
}

fn rows(info: &v1::Info) -> Vec<Vec<String>> {
    let limits = info.limits.unwrap_or_default();
    let durability = match info.durability.as_str() {
        "" => "in memory only",
        durability => durability,
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    vec![
        row("version", info.version.clone()),
        row("store", info.store_id.clone()),
        row("revision", grouped(info.revision)),
        row("oldest revision", grouped(info.oldest_revision)),
        row("keys", grouped(info.key_count)),
        row(
            "used",
            format!(
                "{} of {}",
                bytes(info.used_bytes),
                bytes(limits.max_store_bytes)
            ),
        ),
        row("sessions", grouped(info.session_count)),
        row("machines", grouped(info.machine_count)),
        row("watches", grouped(info.watch_count)),
        row("request ids", grouped(info.request_id_count)),
        row("durability", durability.to_owned()),
        row("after a crash", info.loss_window.clone()),
        row("cpu time", text::wire_duration(info.cpu_time.as_ref())),
        row("panics", grouped(info.panic_count)),
    ]
}

/// A number with commas between thousands.
pub(super) fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut grouped = String::from(if number < 0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number of bytes with a unit.
pub(super) fn bytes(count: i64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KiB", "MiB", "GiB"] {
        if size < 1024.0 {
            return match unit {
                "B" => format!("{size} B"),
                unit => format!("{size:.1} {unit}"),
            };
        }
        size /= 1024.0;
    }
    format!("{size:.1} TiB")
}

pub(super) async fn health(target: &Target, out: &Out) -> Result<i32, Failure> {
    let client = target.connect().await?;
    let mut health = HealthClient::new(client.transport());
    let asking = health.check(HealthCheckRequest::default());
    let response: HealthCheckResponse = tokio::time::timeout(target.timeout, asking)
        .await
        .map_err(|_| silent(target, "did not answer"))?
        .map_err(|status| Error::from_status(&status, Outcome::NotApplied))?
        .into_inner();
    let name = response.status().as_str_name();
    let is_serving = response.status() == ServingStatus::Serving;
    match out.form {
        Form::Json => out.line(&json::pretty(
            "grpc.health.v1.HealthCheckResponse",
            &response,
        )?)?,
        Form::Text if is_serving => out.line(&out.style.good(name))?,
        Form::Text => out.line(&out.style.bad(name))?,
        Form::Value => out.line(name)?,
    }
    Ok(match is_serving {
        true => 0,
        false => UNAVAILABLE,
    })
}

fn silent(target: &Target, what: &str) -> Failure {
    let timeout = humantime::format_duration(target.timeout);
    let why = format!(
        "{} {what} within {timeout}, as --timeout says",
        target.server
    );
    Failure::Other(why, UNAVAILABLE)
}

pub(super) async fn backup(target: &Target, args: &BackupArgs, out: &Out) -> Result<i32, Failure> {
    let to = &args.file;
    if fs::symlink_metadata(to).is_ok() {
        let why = format!("cannot create {}: the file exists", to.display());
        return Err(Failure::Arguments(why));
    }
    let client = target.connect().await?;
    let (partial, file) = create_partial(to)?;
    let fetched = fetch(target, client, file).await;
    let done = fetched.and_then(|last| {
        rename(&partial, to)?;
        Ok(last)
    });
    let last = done.inspect_err(|_| drop(fs::remove_file(&partial)))?;
    let digest: String = last
        .digest
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    out.message(
        "BackupResponse",
        &last,
        |style| {
            let about = style.dim(format!("revision {}, digest {digest}", last.revision));
            format!(
                "{}: {} keys\n{about}",
                to.display(),
                grouped(last.key_count)
            )
        },
        || digest.clone(),
    )?;
    Ok(0)
}

/// Receives the copy, and returns its last message without its bytes.
async fn fetch(
    target: &Target,
    client: soloist_client::Client,
    mut file: File,
) -> Result<v1::BackupResponse, Failure> {
    let call_failed = |status: &tonic::Status| Error::from_status(status, Outcome::NotApplied);
    let mut admin = client.admin_client().max_decoding_message_size(usize::MAX);
    let begun = tokio::time::timeout(target.timeout, admin.backup(v1::BackupRequest {})).await;
    let begun = begun.map_err(|_| silent(target, "did not begin the backup"))?;
    let mut chunks = begun.map_err(|status| call_failed(&status))?.into_inner();
    let mut last = None;
    loop {
        let next = tokio::time::timeout(target.timeout, chunks.message()).await;
        let next = next.map_err(|_| silent(target, "sent nothing more of the backup"))?;
        let Some(mut chunk) = next.map_err(|status| call_failed(&status))? else {
            break;
        };
        let bytes = std::mem::take(&mut chunk.chunk);
        file.write_all(&bytes)
            .map_err(|error| not_written(&error))?;
        last = Some(chunk);
    }
    // Only the last message has it: without it the copy is not whole.
    let last = last.filter(|last| !last.digest.is_empty()).ok_or_else(|| {
        let why = format!("{} ended the backup before its end", target.server);
        Failure::Other(why, UNAVAILABLE)
    })?;
    file.sync_all().map_err(|error| not_written(&error))?;
    Ok(last)
}

fn not_written(error: &std::io::Error) -> Failure {
    Failure::other(format!("cannot write the backup: {error}"))
}

/// Creates the file that gets its name when it is whole: an incomplete one must not be taken for a backup.
fn create_partial(to: &Path) -> Result<(PathBuf, File), Failure> {
    let mut random = [0; 8];
    let filled = getrandom::fill(&mut random);
    filled.map_err(|error| Failure::other(format!("no random number: {error}")))?;
    let mut partial = to.as_os_str().to_owned();
    partial.push(format!(".partial-{:016x}", u64::from_ne_bytes(random)));
    let partial = PathBuf::from(partial);
    // Only its owner may read it: a backup holds everything that the store holds.
    let created = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&partial);
    let created = created
        .map_err(|error| Failure::other(format!("cannot create {}: {error}", partial.display())))?;
    Ok((partial, created))
}

fn rename(partial: &Path, to: &Path) -> Result<(), Failure> {
    let parent = match to.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    // A hard link never replaces a file that has come meanwhile.
    let renamed = fs::hard_link(partial, to)
        .and_then(|()| fs::remove_file(partial))
        .and_then(|()| File::open(parent)?.sync_all());
    renamed.map_err(|error| Failure::other(format!("cannot create {}: {error}", to.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-12_345_678, "-12,345,678"),
        ] {
            assert_eq!(grouped(number), text);
        }
        for (count, text) in [
            (0, "0 B"),
            (1_023, "1023 B"),
            (1_536, "1.5 KiB"),
            (1 << 30, "1.0 GiB"),
        ] {
            assert_eq!(bytes(count), text);
        }
    }
}
