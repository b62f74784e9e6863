//! What one connection may use, and what all of them together: memory, and room in the mailbox.
//!
//! **Memory.** One account for everything that a connection keeps in memory: answers that its client has not read, whether the
//! owner has just made them, they wait for their turn in a stream, or HTTP/2 waits to send them; and requests that have not
//! arrived whole. Answers also keep alive the values that they show, even values that the store has replaced since. Bytes
//! are given back when they are on the socket. A connection has a limit of its own, and the process has one for all of them.
//! A connection takes its part of the memory for all in *leases* of many calls, because a counter that every call of every
//! thread writes to costs more than the rest of the account.
//!
//! **Mailbox.** One connection can send more frames at once than the mailbox holds. If it could fill the mailbox, all others
//! would be refused. So a connection may have at most as many frames waiting as there is room left: one greedy connection
//! gets half of the mailbox, two get a third each, and there is always room for others. The same rule shares out the memory
//! of the process. Source: A. K. Choudhury and E. L. Hahne, "Dynamic queue length thresholds for shared-memory packet
//! switches", IEEE/ACM Transactions on Networking 6(2), 1998. Unary calls need no such rule for the messages, because a
//! connection has few streams (`--max-streams`); those that cost much wait for their turn in `gate.rs`.
//!
//! **Changes that are not on disk yet.** The same rule shares out the room for them: if the disk is slow, the connection that
//! changes most is refused first.
//!
//! **Watches and backups.** One connection may have as many open as are left for others (`shares.rs`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use tokio::sync::Notify;
use tokio::time::timeout;

use crate::config::{
    CALL_BYTES, LEASE_BYTES, ROOM_LOOK_INTERVAL, SMALL_CONNECTION_BYTES, UNSHARED_BYTES,
};

use super::connection_gate::ConnectionGate;
use super::shares::Shares;

/// The memory that all connections together may use. Clones share the counter.
#[derive(Clone, Debug)]
pub struct ClientMemory {
    leased_bytes: Arc<AtomicUsize>,
    limit: usize,
}

impl ClientMemory {
    /// Returns an account of `limit` bytes.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            leased_bytes: Arc::default(),
            limit,
        }
    }

    /// Returns the quota of a new connection, of `limit` bytes.
    #[must_use]
    pub fn connection(&self, limit: usize) -> ConnectionQuota {
        ConnectionQuota(Arc::new(Shared {
            all: self.clone(),
            limit,
            held_bytes: AtomicUsize::new(0),
            value_bytes: AtomicUsize::new(0),
            calls: AtomicUsize::new(0),
            begun_calls: AtomicU64::new(0),
            leased_bytes: AtomicUsize::new(0),
            given_back: AtomicUsize::new(0),
            queued_frames: AtomicUsize::new(0),
            queued_bytes: AtomicUsize::new(0),
            uncommitted: AtomicUsize::new(0),
            uncommitted_bytes: AtomicUsize::new(0),
            room: Notify::new(),
            is_awaited: AtomicBool::new(false),
            gate: ConnectionGate::default(),
            shares: Shares::default(),
        }))
    }

    /// Bytes that are free, without the last eighth, which is for connections that hold little.
    fn free_bytes(&self) -> usize {
        (self.limit - self.limit / 8).saturating_sub(self.leased_bytes())
    }

    /// Bytes that are free for a connection that holds little.
    fn free_bytes_for_small(&self) -> usize {
        self.limit.saturating_sub(self.leased_bytes())
    }

    fn leased_bytes(&self) -> usize {
        // Relaxed, as everywhere in this file: the counters guard no other memory.
        self.leased_bytes.load(Ordering::Relaxed)
    }

    /// Changes a lease from `before` to `after` bytes.
    fn change_lease(&self, before: usize, after: usize) {
        if after > before {
            self.leased_bytes
                .fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.leased_bytes
                .fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

/// The quota of one connection. Clones share the counters.
#[derive(Clone, Debug)]
pub struct ConnectionQuota(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    all: ClientMemory,
    limit: usize,
    /// Bytes that this connection keeps in memory.
    held_bytes: AtomicUsize,
    /// The part of them that the owner has charged: answers that are not handed out yet.
    value_bytes: AtomicUsize,
    /// Calls in progress. What they take by themselves is not part of `held_bytes`.
    calls: AtomicUsize,
    /// Calls that have begun since the connection began.
    begun_calls: AtomicU64,
    /// Bytes that this connection has leased of the memory for all: at least what it uses of it.
    leased_bytes: AtomicUsize,
    /// Bytes that this connection has given back since it began, also those of calls. The sum may wrap around, and it
    /// misses some when two threads give back at the same moment: it only tells whether the client reads.
    given_back: AtomicUsize,
    /// Messages in the mailbox that carry frames.
    queued_frames: AtomicUsize,
    /// Bytes of these messages.
    queued_bytes: AtomicUsize,
    /// Changes of frames that are not on disk yet, and their bytes. Only the owner counts them.
    uncommitted: AtomicUsize,
    uncommitted_bytes: AtomicUsize,
    /// Notified when bytes were given back and somebody waits for them.
    room: Notify,
    is_awaited: AtomicBool,
    /// Room for messages that cost the owner much.
    gate: ConnectionGate,
    /// How much this connection has open of what is limited for all.
    shares: Shares,
}

/// The share of the mailbox that one connection uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct QueuedFrames {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

/// A connection has no room for so many more bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRoom {
    /// Bytes that the connection may hold at present: its limit, or its share of what all connections may hold.
    pub limit: usize,
    /// Bytes that it would hold.
    pub actual: usize,
}

impl ConnectionQuota {
    /// Returns a quota of `limit` bytes that shares nothing with others.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        ClientMemory::new(usize::MAX).connection(limit)
    }

    /// Returns how many bytes may still be charged.
    #[must_use]
    pub fn free_bytes(&self) -> usize {
        self.free_bytes_within(self.0.limit)
    }

    /// Returns how many bytes may still be charged of `limit`, and of this connection's share of the memory for all.
    fn free_bytes_within(&self, limit: usize) -> usize {
        let held = self.held_bytes();
        let calls = self.0.call_bytes();
        let all = &self.0.all;
        // What is leased and not used is free for this connection.
        let leased = self.0.leased_bytes.load(Ordering::Relaxed);
        let spare = leased.saturating_sub(shared(held + calls));
        let share = (all.free_bytes() + spare).saturating_sub(calls).min(limit);
        let small = SMALL_CONNECTION_BYTES.saturating_sub(held + calls);
        let small = small.min(all.free_bytes_for_small() + spare);
        let free = share.saturating_sub(held).max(small);
        free.min(limit.saturating_sub(held))
    }

    /// Checks that `bytes` may still be charged.
    ///
    /// # Errors
    /// [`NoRoom`] if not.
    pub fn check_room(&self, bytes: usize) -> Result<(), NoRoom> {
        let free = self.free_bytes();
        if bytes <= free {
            return Ok(());
        }
        let held = self.held_bytes();
        Err(NoRoom {
            limit: held + free,
            actual: held + bytes,
        })
    }

    /// Checks that another call may begin: that this connection leaves as much memory to the others as it has with it.
    ///
    /// # Errors
    /// [`NoRoom`] if not.
    pub fn check_call(&self) -> Result<(), NoRoom> {
        let free = self.free_bytes_within(usize::MAX);
        if CALL_BYTES <= free {
            return Ok(());
        }
        let held = self.held_bytes() + self.0.call_bytes();
        Err(NoRoom {
            limit: held + free,
            actual: held + CALL_BYTES,
        })
    }

    /// Waits until at least one byte may be charged.
    pub async fn room(&self) {
        self.wait_until(|quota| quota.free_bytes() > 0).await;
    }

    /// Whether streams may encode further answers. Values that the owner has charged do not count, because encoding gives
    /// them back.
    #[must_use]
    pub fn may_encode(&self) -> bool {
        let values = self.0.value_bytes.load(Ordering::Relaxed);
        let limit = self.0.limit.min(self.0.all.free_bytes() + values) / 2;
        self.held_bytes() <= limit + values
    }

    /// Waits until streams may encode further answers.
    pub async fn room_to_encode(&self) {
        self.wait_until(Self::may_encode).await;
    }

    async fn wait_until(&self, has_room: impl Fn(&Self) -> bool) {
        while !has_room(self) {
            let given_back = self.0.room.notified();
            self.0.is_awaited.store(true, Ordering::SeqCst);
            if has_room(self) {
                return;
            }
            // Bytes that other connections give back notify nobody here, so look again from time to time.
            let _ = timeout(ROOM_LOOK_INTERVAL, given_back).await;
        }
    }

    /// Checks that `bytes` may be charged, and charges them until the returned guard is dropped.
    ///
    /// # Errors
    /// [`NoRoom`] if there is no room for them.
    pub fn reserve(&self, bytes: usize) -> Result<QuotaGuard, NoRoom> {
        self.check_room(bytes)?;
        Ok(self.clone().charge(bytes))
    }

    /// Charges a call for as long as it is in progress.
    #[must_use]
    pub fn call(&self) -> CallGuard {
        self.0.calls.fetch_add(1, Ordering::Relaxed);
        self.0.begun_calls.fetch_add(1, Ordering::Relaxed);
        self.0.settle();
        CallGuard(self.clone())
    }

    /// Returns how many bytes the connection has given back since it began, also those of calls that have ended. The sum
    /// wraps around.
    #[must_use]
    pub fn given_back(&self) -> usize {
        self.0.given_back.load(Ordering::Relaxed)
    }

    /// Returns how many calls have begun since the connection began.
    #[must_use]
    pub fn begun_calls(&self) -> u64 {
        self.0.begun_calls.load(Ordering::Relaxed)
    }

    /// Whether no call is in progress.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.0.calls.load(Ordering::Relaxed) == 0
    }

    /// Whether three quarters of the memory for all connections are used.
    #[must_use]
    pub fn is_memory_scarce(&self) -> bool {
        self.0.all.free_bytes() < self.0.all.limit / 4
    }

    pub(super) fn gate(&self) -> &ConnectionGate {
        &self.0.gate
    }

    pub(super) fn shares(&self) -> &Shares {
        &self.0.shares
    }

    /// Returns how much of this connection waits in the mailbox.
    pub(super) fn queued(&self) -> QueuedFrames {
        QueuedFrames {
            frames: self.0.queued_frames.load(Ordering::Relaxed),
            bytes: self.0.queued_bytes.load(Ordering::Relaxed),
        }
    }

    /// Counts a message that goes into the mailbox.
    pub(super) fn enqueue(&self, bytes: usize) {
        self.0.queued_frames.fetch_add(1, Ordering::Relaxed);
        self.0.queued_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts a message that has left the mailbox, or was not accepted there.
    pub(super) fn dequeue(&self, bytes: usize) {
        self.0.queued_frames.fetch_sub(1, Ordering::Relaxed);
        self.0.queued_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns how many changes of this connection's frames are not on disk yet, and how many bytes they have.
    pub(super) fn uncommitted(&self) -> (usize, usize) {
        (
            self.0.uncommitted.load(Ordering::Relaxed),
            self.0.uncommitted_bytes.load(Ordering::Relaxed),
        )
    }

    /// Counts changes that are not on disk, until the returned guard is dropped.
    pub(super) fn charge_uncommitted(&self, count: usize, bytes: usize) -> UncommittedGuard {
        self.0.uncommitted.fetch_add(count, Ordering::Relaxed);
        self.0.uncommitted_bytes.fetch_add(bytes, Ordering::Relaxed);
        UncommittedGuard {
            quota: self.clone(),
            count,
            bytes,
        }
    }

    /// Charges `bytes`, until the returned guard is dropped.
    #[must_use]
    pub fn charge(self, bytes: usize) -> QuotaGuard {
        self.0.add(bytes);
        QuotaGuard {
            quota: self,
            bytes,
            of_values: false,
        }
    }

    /// Charges `bytes` of an answer that is not handed out yet, until the returned guard is dropped.
    pub(super) fn charge_values(self, bytes: usize) -> QuotaGuard {
        let mut guard = QuotaGuard {
            quota: self,
            bytes: 0,
            of_values: true,
        };
        guard.change(bytes);
        guard
    }

    /// Returns how many bytes the connection holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.0.held_bytes.load(Ordering::Relaxed)
    }
}

impl Shared {
    /// What the calls in progress take by themselves.
    fn call_bytes(&self) -> usize {
        self.calls.load(Ordering::Relaxed) * CALL_BYTES
    }

    fn add(&self, bytes: usize) {
        self.held_bytes.fetch_add(bytes, Ordering::Relaxed);
        self.settle();
    }

    fn remove(&self, bytes: usize) {
        self.held_bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.give_back(bytes);
        if self.is_awaited.load(Ordering::SeqCst) {
            self.is_awaited.store(false, Ordering::SeqCst);
            self.room.notify_waiters();
        }
    }

    /// Notes that `bytes` are free again.
    fn give_back(&self, bytes: usize) {
        let sum = self.given_back.load(Ordering::Relaxed).wrapping_add(bytes);
        self.given_back.store(sum, Ordering::Relaxed);
        self.settle();
    }

    /// Makes the lease fit what is used: as large at least, and not much larger. An idle connection has none.
    fn settle(&self) {
        loop {
            // Read first: if another thread changes what is used after this one has looked, and the lease with it, the
            // exchange fails.
            let leased = self.leased_bytes.load(Ordering::Relaxed);
            let used = shared(self.held_bytes.load(Ordering::Relaxed) + self.call_bytes());
            let fits = used <= leased && leased - used <= 2 * LEASE_BYTES;
            if fits && (used > 0 || leased == 0) {
                return;
            }
            let wanted = used.next_multiple_of(LEASE_BYTES);
            let exchange = self.leased_bytes.compare_exchange(
                leased,
                wanted,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
            if exchange.is_ok() {
                self.all.change_lease(leased, wanted);
                return;
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.all.change_lease(*self.leased_bytes.get_mut(), 0);
    }
}

/// The part of a connection's bytes that counts for the process: not the first few, so that connections with a few small
/// calls do not all write to one counter.
fn shared(bytes: usize) -> usize {
    bytes.saturating_sub(UNSHARED_BYTES)
}

/// Changes of a connection that are not on disk yet. Dropping the guard stops counting them.
#[derive(Debug)]
pub(super) struct UncommittedGuard {
    quota: ConnectionQuota,
    count: usize,
    bytes: usize,
}

impl Drop for UncommittedGuard {
    fn drop(&mut self) {
        let shared = &self.quota.0;
        shared.uncommitted.fetch_sub(self.count, Ordering::Relaxed);
        shared
            .uncommitted_bytes
            .fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Bytes charged to a connection's quota. Dropping the guard gives them back: drop it when the bytes are on the socket, or
/// when something else is charged in their place.
#[derive(Debug)]
pub struct QuotaGuard {
    quota: ConnectionQuota,
    bytes: usize,
    of_values: bool,
}

impl QuotaGuard {
    /// Returns how many bytes are charged.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Charges `bytes` of an answer that is encoded now: giving them back is up to the client.
    #[must_use]
    pub fn encoded(mut self, bytes: usize) -> Self {
        self.change(0);
        self.of_values = false;
        self.change(bytes);
        self
    }

    /// Charges `bytes` instead: what is more is charged, and what is less is given back.
    pub fn change(&mut self, bytes: usize) {
        if bytes == self.bytes {
            return;
        }
        let before = std::mem::replace(&mut self.bytes, bytes);
        let account = &self.quota.0;
        match bytes.checked_sub(before) {
            Some(0) => {}
            Some(more) => account.add(more),
            None => account.remove(before - bytes),
        }
        if self.of_values {
            account.value_bytes.fetch_add(bytes, Ordering::Relaxed);
            account.value_bytes.fetch_sub(before, Ordering::Relaxed);
        }
    }
}

impl Drop for QuotaGuard {
    fn drop(&mut self) {
        if self.bytes == 0 {
            return;
        }
        if self.of_values {
            let values = &self.quota.0.value_bytes;
            values.fetch_sub(self.bytes, Ordering::Relaxed);
        }
        self.quota.0.remove(self.bytes);
    }
}

/// A call in progress.
#[derive(Debug)]
pub struct CallGuard(ConnectionQuota);

impl Drop for CallGuard {
    fn drop(&mut self) {
        let connection = &*self.0.0;
        connection.calls.fetch_sub(1, Ordering::Relaxed);
        connection.give_back(CALL_BYTES);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// What the process's account says of a connection, and what it may say: what the connection uses at least, and not
    /// much more.
    fn check(memory: &ClientMemory, connection: &ConnectionQuota) {
        let used = shared(connection.held_bytes() + connection.0.call_bytes());
        let leased = memory.leased_bytes();
        assert!(used <= leased, "{used} bytes are used, {leased} leased");
        let most = match used {
            0 => 0,
            used => used + 3 * LEASE_BYTES,
        };
        assert!(leased <= most, "{used} bytes are used, {leased} leased");
    }

    #[test]
    fn a_connection_leases_what_it_uses_and_an_idle_one_nothing() {
        let memory = ClientMemory::new(usize::MAX);
        let connection = memory.connection(usize::MAX);
        let mut random = StdRng::seed_from_u64(1);
        let (mut calls, mut answers) = (Vec::new(), Vec::new());
        for _ in 0..10_000 {
            match random.random_range(0..4) {
                0 => calls.push(connection.call()),
                1 => answers.push(connection.clone().charge(random.random_range(1..100_000))),
                2 => drop(calls.pop()),
                _ => answers.truncate(answers.len() / 2),
            }
            check(&memory, &connection);
        }
        drop((calls, answers));
        check(&memory, &connection);
        assert!(connection.is_idle());
    }

    #[test]
    fn a_busy_connection_seldom_changes_its_lease() {
        let memory = ClientMemory::new(usize::MAX);
        let connection = memory.connection(usize::MAX);
        let _others: Vec<_> = (0..50).map(|_| connection.call()).collect();
        let leased = memory.leased_bytes();
        for _ in 0..100 {
            let calls: Vec<_> = (0..8).map(|_| connection.call()).collect();
            assert!(memory.leased_bytes() >= leased);
            let most = memory.leased_bytes();
            drop(calls);
            // What was leased for the first eight calls stays for the next.
            assert_eq!(memory.leased_bytes(), most);
        }
    }

    #[test]
    fn threads_that_share_a_connection_lose_no_bytes() {
        let memory = ClientMemory::new(usize::MAX);
        let connection = memory.connection(usize::MAX);
        thread::scope(|scope| {
            for seed in 0..2 {
                let connection = connection.clone();
                scope.spawn(move || {
                    let mut random = StdRng::seed_from_u64(seed);
                    let mut held = Vec::new();
                    for _ in 0..20_000 {
                        held.push(connection.clone().charge(random.random_range(1..50_000)));
                        held.truncate(random.random_range(0..8));
                    }
                });
            }
        });
        assert_eq!(connection.held_bytes(), 0);
        drop(connection);
        assert_eq!(memory.leased_bytes(), 0, "a closed connection has no lease");
    }

    #[test]
    fn a_charge_that_changes_gives_back_only_what_is_less() {
        let quota = ConnectionQuota::new(1_000_000);
        let mut guard = quota.clone().charge(500);
        let before = quota.given_back();
        guard.change(900);
        assert_eq!((quota.held_bytes(), quota.given_back() - before), (900, 0));
        guard.change(600);
        assert_eq!(
            (quota.held_bytes(), quota.given_back() - before),
            (600, 300)
        );
        drop(guard);
        assert_eq!((quota.held_bytes(), quota.given_back() - before), (0, 900));
    }

    #[test]
    fn what_a_connection_has_leased_and_not_used_is_free_for_it() {
        // Each byte held takes one from what is left of all, and one from the share of what is left; the unshared count once.
        let memory = ClientMemory::new(256 * 1024);
        let connection = memory.connection(usize::MAX);
        let free = connection.free_bytes();
        let held = connection.clone().charge(UNSHARED_BYTES + 1);
        assert_eq!(memory.leased_bytes(), LEASE_BYTES);
        assert_eq!(
            connection.free_bytes(),
            free - 2 * held.bytes() + UNSHARED_BYTES
        );
    }
}
