//! The client of a real etcd or of a simulated one, behind one type.

use std::time::Duration;

use crate::client::{self, Client};
#[cfg(feature = "sim")]
use crate::sim;
use crate::{
    Error, Get, KeyRange, Lease, Member, Options, RangeAnswer, Txn, TxnAnswer, WatchAnswer,
};

/// A client of etcd. Cheap to clone; clones share their connections.
///
/// A future that is dropped leaves unknown whether its request is applied.
#[derive(Clone, Debug)]
pub struct Etcd(Inner);

#[derive(Clone, Debug)]
enum Inner {
    Real(Client),
    #[cfg(feature = "sim")]
    Sim(sim::Client),
}

/// Calls the same method of whichever it is.
macro_rules! either {
    ($inner:expr, $client:ident => $call:expr) => {
        match $inner {
            Inner::Real($client) => $call,
            #[cfg(feature = "sim")]
            Inner::Sim($client) => $call,
        }
    };
}

impl Etcd {
    /// Makes a client. It connects when it is used, which must be in tokio's runtime.
    ///
    /// # Errors
    /// [`Refused`](crate::ErrorKind::Refused): an endpoint or a file cannot be used.
    pub fn connect(options: Options) -> Result<Self, Error> {
        Client::new(options).map(|client| Self(Inner::Real(client)))
    }

    /// The same client, which asks another member, too, when one does not answer a transaction, a read or a keep-alive for
    /// `patience`. The first answer counts. So a transaction can be made more than once, and what it finds may be its own work.
    #[must_use]
    pub fn hedging(&self, patience: Duration) -> Self {
        Self(match &self.0 {
            Inner::Real(client) => Inner::Real(client.hedging(patience)),
            // Its duplicates do the same.
            #[cfg(feature = "sim")]
            Inner::Sim(client) => Inner::Sim(client.clone()),
        })
    }

    #[cfg(feature = "sim")]
    pub(crate) fn simulated(client: sim::Client) -> Self {
        Self(Inner::Sim(client))
    }

    /// Makes one attempt at a transaction: of a client that hedges, at each of several members.
    ///
    /// # Errors
    /// After [`Unavailable`](crate::ErrorKind::Unavailable) it is unknown whether it was applied. Otherwise it was not.
    pub async fn txn(&self, txn: &Txn) -> Result<TxnAnswer, Error> {
        either!(&self.0, client => client.txn(txn).await)
    }

    /// Reads, linearizably.
    ///
    /// # Errors
    /// [`Compacted`](crate::ErrorKind::Compacted): the revision is too old.
    pub async fn get(&self, get: &Get) -> Result<RangeAnswer, Error> {
        either!(&self.0, client => client.get(get).await)
    }

    /// Makes a lease, of whole seconds.
    ///
    /// # Errors
    /// [`NoSpace`](crate::ErrorKind::NoSpace), too. After [`Unavailable`](crate::ErrorKind::Unavailable) there may be a lease that
    /// nobody knows, which ends by itself.
    pub async fn grant(&self, ttl: Duration) -> Result<Lease, Error> {
        either!(&self.0, client => client.grant(ttl).await)
    }

    /// Keeps a lease alive: its time begins anew. Returns the time.
    ///
    /// # Errors
    /// [`LeaseGone`](crate::ErrorKind::LeaseGone): it has ended.
    pub async fn keep_alive(&self, lease: i64) -> Result<Duration, Error> {
        either!(&self.0, client => client.keep_alive(lease).await)
    }

    /// Ends a lease, and the keys that were put with it.
    ///
    /// # Errors
    /// [`LeaseGone`](crate::ErrorKind::LeaseGone): it has ended.
    pub async fn revoke(&self, lease: i64) -> Result<(), Error> {
        either!(&self.0, client => client.revoke(lease).await)
    }

    /// Watches keys: all changes from a revision on, that one included. 0 for whatever comes from now on.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub async fn watch(&self, range: KeyRange, from_revision: i64) -> Result<Watch, Error> {
        match &self.0 {
            Inner::Real(client) => {
                let watch = client.watch(range, from_revision).await?;
                Ok(Watch(InnerWatch::Real(Box::new(watch))))
            }
            #[cfg(feature = "sim")]
            Inner::Sim(client) => {
                let watch = client.watch(range, from_revision).await?;
                Ok(Watch(InnerWatch::Sim(watch)))
            }
        }
    }

    /// Forgets what was before a revision, except what is still so at that revision.
    ///
    /// # Errors
    /// [`Compacted`](crate::ErrorKind::Compacted): that was done already.
    pub async fn compact(&self, revision: i64) -> Result<(), Error> {
        either!(&self.0, client => client.compact(revision).await)
    }

    /// Asks every member how it is. The names are the endpoints.
    pub async fn members(&self) -> Vec<(String, Result<Member, Error>)> {
        either!(&self.0, client => client.members().await)
    }
}

/// A watch that was begun.
#[derive(Debug)]
pub struct Watch(InnerWatch);

#[derive(Debug)]
enum InnerWatch {
    Real(Box<client::Watch>),
    #[cfg(feature = "sim")]
    Sim(sim::Watch),
}

impl Watch {
    /// Whether another member is asked by now, because this one was silent. What it shows may be late.
    #[must_use]
    pub fn is_left(&self) -> bool {
        match &self.0 {
            InnerWatch::Real(watch) => watch.is_left(),
            #[cfg(feature = "sim")]
            InnerWatch::Sim(_) => false,
        }
    }

    /// Waits for the next changes. Revisions are whole and in order. If it is dropped nothing is lost.
    ///
    /// # Errors
    /// After any error the watch has ended. [`Compacted`](crate::ErrorKind::Compacted): the revision that it began at is too old.
    /// [`Unavailable`](crate::ErrorKind::Unavailable): the member is gone, or has lost its leader: another watch can go on after
    /// the last revision that was seen.
    pub async fn next(&mut self) -> Result<WatchAnswer, Error> {
        match &mut self.0 {
            InnerWatch::Real(watch) => watch.next().await,
            #[cfg(feature = "sim")]
            InnerWatch::Sim(watch) => watch.next().await,
        }
    }
}
