//! Asks etcd again and again, until it answers.

use std::time::Duration;

use soloist_etcd::{Error, ErrorKind, Etcd, Get, RangeAnswer, Txn, TxnAnswer};
use tokio::time::{Instant, sleep};
use tracing::{debug, warn};

use crate::journal::error::OpenError;

/// How long to wait before etcd is asked again. The client goes on to the next endpoint meanwhile.
const PAUSE: Duration = Duration::from_millis(50);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_millis(800);

/// How long etcd may be silent before that is told.
const SILENCE_TOLD: Duration = Duration::from_secs(3);

/// Pauses between tries, each twice as long as the one before.
#[derive(Debug)]
pub(super) struct Trying {
    what: &'static str,
    pause: Duration,
    began: Instant,
    /// Whether the operator was told.
    is_told: bool,
}

impl Trying {
    /// Begins to try `what`, which completes "cannot ...".
    pub(super) fn to(what: &'static str) -> Self {
        Self {
            what,
            pause: PAUSE,
            began: Instant::now(),
            is_told: false,
        }
    }

    /// Waits before the next try.
    ///
    /// # Errors
    /// If it is in vain.
    pub(super) async fn after(&mut self, error: Error) -> Result<(), OpenError> {
        let what = self.what;
        if error.kind.is_lasting() {
            return Err(OpenError::Etcd {
                what: format!("cannot {what}: {error}"),
            });
        }
        let is_silent = error.kind == ErrorKind::Unavailable;
        if self.is_told || is_silent && self.began.elapsed() < SILENCE_TOLD {
            debug!(%error, "cannot {what}, trying again");
        } else {
            warn!("cannot {what}, trying again: {error}");
            self.is_told = true;
        }
        sleep(self.pause).await;
        self.pause = (2 * self.pause).min(PAUSE_MAX);
        Ok(())
    }
}

/// Reads until etcd answers. `what` completes "cannot ...".
///
/// # Errors
/// If it is in vain to try again.
pub(super) async fn get(
    etcd: &Etcd,
    what: &'static str,
    get: &Get,
) -> Result<RangeAnswer, OpenError> {
    let mut trying = Trying::to(what);
    loop {
        match etcd.get(get).await {
            Ok(answer) => return Ok(answer),
            Err(error) => trying.after(error).await?,
        }
    }
}

/// Makes a transaction until etcd answers: one that may be made twice. `what` completes "cannot ...".
///
/// # Errors
/// If it is in vain to try again.
pub(super) async fn transact(
    etcd: &Etcd,
    what: &'static str,
    txn: &Txn,
) -> Result<TxnAnswer, OpenError> {
    let mut trying = Trying::to(what);
    loop {
        match etcd.txn(txn).await {
            Ok(answer) => return Ok(answer),
            Err(error) => trying.after(error).await?,
        }
    }
}
