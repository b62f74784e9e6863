//! The audit log: who was refused, and who did what others must be able to look up. Target `audit`; never a value, never a token.

use std::fmt::Display;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use crate::access::{Identity, Needs};
use crate::metrics;

/// Most refusals of a kind that are logged in [`SPAN`]: a caller that tries again and again must not fill the disk.
const REFUSALS_MAX: u32 = 20;
const SPAN: Duration = Duration::from_secs(1);

/// Denials in the present span, of all callers.
static DENIALS: Mutex<Span> = Mutex::new(Span::NEW);

/// Calls of unknown callers in the present span. They are counted apart: nobody can hide a denial behind them.
static FAILED_LOGINS: Mutex<Span> = Mutex::new(Span::NEW);

/// Clients that TLS refused in the present span. Their connections never get as far as a call.
static REFUSED_CLIENTS: Mutex<Span> = Mutex::new(Span::NEW);

/// What is logged at a limited rate.
pub(super) struct Span {
    begun: Option<Instant>,
    logged: u32,
    /// How many were not logged since the last that was.
    left_out: u64,
}

impl Span {
    pub(super) const NEW: Self = Self {
        begun: None,
        logged: 0,
        left_out: 0,
    };

    /// How many refusals were left out before this one, if this one is to be logged.
    fn admit(&mut self, now: Instant) -> Option<u64> {
        if self.begun.is_none_or(|begun| now - begun >= SPAN) {
            self.begun = Some(now);
            self.logged = 0;
        }
        if self.logged == REFUSALS_MAX {
            self.left_out += 1;
            return None;
        }
        self.logged += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

/// How many were left out before this one, if this one is to be logged.
pub(super) fn admit(span: &Mutex<Span>) -> Option<u64> {
    let mut span = span.lock().unwrap_or_else(PoisonError::into_inner);
    span.admit(Instant::now())
}

/// A caller was refused because it does not have a right.
pub(super) fn denied(identity: &Identity, needs: Needs<'_>) {
    metrics::here(|cells| cells.server.count_denied(identity.name()));
    if let Some(left_out) = admit(&DENIALS) {
        let (kind, target) = needs.target().unwrap_or_default();
        let (identity, right) = (identity.name(), needs.verb());
        warn!(target: "audit", identity, right, kind, target, left_out, "denied");
    }
}

/// A call was refused because its caller is not known.
pub(super) fn login_failed(peer: &str, why: &str) {
    metrics::here(|cells| cells.server.auth_failures.add_shared(1));
    if let Some(left_out) = admit(&FAILED_LOGINS) {
        warn!(target: "audit", peer, why, left_out, "login failed");
    }
}

/// A TLS handshake failed, because one side does not accept the other.
pub(crate) fn handshake_refused(peer: &str, why: impl Display) {
    if let Some(left_out) = admit(&REFUSED_CLIENTS) {
        warn!(target: "audit", peer, %why, left_out, "handshake refused");
    }
}

/// A connection has to end, because the certificate of its client would be refused by now.
pub(crate) fn certificate_refused(peer: &str) {
    if let Some(left_out) = admit(&REFUSED_CLIENTS) {
        warn!(target: "audit", peer, left_out, "the certificate of the client is not accepted any more");
    }
}

/// A caller does what others must be able to look up.
pub(super) fn does(identity: &Identity, what: &str, name: impl Display) {
    let identity = identity.name();
    info!(target: "audit", identity, what, %name, "permitted");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_logged_at_a_limited_rate() {
        let start = Instant::now();
        let mut span = Span::NEW;
        for _ in 0..REFUSALS_MAX {
            assert_eq!(span.admit(start), Some(0));
        }
        for _ in 0..7 {
            assert_eq!(span.admit(start), None);
        }
        assert_eq!(span.admit(start + SPAN), Some(7));
        assert_eq!(span.admit(start + SPAN), Some(0));
    }
}
