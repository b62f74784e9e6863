//! A place in a queue of clients: what locks and elections are made of.
//!
//! Each client that waits has a key of its own below a name, and a session of its own. The server gives each key a
//! create_revision, which grows and is never given twice: the keys stand in its order, and whoever has the lowest has its turn.
//! Every other client watches the key before its own, and no other, so a turn that ends wakes one client. Sources: the recipe for
//! locks in the documentation of ZooKeeper, and the package `concurrency` of etcd's client.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use tokio::runtime::Handle;
use tonic::Code;

use crate::connection::Connection;
use crate::request::{List, Read, Write};
use crate::retry::request_id;
use crate::session::OpenSession;
use crate::{Call, Condition, Error, KeepAlive, ListedEntry, Outcome, Retry, Value, WatchCall};

/// How to stand in a queue.
#[derive(Clone, Debug)]
pub(crate) struct Entrance {
    pub(crate) name: String,
    pub(crate) value: Value,
    pub(crate) ttl: Duration,
    /// What the id of the session begins with.
    pub(crate) session_prefix: String,
}

/// A place in a queue. It is left when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    connection: Connection,
    name: String,
    key: String,
    create_revision: i64,
    /// None after the place was left.
    keep_alive: Option<KeepAlive>,
}

impl Place {
    /// Takes the last place.
    pub(crate) async fn enter(connection: &Connection, entrance: Entrance) -> Result<Self, Error> {
        if entrance.session_prefix.contains('/') {
            let why =
                "session_prefix must not have a slash: keys of a queue have none behind its name";
            return Err(Error::bad_argument(why).with("field", "session_prefix"));
        }
        let id = format!("{}{}", entrance.session_prefix, request_id());
        let open = OpenSession::new(entrance.ttl).id(&id);
        let session = Call::new(connection, open).retry(Retry::default()).await?;
        let keep_alive = Retry::default()
            .run(connection.timeout, true, |_| {
                KeepAlive::start(connection, &session)
            })
            .await?;
        let key = key_of(&entrance.name, &id);
        // From here on the session is closed if this future is dropped.
        let mut place = Self {
            connection: connection.clone(),
            name: entrance.name,
            key: key.clone(),
            create_revision: 0,
            keep_alive: Some(keep_alive),
        };
        let write = Write::new(key, entrance.value)
            .session(&session)
            .expect(Condition::Missing);
        let written = Call::new(connection, write).retry(Retry::default()).await?;
        place.create_revision = written.create_revision;
        Ok(place)
    }

    /// Waits until fewer places than this are before this one.
    pub(crate) async fn turn(&self, holders: NonZeroUsize) -> Result<(), Error> {
        let Some(keep_alive) = &self.keep_alive else {
            return Err(left());
        };
        let waiting = async {
            loop {
                let before = self.before().await?;
                match holders.get() {
                    holders if before.len() < holders => return Ok(()),
                    1 => until_gone(&self.connection, before).await?,
                    holders => until_fewer(&self.connection, &self.name, before, holders).await?,
                }
            }
        };
        tokio::select! {
            turn = waiting => turn,
            lost = keep_alive.lost() => Err(lost),
        }
    }

    /// The places before this one, each with a revision at which it was there.
    async fn before(&self) -> Result<Vec<(ListedEntry, i64)>, Error> {
        let mut places = places(&self.connection, &self.name, true).await?;
        let is_here = places.iter().any(|(listed, _)| {
            listed.key == self.key && listed.entry.create_revision == self.create_revision
        });
        if !is_here {
            return Err(Error::new(
                Code::NotFound,
                format!(
                    "the key {:?} was deleted: the place in the queue is lost",
                    self.key
                ),
                Outcome::NotApplied,
            ));
        }
        places.retain(|(listed, _)| listed.entry.create_revision < self.create_revision);
        Ok(places)
    }

    pub(crate) fn key(&self) -> &str {
        &self.key
    }

    pub(crate) fn create_revision(&self) -> i64 {
        self.create_revision
    }

    pub(crate) fn keep_alive(&self) -> Option<&KeepAlive> {
        self.keep_alive.as_ref()
    }

    pub(crate) async fn lost(&self) -> Error {
        match &self.keep_alive {
            Some(keep_alive) => keep_alive.lost().await,
            None => left(),
        }
    }

    /// Holds as long as this place exists.
    pub(crate) fn guard(&self) -> Read {
        Read::new(&self.key).expect(Condition::CreateRevision(self.create_revision))
    }

    /// Replaces the value.
    pub(crate) async fn write(&self, value: Value) -> Result<i64, Error> {
        let write = Write::new(&self.key, value)
            .keep_lifetime()
            .expect(Condition::CreateRevision(self.create_revision));
        let written = Call::new(&self.connection, write).retry(Retry::default());
        Ok(written.await?.revision)
    }

    /// Leaves the queue.
    pub(crate) async fn leave(mut self) -> Result<(), Error> {
        match self.keep_alive.take() {
            Some(keep_alive) => keep_alive.close().await.map(drop),
            None => Err(left()),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Without a runtime the session ends with its ttl.
        if let (Some(keep_alive), Ok(runtime)) = (self.keep_alive.take(), Handle::try_current()) {
            runtime.spawn(async move { drop(keep_alive.close().await) });
        }
    }
}

fn left() -> Error {
    Error::new(Code::NotFound, "the place was left", Outcome::NotApplied)
}

fn key_of(name: &str, id: &str) -> String {
    format!("{name}/{id}")
}

/// All places of a queue, in the order of their keys, each with a revision at which it was there. A place that was not there
/// when its page was made is not there later: so it does no harm that the pages are of different revisions.
pub(crate) async fn places(
    connection: &Connection,
    name: &str,
    keys_only: bool,
) -> Result<Vec<(ListedEntry, i64)>, Error> {
    let prefix = key_of(name, "");
    let mut places = Vec::new();
    let mut token = String::new();
    loop {
        // Without end: whoever waits is told of the loss of its session.
        let page = Retry::default()
            .run(Duration::MAX, true, |_| async {
                let list = List::new(&prefix).page_token(&token);
                let list = if keys_only { list.keys_only() } else { list };
                Call::new(connection, list).retry(None::<Retry>).await
            })
            .await?;
        let own = page
            .entries
            .into_iter()
            // A name may be the beginning of another.
            .filter(|listed| !listed.key[prefix.len()..].contains('/'));
        places.extend(own.map(|listed| (listed, page.revision)));
        match page.next_page_token {
            Some(next) => token = next,
            None => return Ok(places),
        }
    }
}

/// Waits until the last one of these places is left. It watches no other, so that a turn that ends wakes one client.
async fn until_gone(connection: &Connection, places: Vec<(ListedEntry, i64)>) -> Result<(), Error> {
    let last = places
        .into_iter()
        .max_by_key(|(listed, _)| listed.entry.create_revision);
    let Some((last, revision)) = last else {
        return Ok(());
    };
    let watch = WatchCall::key(connection, last.key).after_revision(revision);
    until_deleted(watch, |_| true).await
}

/// Waits until so many of these places are left that fewer remain. Whichever it is, all that wait are told.
async fn until_fewer(
    connection: &Connection,
    name: &str,
    places: Vec<(ListedEntry, i64)>,
    holders: usize,
) -> Result<(), Error> {
    let first = places.iter().map(|(_, revision)| *revision).min();
    let mut keys: HashSet<_> = places.into_iter().map(|(listed, _)| listed.key).collect();
    let watch = WatchCall::prefix(connection, key_of(name, ""));
    let watch = watch.after_revision(first.unwrap_or_default());
    until_deleted(watch, |key| {
        keys.remove(key);
        keys.len() < holders
    })
    .await
}

/// Follows a watch until a key is deleted that is enough.
async fn until_deleted(
    watch: WatchCall<'_>,
    mut is_enough: impl FnMut(&str) -> bool,
) -> Result<(), Error> {
    let watching = async {
        let mut watch = watch.resume(Retry::default()).await?;
        while let Some(message) = watch.next().await? {
            let mut deleted = message.events.iter().filter(|event| event.entry.is_none());
            if deleted.any(|event| is_enough(&event.key)) {
                break;
            }
        }
        Ok::<(), Error>(())
    };
    match watching.await {
        // The changes since then are not known any more: look again.
        Err(error) if error.code() == Code::OutOfRange || error.is_retryable() => Ok(()),
        outcome => outcome,
    }
}
