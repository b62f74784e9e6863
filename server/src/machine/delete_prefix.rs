//! Deleting the keys with a prefix, slice by slice.

use std::ops::Bound;

use super::change::ChangeCause;
use super::operation::{DeletePrefix, DeletePrefixOutcome};
use super::rejection::Rejection;
use super::request_ids::{Growth, RequestId};
use super::state_machine::StateMachine;
use super::time::Time;

impl StateMachine {
    /// Deletes the keys of the next slice that a Delete would delete, all at one new revision if there are any.
    ///
    /// # Errors
    /// [`Rejection`] for the request id only.
    pub fn delete_prefix(
        &mut self,
        delete: &DeletePrefix,
        request_id: Option<&RequestId>,
        now: Time,
    ) -> Result<DeletePrefixOutcome, Box<Rejection>> {
        self.apply_once(request_id, Growth::None, now, |this| {
            Ok(this.delete_slice(delete))
        })
    }

    fn delete_slice(&mut self, delete: &DeletePrefix) -> DeletePrefixOutcome {
        let DeletePrefix {
            prefix,
            after,
            limit,
        } = delete;
        let from = match after {
            Some(after) => Bound::Excluded(after.as_str()),
            None => Bound::Included(prefix.as_str()),
        };
        let mut keys = self
            .entries
            .range(from)
            .take_while(|(key, _)| key.as_str().starts_with(prefix));
        let mut last = None;
        let mut deleted = Vec::new();
        let mut kept_count = 0;
        for (key, entry) in keys.by_ref().take(*limit) {
            last = Some(key.clone());
            match entry.key_state() {
                Some(key_state) if self.index.machines.check_deletable(key_state).is_err() => {
                    kept_count += 1;
                }
                _ => deleted.push(key),
            }
        }
        let more_after = keys.next().and(last);
        drop(keys);
        if !deleted.is_empty() {
            self.revision += 1;
            self.history.begin_batch();
            for key in &deleted {
                self.remove(key, self.revision, ChangeCause::Deleted);
            }
            self.history.end_batch();
        }
        DeletePrefixOutcome {
            deleted_count: deleted.len(),
            kept_count,
            more_after,
            revision: self.revision,
            replayed: false,
        }
    }
}
