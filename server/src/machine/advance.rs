//! The passing of time: sessions, ttls, state timeouts and request ids are due.

use super::change::ChangeCause;
use super::state_machine::StateMachine;
use super::time::Time;

impl StateMachine {
    /// When [`advance`](Self::advance) has something to do next.
    #[must_use]
    pub fn next_due(&self) -> Option<Time> {
        let forgets = self.request_ids.next_due();
        self.index.next_due().into_iter().chain(forgets).min()
    }

    /// Does what is due by now, in the order in which it is due: ends sessions and their keys, ends keys whose ttl is over,
    /// moves keys whose state times out, and forgets requests. Of what is due at the same time, sessions come before ttls,
    /// and ttls before timeouts. Stops after about `keys_max` keys, so that other calls need not wait:
    /// [`next_due`](Self::next_due) tells whether there is more. Returns about how many keys it was.
    pub fn advance(&mut self, now: Time, keys_max: usize) -> usize {
        let mut done = 0;
        while done < keys_max {
            let ended = self.end_next_slice();
            if ended > 0 {
                done += ended;
                continue;
            }
            let first = [
                self.index.sessions.next_due(),
                self.index.next_expiry(),
                self.index.machines.next_due(),
            ]
            .into_iter()
            .enumerate()
            .filter_map(|(order, due)| Some((due?, order)))
            .min();
            match first {
                Some((due, order)) if due <= now => match order {
                    0 => done += self.end_due_session(now).unwrap_or(0),
                    1 => self.end_expired(now),
                    _ => {
                        self.fire_due_timeout(now);
                    }
                },
                _ if self.request_ids.forget_due(now) => {}
                _ => break,
            }
            done += 1;
        }
        done
    }

    /// Removes the key whose ttl ended first.
    fn end_expired(&mut self, now: Time) {
        if let Some(key) = self.index.expired(now).cloned() {
            self.revision += 1;
            self.remove(&key, self.revision, ChangeCause::Expired);
            self.ended.expired += 1;
        }
    }
}
