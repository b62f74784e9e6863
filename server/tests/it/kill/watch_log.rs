//! What a watch of all keys is told, across all restarts.

use std::collections::{BTreeMap, HashMap};

use soloist::v1::event::Cause;
use soloist::v1::{self, WatchResponse};
use soloist_verify::{Entry, Watch, WatchUpdate};
use tonic::Streaming;
use tonic_types::StatusExt as _;

use super::Checked;
use super::call::Clock;
use super::epoch::FinalRead;
use super::keys::{LIFETIMES_PREFIX, entry, keys};

/// What the watch was told.
pub(super) struct WatchLog {
    clock: Clock,
    /// The places of the keys by their names.
    key_numbers: HashMap<String, u32>,
    /// Every change up to this revision was told.
    pub(super) revision: i64,
    /// The keys as they are by what was told.
    pub(super) entries: BTreeMap<String, Entry>,
    /// The revision at the last `take`, and the updates since.
    after: i64,
    updates: Vec<(u64, WatchUpdate)>,
}

impl WatchLog {
    pub(super) fn new(clock: Clock) -> Self {
        Self {
            clock,
            key_numbers: keys().zip(0..).collect(),
            revision: 0,
            entries: BTreeMap::new(),
            after: 0,
            updates: Vec::new(),
        }
    }

    /// A watch of a store that is already there.
    pub(super) fn at(clock: Clock, revision: i64, reads: &[FinalRead]) -> Self {
        let entry = |it: &FinalRead| Some((it.key.clone(), it.read.entry?));
        Self {
            revision,
            after: revision,
            entries: reads.iter().filter_map(entry).collect(),
            ..Self::new(clock)
        }
    }

    /// Adds every message of the watch, until the server is gone.
    pub(super) async fn until_broken(
        mut self,
        mut watch: Streaming<WatchResponse>,
    ) -> Checked<Self> {
        loop {
            match watch.message().await {
                Ok(Some(message)) => self.add(message)?,
                Ok(None) => return Ok(self),
                Err(status) if status.get_details_error_info().is_none() => return Ok(self),
                Err(status) => return Err(format!("the server ended the watch: {status:?}")),
            }
        }
    }

    /// Adds a message. Whether its events are right and in order is left to the check of the history.
    pub(super) fn add(&mut self, message: WatchResponse) -> Checked<()> {
        let now = self.clock.now();
        for event in message.events {
            let is_judged = |it: &v1::Entry| !it.key.starts_with(LIFETIMES_PREFIX);
            if event.entry.as_ref().is_none_or(is_judged) {
                let update = self.event(event)?;
                self.updates.push((now, update));
            }
        }
        let revision = message.revision;
        self.updates.push((now, WatchUpdate::Progress { revision }));
        self.revision = revision;
        Ok(())
    }

    fn event(&mut self, event: v1::Event) -> Checked<WatchUpdate> {
        let cause = event.cause();
        let told = event.entry.ok_or("an event without an entry")?;
        let (name, revision) = (told.key.clone(), told.revision);
        let entry = match (cause, entry(Some(told))) {
            (Cause::Written | Cause::Transitioned, Ok(entry)) => entry,
            (Cause::Deleted, _) => None,
            (_, entry) => {
                return Err(format!(
                    "key {name:?}: the watch was told {cause:?}, {entry:?}"
                ));
            }
        };
        let key = *(self.key_numbers.get(&name))
            .ok_or_else(|| format!("the watch was told of {name:?}, which no client uses"))?;
        match entry {
            Some(entry) => self.entries.insert(name, entry),
            None => self.entries.remove(&name),
        };
        Ok(WatchUpdate::Event {
            key,
            revision,
            entry,
        })
    }

    /// Takes what was told since the last time.
    pub(super) fn take(&mut self) -> Watch {
        let after = std::mem::replace(&mut self.after, self.revision);
        Watch {
            keys: (0..).take(self.key_numbers.len()).collect(),
            after,
            updates: std::mem::take(&mut self.updates),
        }
    }
}
