//! Limits, times, values and entries, written shortly.

use super::*;

/// An answer of any size.
pub(super) const ALL: usize = usize::MAX;

/// Limits that nothing reaches.
pub(super) fn roomy() -> StoreLimits {
    StoreLimits {
        store_bytes: u64::MAX,
        sessions: usize::MAX,
        machines: usize::MAX,
        request_id_window: ms(1_000),
        request_ids: usize::MAX,
        request_id_bytes: usize::MAX,
        ring_changes: usize::MAX,
        ring_bytes: usize::MAX,
    }
}

pub(super) fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A time, in milliseconds after the first.
pub(super) fn at_ms(after: u64) -> Time {
    Time::since_epoch(ms(after))
}

pub(super) fn int(int: i64) -> Value {
    Value::Int(int)
}

pub(super) fn text(text: &str) -> Value {
    Value::Text(text.into())
}

pub(super) fn bytes(bytes: &[u8]) -> Value {
    Value::Bytes(bytes.into())
}

/// A request id. The number stands for the content of the request.
pub(super) fn request_id(id: &str, content: u128) -> RequestId {
    RequestId {
        id: id.into(),
        fingerprint: Fingerprint(content),
    }
}

pub(super) fn entry(value: Value, revision: Revision, create_revision: Revision) -> Entry {
    Entry {
        value,
        revision,
        create_revision,
        attached: None,
    }
}

impl Entry {
    pub(super) fn with_lifetime(self, lifetime: Lifetime) -> Self {
        let key_state = self.key_state().cloned();
        let attached = Attached {
            lifetime: Some(lifetime),
            key_state,
        };
        Self {
            attached: Some(Arc::new(attached)),
            ..self
        }
    }

    pub(super) fn ending_at(self, ttl: u64, ends: u64) -> Self {
        self.with_lifetime(Lifetime::Ttl {
            ttl: ms(ttl),
            ends: at_ms(ends),
        })
    }

    pub(super) fn of_session(self, id: &str, create_revision: Revision) -> Self {
        self.with_lifetime(Lifetime::Session {
            id: id.into(),
            create_revision,
        })
    }

    /// The entry in a state of machine `m`.
    pub(super) fn in_state(
        self,
        state: &str,
        since: u64,
        timeout_at: impl Into<Option<u64>>,
    ) -> Self {
        let attached = Attached {
            lifetime: self.lifetime().cloned(),
            key_state: Some(KeyState {
                machine: "m".into(),
                state: state.into(),
                since: at_ms(since),
                timeout_at: timeout_at.into().map(at_ms),
            }),
        };
        Self {
            attached: Some(Arc::new(attached)),
            ..self
        }
    }
}
