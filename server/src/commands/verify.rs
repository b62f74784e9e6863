//! `verify`.

use std::error::Error;
use std::io::Write;
use std::path::Path;

use super::{Damaged, Unfinished, finishable, hex, limits};
use crate::journal::inspect;
use crate::progress::Progress;

pub(super) fn verify(
    data_dir: &Path,
    progress: &Progress,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let verified = inspect::verify(data_dir, &limits(), progress);
    progress.end();
    let summary = verified.map_err(finishable)?;
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
    for (start, _) in &summary.replays {
        writeln!(out, "replayed    from {start}")?;
    }
    writeln!(out, "digest      {}", hex(&summary.contents_digest))?;
    if let Some(what) = summary.harmless_damage {
        return Err(Damaged(format!(
            "{what}; no data is lost: the same data is in other files"
        ))
        .into());
    }
    if let Some(name) = summary.unfinished_snapshot {
        return Err(Unfinished(format!(
            "{name} is unfinished: the server ended while it made this snapshot; nothing is damaged, and the next start removes it"
        ))
        .into());
    }
    writeln!(out, "undamaged")?;
    Ok(())
}
