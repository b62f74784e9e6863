//! Requests that come again.

use super::effect::Effect;
use super::rejection::{Cause, Rejection};
use super::requests::{Answered, Replayable, Request};
use super::state_machine::StateMachine;
use super::time::Time;

impl StateMachine {
    /// Does something once: answers it again if it is a request that came before, and remembers it if not.
    pub(super) fn once<T: Replayable>(
        &mut self,
        request: Option<&Request>,
        now: Time,
        apply: impl FnOnce(&mut Self) -> Result<T, Box<Rejection>>,
    ) -> Result<T, Box<Rejection>> {
        if let Some(request) = request {
            let refuse = |cause| Rejection::of(&request.id, cause);
            if let Some(answer) = self.requests.find(request, now).map_err(refuse)? {
                // The fingerprint tells kinds of requests apart, too.
                return T::replay(answer).ok_or_else(|| refuse(Cause::RequestIdReused));
            }
        }
        let outcome = apply(self)?;
        if let Some(request) = request {
            let answer = outcome.clone().answer();
            self.happened(|| {
                Effect::Answered(Answered {
                    at: now,
                    request: request.clone(),
                    answer: answer.clone(),
                })
            });
            self.requests.remember(request, answer, now);
        }
        Ok(outcome)
    }

    /// Whether a request came before, and will be answered again.
    #[must_use]
    pub fn remembers(&self, request: &Request) -> bool {
        self.requests.remembers(request)
    }
}
