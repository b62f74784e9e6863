//! Restores a backup to a data directory.

use std::path::Path;

use super::create::{create, make_room};
use super::directory::{Directory, IfMissing};
use crate::config::REVISIONS_SKIPPED_UNSYNCED;
use crate::journal::backup::{self, Backup};
use crate::journal::error::OpenError;
use crate::journal::stored;
use crate::machine::{Revision, StoreLimits, Time};
use crate::progress::Progress;

/// Restores a backup, in steps of `progress`, to a directory without a store, or with a restore that did not end. The
/// restored store gets the id `store_id`, and its revisions continue far after those of the backup, so that no revision is
/// assigned twice. Returns what was restored, and the revision from which the store continues.
///
/// # Errors
/// Those of [`backup::check`]; [`OpenError::StoreExists`] if the directory contains a store; others if it cannot be used.
pub(crate) fn restore(
    path: &Path,
    data_dir: &Path,
    limits: &StoreLimits,
    now: Time,
    store_id: &str,
    progress: &Progress,
) -> Result<(Backup, Revision), OpenError> {
    // Read all of the backup first: a bad backup must leave the directory as it is.
    let mut restored = backup::read(path, limits, progress)?;
    let directory = Directory::acquire(data_dir, IfMissing::Create)?;
    if !make_room(&directory)? {
        return Err(OpenError::StoreExists {
            path: data_dir.into(),
        });
    }
    let backup = Backup::of(&mut restored, progress);
    let revision = backup.revision + REVISIONS_SKIPPED_UNSYNCED;
    let machine = &mut restored.machine;
    machine.restore_revision_floor(revision);
    let time = stored::from_nanos(restored.header.time).max(now);
    create(&directory, machine, time, store_id, progress)?;
    Ok((backup, revision))
}
