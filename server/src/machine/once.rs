//! RequestIds that come again.

use super::effect::Effect;
use super::rejection::{Cause, Rejection};
use super::request_ids::{AppliedRequest, Replayable, RequestId};
use super::state_machine::StateMachine;
use super::time::Time;

impl StateMachine {
    /// Does something once: answers it again if it is a request that came before, and remembers it if not.
    pub(super) fn apply_once<T: Replayable>(
        &mut self,
        request_id: Option<&RequestId>,
        now: Time,
        apply: impl FnOnce(&mut Self) -> Result<T, Box<Rejection>>,
    ) -> Result<T, Box<Rejection>> {
        if let Some(request_id) = request_id {
            let refuse = |cause| Rejection::of(&request_id.id, cause);
            if let Some(saved) = self.request_ids.find(request_id, now).map_err(refuse)? {
                // The fingerprint tells kinds of requests apart, too.
                return T::replay(saved).ok_or_else(|| refuse(Cause::RequestIdReused));
            }
        }
        let outcome = apply(self)?;
        if let Some(request_id) = request_id {
            let saved = outcome.clone().save();
            self.push_effect(|| {
                Effect::RequestApplied(AppliedRequest {
                    at: now,
                    request_id: request_id.clone(),
                    outcome: saved.clone(),
                })
            });
            self.request_ids.remember(request_id, saved, now);
        }
        Ok(outcome)
    }

    /// Whether a request came before, and will be answered again.
    #[must_use]
    pub fn is_replay(&self, request_id: &RequestId) -> bool {
        self.request_ids.is_replay(request_id)
    }
}
