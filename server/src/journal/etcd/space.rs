//! The space in etcd: looks at it, and says what is to be told to the owner.
//!
//! etcd's quota counts the file of a member, which never shrinks by itself. Once it is used up, etcd refuses whatever is put,
//! until an operator has defragmented it and disarmed the alarm, however much is deleted. So the owner refuses growth before.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use soloist_etcd::Member;
use tokio::time::timeout;
use tracing::{debug, info, warn};

use super::owned::Owned;
use crate::config::MUCH_SPACE_BYTES;
use crate::journal::interface::{Event, Space};
use crate::machine::{SpaceLow, SpaceOf};

/// How often the space is looked at.
const INTERVAL: Duration = Duration::from_secs(5);

/// How often it is found out whether the log has grown so much that the space is to be looked at earlier.
const GROWTH_INTERVAL: Duration = Duration::from_millis(250);

/// How much that is, as a part of the quota: a tenth of what is left when space is low.
const GROWTH_PERCENT: u64 = 3;

/// How often it is looked at while there is little, or none.
const LITTLE_SPACE_INTERVAL: Duration = Duration::from_secs(1);

/// How long a look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// The time to live of the lease with which etcd is touched, should it not be revoked.
const TOUCH_TTL: Duration = Duration::from_secs(10);

/// Space is low when a member's file takes more than this share of the quota, in percent...
const LOW_PERCENT: u64 = 70;

/// ... unless most of it is free within, so that it need not grow.
const IN_USE_PERCENT: u64 = 35;

/// What the members of etcd say of their files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Files {
    /// The largest, and the bytes that are in use at most in one.
    size: u64,
    in_use: u64,
    /// Whether one has no space.
    is_full: bool,
}

impl Files {
    fn of<'a>(members: impl IntoIterator<Item = &'a Member>) -> Self {
        members.into_iter().fold(Self::default(), |files, member| {
            let bytes = |bytes: i64| u64::try_from(bytes).unwrap_or(0);
            let is_full = member.errors.iter().any(|error| error.contains("NOSPACE"));
            Self {
                size: files.size.max(bytes(member.db_size)),
                in_use: files.in_use.max(bytes(member.db_in_use)),
                is_full: files.is_full || is_full,
            }
        })
    }

    /// The space that there is, with this quota.
    fn space(self, quota: u64) -> Space {
        let (low, in_use) = (quota / 100 * LOW_PERCENT, quota / 100 * IN_USE_PERCENT);
        let little = SpaceLow {
            of: SpaceOf::Etcd,
            free: quota.saturating_sub(self.size),
            least: quota - low,
            files: self.in_use,
        };
        if self.is_full {
            return Space::Full(little);
        }
        if self.size > low && self.in_use > in_use {
            return Space::Low(little);
        }
        // A file grows only when what is free within it is used up.
        let free_within = self.size.saturating_sub(self.in_use).min(self.size);
        let room = low.saturating_sub(self.size).max(free_within);
        Space::Enough {
            room: match room >= MUCH_SPACE_BYTES {
                true => u64::MAX,
                false => room,
            },
        }
    }
}

/// What is known of the space.
#[derive(Debug)]
pub(super) struct EtcdSpace {
    quota: u64,
    told: Space,
    /// What the owner was told with [`Event::Removable`].
    removable: u64,
}

/// Before the first look.
pub(super) const UNKNOWN: Space = Space::Enough { room: u64::MAX };

impl EtcdSpace {
    pub(super) fn new(quota: u64) -> Self {
        Self {
            quota,
            told: UNKNOWN,
            removable: 0,
        }
    }

    /// Looks at the space for ever.
    pub(super) async fn run(&mut self, owned: &Owned) -> Infallible {
        loop {
            self.look(owned).await;
            let interval = match self.told {
                Space::Enough { .. } => INTERVAL,
                Space::Low(_) | Space::Full(_) => LITTLE_SPACE_INTERVAL,
            };
            let _ = timeout(interval, self.changed(owned)).await;
        }
    }

    /// Waits until etcd refuses what it took before, or the other way round; or until the log has grown much.
    async fn changed(&self, owned: &Owned) {
        let at_last = owned.log_bytes.load(Ordering::Relaxed);
        let much = self.quota / 100 * GROWTH_PERCENT;
        loop {
            if timeout(GROWTH_INTERVAL, owned.no_space.changed())
                .await
                .is_ok()
            {
                return;
            }
            let now = owned.log_bytes.load(Ordering::Relaxed);
            if now.abs_diff(at_last) >= much {
                return;
            }
        }
    }

    async fn look(&mut self, owned: &Owned) {
        if matches!(self.told, Space::Low(_)) {
            let _ = timeout(LOOK_WITHIN, touch(owned)).await;
        }
        let Ok(members) = timeout(LOOK_WITHIN, owned.etcd.members()).await else {
            return;
        };
        let endpoints: Vec<_> = members
            .iter()
            .map(|(endpoint, _)| endpoint.as_str())
            .collect();
        let endpoints = endpoints.join(",");
        let known: Vec<_> = members
            .iter()
            .filter_map(|(_, member)| member.as_ref().ok())
            .collect();
        if known.is_empty() {
            debug!("no member of etcd tells how much space it has");
        }
        let mut files = Files::of(known.iter().copied());
        files.is_full |= owned.no_space.refuses();
        // A member may know the quota better.
        let quotas = known
            .iter()
            .filter_map(|member| u64::try_from(member.db_quota).ok());
        let quota = quotas.filter(|quota| *quota > 0).fold(self.quota, u64::min);
        owned
            .cells
            .disk_free_bytes
            .set(quota.saturating_sub(files.size));
        self.tell(owned, files.space(quota), &endpoints).await;
        self.tell_removable(owned).await;
    }

    async fn tell(&mut self, owned: &Owned, space: Space, endpoints: &str) {
        if space == self.told {
            return;
        }
        if std::mem::discriminant(&space) != std::mem::discriminant(&self.told) {
            match space {
                Space::Enough { .. } => info!("etcd has enough space again"),
                Space::Low(SpaceLow { free, files, .. }) => warn!(
                    free,
                    in_use = files,
                    "etcd has little space: refusing changes that make the store larger. When there is less in use, give the file's \
                     free space back: etcdctl --endpoints={endpoints} defrag"
                ),
                Space::Full(_) => warn!(
                    "etcd has no space: refusing all changes. No node can take over before there is some. Run\n  \
                     etcdctl --endpoints={endpoints} defrag\n  etcdctl --endpoints={endpoints} alarm disarm\n\
                     If there is still too little space, give etcd a larger --quota-backend-bytes"
                ),
            }
        }
        self.told = space;
        let is_scarce = !matches!(space, Space::Enough { .. });
        owned.is_space_scarce.store(is_scarce, Ordering::Relaxed);
        owned.send(Event::Space(space)).await;
    }

    /// While there is little space, tells how much goes with a snapshot, so that one is made as soon as it is worth it.
    async fn tell_removable(&mut self, owned: &Owned) {
        let removable = match self.told {
            Space::Enough { .. } => 0,
            Space::Low(_) | Space::Full(_) => {
                let bytes = |of: &AtomicU64| of.load(Ordering::Relaxed);
                bytes(&owned.log_bytes) + bytes(&owned.snapshot_bytes)
            }
        };
        if removable != self.removable {
            self.removable = removable;
            owned.send(Event::Removable(removable)).await;
        }
    }
}

/// Has etcd write something. Only then does it count pages as free that a compaction has left, and while changes are refused there may
/// be no other write. A lease is no key, so nobody sees it.
async fn touch(owned: &Owned) {
    match owned.etcd.grant(TOUCH_TTL).await {
        Ok(lease) => drop(owned.etcd.revoke(lease.id).await),
        Err(error) => debug!("cannot have etcd count its free pages: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;

    fn member(size: u64, in_use: u64, errors: &[&str]) -> Member {
        Member {
            db_size: size as i64,
            db_in_use: in_use as i64,
            errors: errors.iter().map(ToString::to_string).collect(),
            ..Member::default()
        }
    }

    #[test]
    fn the_fullest_member_counts() {
        let quota = 10 * GIB;
        let space = |members: &[Member]| Files::of(members).space(quota);
        let small = member(GIB, GIB, &[]);
        let large = member(7 * GIB + 1000, 7 * GIB, &[]);
        let mostly_free = member(8 * GIB, GIB, &[]);
        let full = member(GIB, GIB, &["memberID:1 alarm:NOSPACE "]);
        assert_eq!(space(&[]), UNKNOWN);
        assert_eq!(space(&[small.clone(), small.clone()]), UNKNOWN);
        assert_eq!(space(&[mostly_free]), UNKNOWN);
        let Space::Low(low) = space(&[small.clone(), large]) else {
            panic!("it is low");
        };
        assert_eq!(low.least, quota - quota / 100 * LOW_PERCENT);
        assert_eq!(low.files, 7 * GIB);
        assert!(matches!(space(&[small, full]), Space::Full(_)));
    }

    #[test]
    fn what_is_accepted_must_fit_into_the_rest() {
        let files = Files {
            size: 60 << 20,
            in_use: 60 << 20,
            is_full: false,
        };
        let Space::Enough { room } = files.space(100 << 20) else {
            panic!("there is enough");
        };
        assert!(room <= 10 << 20 && room > 9 << 20, "{room}");
    }
}
