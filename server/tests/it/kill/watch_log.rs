//! What a watch told, over all breaks.

use std::collections::BTreeMap;

use soloist::v1::WatchResponse;
use soloist::v1::event::Cause;
use tonic::Streaming;
use tonic_types::StatusExt as _;

use super::Checked;
use super::call::entry;
use crate::checker::Entry;

/// What the watch told.
#[derive(Default)]
pub(super) struct Watched {
    /// All revisions up to here.
    pub(super) after: i64,
    pub(super) entries: BTreeMap<String, Entry>,
    /// Revision, key, and the value or that it is gone: since they were checked last.
    pub(super) changes: Vec<(i64, String, Option<i64>)>,
}

impl Watched {
    /// Takes what comes, until the server is gone.
    pub(super) async fn until_broken(
        mut self,
        mut watch: Streaming<WatchResponse>,
    ) -> Checked<Self> {
        loop {
            match watch.message().await {
                Ok(Some(message)) => self.take(message)?,
                Ok(None) => return Ok(self),
                Err(status) if status.get_details_error_info().is_none() => return Ok(self),
                Err(status) => return Err(format!("the watch was ended: {status:?}")),
            }
        }
    }

    pub(super) fn take(&mut self, message: WatchResponse) -> Checked<()> {
        let mut last = self.after;
        for event in message.events {
            let cause = event.cause();
            let told = event.entry.ok_or("an event without an entry")?;
            let (key, revision) = (told.key.clone(), told.revision);
            // All of a revision come together: what was told of an earlier message's is over.
            if revision <= self.after || revision < last || revision > message.revision {
                return Err(format!(
                    "key {key:?}: the watch told revision {revision} after {last}, in a message up to {}",
                    message.revision
                ));
            }
            last = revision;
            let now = match (cause, entry(Some(told))) {
                (Cause::Written, Ok(now)) => now,
                (Cause::Deleted, _) => None,
                (_, now) => return Err(format!("key {key:?}: the watch told {cause:?}, {now:?}")),
            };
            match now {
                Some(now) => self.entries.insert(key.clone(), now),
                None => self.entries.remove(&key),
            };
            self.changes.push((revision, key, now.map(|now| now.value)));
        }
        if message.revision < self.after {
            return Err(format!(
                "the watch told revision {} after {}",
                message.revision, self.after
            ));
        }
        self.after = message.revision;
        Ok(())
    }
}
