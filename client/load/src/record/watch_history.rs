//! The history of one watch.

use soloist::v1::WatchResponse;
use soloist_verify::{Watch, WatchUpdate};

use crate::record::checker_terms::entry_of_wire;
use crate::record::history::HistoryRecording;

/// Records what a watch is told, in the terms of the checker.
#[derive(Debug)]
pub(crate) struct WatchHistory {
    watched: Watch,
    recording: HistoryRecording,
}

impl WatchHistory {
    /// The watch must be told of every change after the revision before the run.
    pub(crate) fn new(recording: &HistoryRecording) -> Self {
        let setup = recording.setup();
        Self {
            watched: Watch {
                keys: setup.numbers.before_the_run(),
                after: setup.revision,
                updates: Vec::new(),
            },
            recording: recording.clone(),
        }
    }

    /// Records a message that came this many nanoseconds after the start of the run.
    pub(crate) fn take(&mut self, message: &WatchResponse, nanos: u64) {
        for event in &message.events {
            let Some(entry) = &event.entry else { continue };
            let Some(key) = self.recording.setup().numbers.of(&entry.key) else {
                continue;
            };
            let update = WatchUpdate::Event {
                key,
                revision: entry.revision,
                entry: entry_of_wire(entry),
            };
            self.watched.updates.push((nanos, update));
        }
        let update = WatchUpdate::Progress {
            revision: message.revision,
        };
        self.watched.updates.push((nanos, update));
    }

    /// Ends the watch, and leaves what it was told to the thread.
    pub(crate) fn end(self) {
        self.recording.push_watch(self.watched);
    }
}
