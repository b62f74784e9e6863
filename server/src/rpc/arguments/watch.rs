//! Checks the arguments of a Watch.

use std::time::Duration;

use soloist::v1;
use soloist::v1::error::Reason;
use soloist::v1::watch_request::Target;

use super::duration::duration_in;
use super::names::{check_prefix, key};
use super::path::{BadArgument, Path};
use crate::config::{Limits, PROGRESS_RANGE};
use crate::machine::{WatchFrom, WatchShows, WatchTarget};

/// The checked arguments of a Watch.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct WatchArguments {
    pub(crate) target: WatchTarget,
    pub(crate) from: WatchFrom,
    pub(crate) shows: WatchShows,
    /// How long the watch may be silent, if the client wants progress to be reported.
    pub(crate) progress: Option<Duration>,
    /// The store that the client expects, if it says so.
    pub(crate) store_id: Option<String>,
}

/// Checks the arguments of a Watch.
pub(crate) fn watch(
    request: v1::WatchRequest,
    limits: &Limits,
) -> Result<WatchArguments, BadArgument> {
    let v1::WatchRequest {
        target,
        after_revision,
        initial,
        progress_interval,
        store_id,
        previous,
    } = request;
    let progress_path = Path::ROOT.field("progress_interval");
    Ok(WatchArguments {
        target: checked_target(target, limits)?,
        from: checked_from(after_revision, initial)?,
        shows: match previous {
            true => WatchShows::BeforeAndAfter,
            false => WatchShows::After,
        },
        progress: match progress_interval {
            None => None,
            interval => Some(duration_in(
                &progress_path,
                Reason::BadWatch,
                interval,
                &PROGRESS_RANGE,
            )?),
        },
        store_id: Some(store_id).filter(|id| !id.is_empty()),
    })
}

fn checked_target(target: Option<Target>, limits: &Limits) -> Result<WatchTarget, BadArgument> {
    match target {
        None => Err(Path::ROOT.field("target").bad(
            Reason::BadWatch,
            "is missing: set key, or prefix, which may be empty for every key",
        )),
        Some(Target::Key(name)) => {
            let key = key(&Path::ROOT.field("key"), name, limits)?;
            Ok(WatchTarget::Key(key))
        }
        Some(Target::Prefix(prefix)) => {
            let path = Path::ROOT.field("prefix");
            check_prefix(&path, Reason::BadWatch, &prefix, limits)?;
            Ok(WatchTarget::Prefix(prefix))
        }
    }
}

/// Checks from where a watch is to begin. Without a word in the request it begins now.
fn checked_from(after_revision: Option<i64>, initial: bool) -> Result<WatchFrom, BadArgument> {
    match (after_revision, initial) {
        (Some(_), true) => Err(Path::ROOT.field("initial").bad(
            Reason::BadWatch,
            "must not be set together with after_revision",
        )),
        (Some(revision), false) if revision < 0 => {
            let path = Path::ROOT.field("after_revision");
            Err(path.out_of_range(Reason::BadWatch, "0 or more", revision))
        }
        (Some(revision), false) => Ok(WatchFrom::After(revision)),
        (None, true) => Ok(WatchFrom::Initial),
        (None, false) => Ok(WatchFrom::Now),
    }
}
