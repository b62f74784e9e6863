//! Requests with an id are applied once.

use super::effect::Effect;
use super::rejection::{Cause, Rejection};
use super::request_ids::{AppliedRequest, Growth, Replayable, RequestId};
use super::state_machine::StateMachine;
use super::time::Time;

impl StateMachine {
    /// Applies a request once: a replay gets the saved outcome, and a new request is applied and its outcome saved.
    /// A request without an id is just applied, and so is one that was refused before: refusals are not saved. There must be
    /// room in the store for the outcome, unless the request makes the store smaller.
    pub(super) fn apply_once<T: Replayable>(
        &mut self,
        request_id: Option<&RequestId>,
        growth: Growth,
        now: Time,
        apply: impl FnOnce(&mut Self) -> Result<T, Box<Rejection>>,
    ) -> Result<T, Box<Rejection>> {
        if let Some(request_id) = request_id {
            let refuse = |cause| Rejection::of(&request_id.id, cause);
            if let Some(saved) = self.request_ids.find(request_id, now).map_err(refuse)? {
                // The fingerprint covers the kind of the request, so another kind cannot be a replay.
                return T::replay(saved).ok_or_else(|| refuse(Cause::RequestIdReused));
            }
            if growth == Growth::Possible {
                self.check_room(0, request_id.byte_len()).map_err(refuse)?;
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

    /// Whether a request with this id was applied before, so that it will not be applied again.
    #[must_use]
    pub fn is_replay(&self, request_id: &RequestId) -> bool {
        self.request_ids.is_replay(request_id)
    }

    /// Returns how many bytes the saved outcome of the request takes; none if it was not applied before.
    #[must_use]
    pub fn replayed_byte_len(&self, request_id: &RequestId) -> usize {
        self.request_ids.saved_byte_len(request_id)
    }
}
