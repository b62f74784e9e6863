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
    let field = |name| Path::ROOT.field(name);
    let target = match target {
        None => {
            return Err(field("target").bad(
                Reason::BadWatch,
                "is missing: set key, or prefix, which may be empty for every key",
            ));
        }
        Some(Target::Key(name)) => WatchTarget::Key(key(&field("key"), name, limits)?),
        Some(Target::Prefix(prefix)) => {
            check_prefix(&field("prefix"), Reason::BadWatch, &prefix, limits)?;
            WatchTarget::Prefix(prefix)
        }
    };
    let from = match (after_revision, initial) {
        (Some(_), true) => {
            return Err(field("initial").bad(
                Reason::BadWatch,
                "must not be set together with after_revision",
            ));
        }
        (Some(revision), false) if revision < 0 => {
            return Err(field("after_revision").out_of_range(
                Reason::BadWatch,
                "0 or more",
                revision,
            ));
        }
        (Some(revision), false) => WatchFrom::After(revision),
        (None, true) => WatchFrom::Initial,
        (None, false) => WatchFrom::Now,
    };
    let progress = match progress_interval {
        None => None,
        interval => {
            let path = field("progress_interval");
            Some(duration_in(
                &path,
                Reason::BadWatch,
                interval,
                &PROGRESS_RANGE,
            )?)
        }
    };
    Ok(WatchArguments {
        target,
        from,
        shows: match previous {
            true => WatchShows::BeforeAndAfter,
            false => WatchShows::After,
        },
        progress,
        store_id: Some(store_id).filter(|id| !id.is_empty()),
    })
}
