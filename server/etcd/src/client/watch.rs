//! A watch on a stream of its own.

use std::collections::VecDeque;
use std::fmt;
use std::future;
use std::time::Duration;

use futures_util::stream;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use super::wire::pb::watch_client::WatchClient;
use super::wire::pb::{WatchRequest, WatchResponse};
use super::{Client, login, wire};
use crate::{Error, ErrorKind, KeyRange, WatchAnswer, WatchEvent};

/// With this header a member ends the watch when it has lost its leader: otherwise it stays silent.
/// Source: api/v3rpc/rpctypes/metadatafields.go of etcd.
const REQUIRE_LEADER: &str = "hasleader";

/// How often a silent member is asked for a sign of life, as a part of the time within which it must give one. A member that
/// catches up with the beginning of the watch gives none, but then there are events.
const SIGNS_OF_LIFE: u32 = 4;

/// A stream that etcd has answered once, which says that the watch is made.
pub(super) struct Opened {
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
}

/// Opens a stream, and makes the watch.
pub(super) fn open(
    mut client: WatchClient<Channel>,
    range: &KeyRange,
    from: i64,
    token: login::Token,
) -> impl Future<Output = Result<Opened, Status>> + use<> {
    let create = wire::watch_request(range, from);
    async move {
        // One request is under way at most, besides the first.
        let (requests, mut receiver) = mpsc::channel(2);
        let first = stream::once(future::ready(create));
        let later = stream::poll_fn(move |cx| receiver.poll_recv(cx));
        let both = futures_util::StreamExt::chain(first, later);
        let mut request = login::with_token(both, token);
        let yes = tonic::metadata::MetadataValue::from_static("true");
        request.metadata_mut().insert(REQUIRE_LEADER, yes);
        let mut responses = client.watch(request).await?.into_inner();
        match responses.message().await? {
            // It says so in a text only.
            Some(first) if first.canceled && first.compact_revision == 0 => {
                Err(Status::unknown(first.cancel_reason))
            }
            Some(first) if first.canceled => Err(Status::out_of_range(COMPACTED)),
            Some(_) => Ok(Opened {
                requests,
                responses,
            }),
            None => Err(Status::unavailable(ENDED)),
        }
    }
}

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const ENDED: &str = "the stream of the watch has ended";

/// A watch of a real etcd.
pub(crate) struct Watch {
    client: Client,
    endpoint: usize,
    requests: mpsc::Sender<WatchRequest>,
    responses: Streaming<WatchResponse>,
    /// What came of revisions that may not be whole yet.
    pending: VecDeque<WatchEvent>,
    patience: Duration,
    /// Signs of life that were asked for since the last response.
    asked: u32,
    /// When the next is asked for.
    ask_at: Instant,
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}

impl Watch {
    pub(super) fn new(client: Client, opened: Opened, endpoint: usize, patience: Duration) -> Self {
        Self {
            client,
            endpoint,
            requests: opened.requests,
            responses: opened.responses,
            pending: VecDeque::new(),
            patience,
            asked: 0,
            ask_at: Instant::now() + patience / SIGNS_OF_LIFE,
        }
    }

    pub(crate) fn is_left(&self) -> bool {
        self.client.shared.endpoints.current().index() != self.endpoint
    }

    pub(crate) async fn next(&mut self) -> Result<WatchAnswer, Error> {
        let answer = self.wait().await;
        if let Err(error) = &answer
            && error.kind == ErrorKind::Unavailable
        {
            let endpoints = &self.client.shared.endpoints;
            endpoints.leave(endpoints.get(self.endpoint));
        }
        answer
    }

    async fn wait(&mut self) -> Result<WatchAnswer, Error> {
        loop {
            let response = self.response().await?;
            if response.canceled {
                let name = self.name();
                return Err(match response.compact_revision {
                    0 => Error::cancelled(&response.cancel_reason, name),
                    _ => Error::new(ErrorKind::Compacted, name, COMPACTED),
                });
            }
            let more_follows = response.fragment;
            let events = response.events.into_iter().map(wire::event);
            self.pending.extend(events);
            if let Some(answer) = whole_revisions(&mut self.pending, more_follows) {
                return Ok(answer);
            }
        }
    }

    /// The next response. A member that says nothing for long is asked whether it lives.
    async fn response(&mut self) -> Result<WatchResponse, Error> {
        loop {
            let message = tokio::select! {
                biased;
                message = self.responses.message() => Some(message),
                () = sleep_until(self.ask_at) => None,
            };
            match message {
                Some(Ok(Some(response))) => {
                    self.asked = 0;
                    self.ask_at = Instant::now() + self.patience / SIGNS_OF_LIFE;
                    return Ok(response);
                }
                Some(Ok(None)) => {
                    return Err(Error::new(ErrorKind::Unavailable, self.name(), ENDED));
                }
                Some(Err(status)) => return Err(Error::of(&status, self.name())),
                None if self.asked == SIGNS_OF_LIFE => {
                    let why = format!("no sign of life within {:?}", self.patience);
                    return Err(Error::new(ErrorKind::Unavailable, self.name(), why));
                }
                None => {
                    self.asked += 1;
                    self.ask_at = Instant::now() + self.patience / SIGNS_OF_LIFE;
                    // If there is no room etcd has not taken the last one.
                    let _ = self.requests.try_send(wire::progress_request());
                }
            }
        }
    }

    fn name(&self) -> &str {
        self.client.shared.endpoints.get(self.endpoint).name()
    }
}

/// Takes the events of all revisions that are whole. Of what comes in several responses the last revision may go on.
fn whole_revisions(pending: &mut VecDeque<WatchEvent>, more_follows: bool) -> Option<WatchAnswer> {
    let last = pending.back()?.revision();
    let whole = match more_follows {
        false => pending.len(),
        true => pending.partition_point(|event| event.revision() < last),
    };
    let events: Vec<_> = pending.drain(..whole).collect();
    Some(WatchAnswer {
        revision: events.last()?.revision(),
        events,
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn event(mod_revision: i64) -> WatchEvent {
        let key = Bytes::from_static(b"k");
        WatchEvent::Delete { key, mod_revision }
    }

    #[test]
    fn a_revision_in_two_responses_is_shown_once_it_is_whole() {
        let mut pending: VecDeque<_> = [event(4), event(5), event(5)].into();
        let first = whole_revisions(&mut pending, true).unwrap();
        assert_eq!((first.revision, first.events.len()), (4, 1));
        assert_eq!(whole_revisions(&mut pending, true), None);
        pending.extend([event(5), event(6)]);
        let second = whole_revisions(&mut pending, false).unwrap();
        assert_eq!((second.revision, second.events.len()), (6, 4));
        assert_eq!(whole_revisions(&mut pending, false), None);
    }
}
