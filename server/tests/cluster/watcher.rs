//! A watch of every key that goes on at another node whenever it breaks.

use soloist::v1::event::Cause;
use soloist::v1::state_client::StateClient;
use soloist::v1::{WatchRequest, WatchResponse, watch_request};
use soloist_verify::{Watch, WatchUpdate};
use tokio::sync::watch;
use tonic::Status;

use crate::clients::{Clock, Keys, Nodes, entry, failure};

pub(crate) struct Watcher {
    clock: Clock,
    nodes: Nodes,
    keys: Keys,
    told: Watch,
    /// How often it had to begin again.
    breaks: usize,
}

impl Watcher {
    pub(crate) fn new(clock: Clock, nodes: Nodes, keys: Keys) -> Self {
        Self {
            clock,
            nodes,
            keys,
            told: Watch {
                keys: Vec::new(),
                after: 0,
                updates: Vec::new(),
            },
            breaks: 0,
        }
    }

    /// Watches until it was told of everything up to the revision that `until` says at last. Returns what it was told, still without
    /// the keys that it watched, and how often it had to begin again.
    pub(crate) async fn work(
        mut self,
        until: watch::Receiver<Option<i64>>,
    ) -> Result<(Watch, usize), String> {
        let (mut revision, mut known) = (0, until.clone());
        loop {
            let is_over =
                |until: Option<i64>, revision: i64| until.is_some_and(|it| revision >= it);
            let watched = tokio::select! {
                watched = self.until_broken(&mut revision, &until) => watched?,
                // What stands still is begun anew when the end is known.
                _ = known.changed() => continue,
            };
            if is_over(*until.borrow(), revision) {
                return Ok((self.told, self.breaks));
            }
            if let Some(status) = watched {
                failure(&status, false)?;
                self.breaks += 1;
                self.nodes.go_on(&status);
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        }
    }

    async fn until_broken(
        &mut self,
        revision: &mut i64,
        until: &watch::Receiver<Option<i64>>,
    ) -> Result<Option<Status>, String> {
        let request = WatchRequest {
            target: Some(watch_request::Target::Prefix(String::new())),
            after_revision: Some(*revision),
            ..WatchRequest::default()
        };
        let mut request = tonic::Request::new(request);
        request
            .metadata_mut()
            .insert("soloist-direct", "1".parse().unwrap());
        let mut state = StateClient::new(self.nodes.channel());
        let mut stream = match state.watch(request).await {
            Ok(stream) => stream.into_inner(),
            Err(status) => return Ok(Some(status)),
        };
        loop {
            match stream.message().await {
                Ok(Some(message)) => *revision = self.add(message)?,
                Ok(None) => return Ok(Some(Status::unavailable("the watch ended"))),
                Err(status) => return Ok(Some(status)),
            }
            if until.borrow().is_some_and(|until| *revision >= until) {
                return Ok(None);
            }
        }
    }

    fn add(&mut self, message: WatchResponse) -> Result<i64, String> {
        let now = self.clock.now();
        for event in message.events {
            let cause = event.cause();
            let told = event.entry.ok_or("an event without an entry")?;
            let Some(key) = self.keys.number(&told.key) else {
                continue;
            };
            let revision = told.revision;
            let entry = match cause {
                Cause::Written => entry(Some(told)),
                Cause::Deleted => None,
                _ => return Err(format!("the watch was told {cause:?} of {told:?}")),
            };
            let event = WatchUpdate::Event {
                key,
                revision,
                entry,
            };
            self.told.updates.push((now, event));
        }
        let revision = message.revision;
        self.told
            .updates
            .push((now, WatchUpdate::Progress { revision }));
        Ok(revision)
    }
}
