//! All that answers are made of: the state of the server, as this listener sees it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};

use super::cluster;
use crate::access::Access;
use crate::config::{
    HISTORY_INTERVAL, HISTORY_SAMPLES, KEYS_IN_STATE_SERIES_MAX, Limits, MailboxLimits,
    OWNER_ALIVE_WITHIN, OWNER_LOOK_INTERVAL, PAGE_MACHINES_MAX, SCRAPE_OWNER_TIMEOUT,
};
use crate::machine::MachineNow;
use crate::metrics::{History, KeysInState, LimitsShown, MailboxLevel, Metrics, Snapshot};
use crate::owner::{Heartbeat, WeakOwner};
use crate::progress::Progress;
use crate::role::NodeStatus;
use crate::transport::Tls;

/// The server, from its start to its end.
#[derive(Debug)]
pub(crate) struct Site {
    metrics: Arc<Metrics>,
    /// None if the server speaks no TLS.
    tls: Option<watch::Receiver<Arc<Tls>>>,
    /// True once the server drains.
    draining: watch::Receiver<bool>,
    /// Empty while the store is opened.
    serving: OnceLock<Serving>,
    /// How far the opening of the store is, if that is known.
    opening: OnceLock<Progress>,
    /// What the node is, if this is a node of a cluster.
    node: OnceLock<watch::Receiver<NodeStatus>>,
    begun: Instant,
    /// When the owner last took a message, in milliseconds since `begun`.
    owner_seen: AtomicU64,
    /// Two tasks of one thread use it.
    history: Mutex<History>,
    /// None if there is no access file.
    access: Option<watch::Receiver<Arc<Access>>>,
}

/// A server whose store is open.
#[derive(Debug)]
pub(crate) struct Serving {
    pub(crate) owner: WeakOwner,
    pub(crate) heartbeat: Heartbeat,
    pub(crate) limits: LimitsShown,
    pub(crate) about: About,
}

/// What the page says of a server that does not change.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) store_id: String,
    pub(crate) epoch: u64,
    /// None if the store is in memory only.
    pub(crate) durability: Option<String>,
    pub(crate) limits: Arc<Limits>,
    pub(crate) mailbox: MailboxLimits,
    pub(crate) connections_max: usize,
}

impl Site {
    pub(crate) fn new(
        metrics: Arc<Metrics>,
        tls: Option<watch::Receiver<Arc<Tls>>>,
        access: Option<watch::Receiver<Arc<Access>>>,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self {
            metrics,
            tls,
            draining,
            serving: OnceLock::new(),
            opening: OnceLock::new(),
            node: OnceLock::new(),
            begun: Instant::now(),
            owner_seen: AtomicU64::new(0),
            history: Mutex::new(History::new(HISTORY_SAMPLES)),
            access,
        }
    }

    /// Has probes show how far the opening of the store is.
    pub(crate) fn show_opening(&self, progress: Progress) {
        let _ = self.opening.set(progress);
    }

    /// Has probes show what the node is.
    pub(crate) fn show_node(&self, node: watch::Receiver<NodeStatus>) {
        let _ = self.node.set(node);
    }

    /// What the node is; none if this is none of a cluster.
    pub(super) fn node(&self) -> Option<NodeStatus> {
        self.node.get().map(|node| node.borrow().clone())
    }

    /// That the store is being opened, and how far that is.
    pub(super) fn recovering(&self) -> String {
        self.with_progress("recovering".into())
    }

    /// What the server is doing, and how far that is if it reads a store.
    pub(super) fn with_progress(&self, doing: String) -> String {
        match self.opening.get().and_then(Progress::look) {
            Some(look) => format!("{doing}: {look}"),
            None => doing,
        }
    }

    /// Notes that the server serves from now on.
    pub(crate) fn serve(&self, serving: Serving) {
        self.see_owner();
        let _ = self.serving.set(serving);
    }

    pub(super) fn has_started(&self) -> bool {
        self.serving.get().is_some()
    }

    pub(super) fn is_draining(&self) -> bool {
        // An error means that the server was dropped, which starts a shutdown too.
        *self.draining.borrow() || self.draining.has_changed().is_err()
    }

    /// How much space the disk has, by the owner's word.
    pub(super) fn disk(&self) -> u64 {
        self.metrics.owner().disk.get()
    }

    /// False if the owner has taken no message for long, though it was sent some. An owner that does not run yet, or that ends
    /// because the server drains, is none to be restarted.
    pub(super) fn is_owner_alive(&self) -> bool {
        let seen = Duration::from_millis(self.owner_seen.load(Ordering::Relaxed));
        !self.has_started()
            || self.is_draining()
            || self.begun.elapsed().saturating_sub(seen) < OWNER_ALIVE_WITHIN
    }

    pub(super) fn has_owner_ended(&self) -> bool {
        let serving = self.serving.get();
        serving.is_some_and(|serving| serving.owner.has_ended())
    }

    fn see_owner(&self) {
        let seen = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.owner_seen.store(seen, Ordering::Relaxed);
    }

    /// Sends the owner a message from time to time, for ever, and notes when it takes it.
    pub(super) async fn look_at_owner(&self) {
        loop {
            if let Some(serving) = self.serving.get()
                && serving.heartbeat.beat().await
            {
                self.see_owner();
            }
            sleep(OWNER_LOOK_INTERVAL).await;
        }
    }

    /// Takes a sample of what was counted each [`HISTORY_INTERVAL`], for ever. It reads counts, and wakes nobody.
    pub(super) async fn keep_history(&self) {
        let mut ticks = interval(HISTORY_INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let totals = self.metrics.totals();
            self.locked_history().add(std::time::Instant::now(), totals);
        }
    }

    /// What `look` makes of the last minutes.
    pub(super) fn history<T>(&self, look: impl FnOnce(&History) -> T) -> T {
        look(&self.locked_history())
    }

    fn locked_history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The access file; none if there is none.
    pub(super) fn access(&self) -> Option<&watch::Receiver<Arc<Access>>> {
        self.access.as_ref()
    }

    /// None while the store is opened.
    pub(super) fn about(&self) -> Option<&About> {
        self.serving.get().map(|serving| &serving.about)
    }

    /// The machines, with how their keys are spread over their states. None if the owner does not answer soon.
    pub(super) async fn machines_now(&self) -> Option<Vec<MachineNow>> {
        let owner = &self.serving.get()?.owner;
        let machines = owner.machines_now(PAGE_MACHINES_MAX);
        timeout(SCRAPE_OWNER_TIMEOUT, machines).await.ok()?
    }

    /// All sums at this moment, without what only the owner knows.
    pub(super) fn counts(&self) -> Snapshot {
        let mut snapshot = self.metrics.snapshot();
        if let Some(serving) = self.serving.get() {
            snapshot.limits = Some(serving.limits);
            let level = serving.owner.mailbox_level();
            snapshot.mailbox = level.map(|(messages, bytes)| MailboxLevel {
                messages: messages as u64,
                bytes: bytes as u64,
            });
        }
        let node = self.node();
        snapshot.cluster = node.map(|node| cluster::shown(&node, snapshot.journal.as_ref()));
        snapshot
    }

    /// All sums at this moment. The owner is asked for what it alone knows; if it does not answer soon, that is left out.
    pub(super) async fn snapshot(&self) -> Snapshot {
        let mut snapshot = self.counts();
        if let Some(serving) = self.serving.get() {
            let keys = serving.owner.keys_in_states(KEYS_IN_STATE_SERIES_MAX);
            let keys = timeout(SCRAPE_OWNER_TIMEOUT, keys).await;
            snapshot.keys_in_state = keys
                .unwrap_or_default()
                .into_iter()
                .map(|(machine, state, keys)| KeysInState {
                    machine: machine.as_str().into(),
                    state: state.as_str().into(),
                    keys: keys as u64,
                })
                .collect();
        }
        if let Some(tls) = &self.tls {
            snapshot.certificates = tls.borrow().certificates().to_vec();
        }
        snapshot
    }

    /// What connections of this listener use; none if the server speaks no TLS.
    pub(super) fn tls(&self) -> Option<Arc<Tls>> {
        self.tls.as_ref().map(|tls| Arc::clone(&tls.borrow()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::machine::{StateMachine, Time};
    use crate::metrics::Reloads;
    use crate::owner::{self, Clock, OwnerLimits};

    /// A site whose owner is a task of this thread, and takes messages only while the test waits.
    fn site() -> (Arc<Site>, owner::OwnerHandle, watch::Sender<bool>) {
        let limits = OwnerLimits {
            mailbox: crate::config::MailboxLimits::DEFAULT,
            answer_bytes: Limits::DEFAULT.max_answer_bytes,
            watches: 1,
        };
        let machine = StateMachine::new(Limits::DEFAULT.store_limits());
        let (owner, _task) = owner::spawn(machine, Clock::set(Time::MIN), limits);
        let (drain, draining) = watch::channel(false);
        let metrics = Arc::new(Metrics::new(1, Reloads::default()));
        (
            Arc::new(Site::new(metrics, None, None, draining)),
            owner,
            drain,
        )
    }

    fn serving(owner: &owner::OwnerHandle) -> Serving {
        Serving {
            owner: owner.downgrade(),
            heartbeat: owner.heartbeat(),
            limits: LimitsShown {
                store_bytes: 1,
                mailbox_messages: 1,
                min_free_bytes: None,
            },
            about: About {
                store_id: String::new(),
                epoch: 0,
                durability: None,
                limits: Arc::default(),
                mailbox: MailboxLimits::DEFAULT,
                connections_max: 1,
            },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_that_takes_messages_lives() {
        let (site, owner, _drain) = site();
        site.serve(serving(&owner));
        let looks = Arc::clone(&site);
        let looking = tokio::spawn(async move { looks.look_at_owner().await });
        for _ in 0..100 {
            assert!(site.is_owner_alive());
            sleep(OWNER_LOOK_INTERVAL).await;
        }
        looking.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn an_owner_that_takes_no_message_for_long_does_not_live() {
        let (site, owner, drain) = site();
        tokio::time::advance(10 * OWNER_ALIVE_WITHIN).await;
        assert!(site.is_owner_alive(), "a server that recovers lives");
        site.serve(serving(&owner));
        // Nobody looks, so nobody sees the owner.
        tokio::time::advance(OWNER_ALIVE_WITHIN - Duration::from_millis(1)).await;
        assert!(site.is_owner_alive());
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!site.is_owner_alive());
        drain.send_replace(true);
        assert!(
            site.is_owner_alive(),
            "a server that drains needs no restart"
        );
    }
}
