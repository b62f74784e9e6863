//! A place in a queue of clients: what locks and elections are made of.
//!
//! Each client that waits has a key of its own below a name, and a session of its own. The server gives each key a
//! create_revision, which grows and is never given twice: the keys stand in its order, and whoever has the lowest has its turn.
//! Every other client watches the key before its own, and no other, so a turn that ends wakes one client. Sources: the recipe for
//! locks in the documentation of ZooKeeper, and the package `concurrency` of etcd's client.

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

    /// Waits until nobody is before this place.
    pub(crate) async fn turn(&self) -> Result<(), Error> {
        let Some(keep_alive) = &self.keep_alive else {
            return Err(left());
        };
        let waiting = async {
            while let Some((key, revision)) = self.before().await? {
                until_gone(&self.connection, key, revision).await?;
            }
            Ok(())
        };
        tokio::select! {
            turn = waiting => turn,
            lost = keep_alive.lost() => Err(lost),
        }
    }

    /// The key of the place before this one, and the revision at which it was there.
    async fn before(&self) -> Result<Option<(String, i64)>, Error> {
        let mut before: Option<(ListedEntry, i64)> = None;
        let mut is_here = false;
        for (listed, revision) in places(&self.connection, &self.name, true).await? {
            let place = listed.entry.create_revision;
            is_here |= listed.key == self.key && place == self.create_revision;
            let is_nearer = before
                .as_ref()
                .is_none_or(|(nearest, _)| place > nearest.entry.create_revision);
            if place < self.create_revision && is_nearer {
                before = Some((listed, revision));
            }
        }
        match is_here {
            true => Ok(before.map(|(listed, revision)| (listed.key, revision))),
            false => Err(Error::new(
                Code::NotFound,
                format!(
                    "the key {:?} was deleted: the place in the queue is lost",
                    self.key
                ),
                Outcome::NotApplied,
            )),
        }
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

/// Waits until a key that was there at this revision is deleted.
async fn until_gone(connection: &Connection, key: String, revision: i64) -> Result<(), Error> {
    let watching = async {
        let call = WatchCall::key(connection, key).after_revision(revision);
        let mut watch = call.resume(Retry::default()).await?;
        while let Some(message) = watch.next().await? {
            if message.events.iter().any(|event| event.entry.is_none()) {
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
