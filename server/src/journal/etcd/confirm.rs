//! Finds out whether this process still owns the store.

use std::convert::Infallible;

use soloist_etcd::{Get, Txn};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::owned::{Owned, Stop, WhenFull};
use crate::journal::interface::Event;
use crate::mutants::mutant;

/// Answers requests for a confirmation, one after another.
pub(super) async fn run(
    owned: &Owned,
    mut requests: mpsc::Receiver<()>,
) -> Result<Infallible, Stop> {
    while let Some(()) = requests.recv().await {
        let began = Instant::now();
        confirm(owned).await?;
        owned.cells.confirms.add(began.elapsed());
        owned.send(Event::Confirmed).await;
    }
    // The other queue says how it ends.
    std::future::pending().await
}

/// Confirms that this process owned the store at some moment after the call.
///
/// This is a read, which is linearizable: etcd makes sure that its leader still leads. A transaction that reads nothing and
/// changes nothing would be answered by one member alone, which may be cut off from all others.
async fn confirm(owned: &Owned) -> Result<(), Stop> {
    let what = "ask who owns the store";
    if mutant("empty-confirmation") {
        let txn = Txn {
            when: vec![owned.fence()],
            ..Txn::default()
        };
        let answer = owned.txn(&txn, WhenFull::Wait).await;
        return match answer.map_err(|error| error.fatal(what))?.succeeded {
            true => Ok(()),
            false => Err(owned.deposed(None)),
        };
    }
    let get = Get {
        keys_only: true,
        ..Get::one(owned.keys.owner())
    };
    let answer = owned.get(&get);
    let answer = answer.await.map_err(|error| error.fatal(what))?;
    match answer.kvs.first() {
        Some(owner) if owner.mod_revision == owned.epoch => Ok(()),
        Some(_) => {
            // Who it is, for the log.
            let owner = owned.etcd.get(&Get::one(owned.keys.owner())).await.ok();
            Err(owned.deposed(owner.as_ref().and_then(|owner| owner.kvs.first())))
        }
        None => Err(owned.deposed(None)),
    }
}
