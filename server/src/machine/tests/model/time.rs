//! The passing of time in the model.

use super::*;

/// The order of what is due at the same time: by kind, by machine and state, by when the key entered the state, by name.
type DueOrder = (u8, Vec<Key>, Time, Key);

enum Due {
    Session(usize),
    Key(Key),
    State(Key, Name),
}

impl Model {
    /// Does everything that is due, one thing after another.
    pub(in super::super) fn advance(&mut self, now: Time) {
        while let Some((_, _, due)) = self.due().into_iter().find(|(due, ..)| *due <= now) {
            match due {
                Due::Session(at) => self.end_session(at),
                Due::Key(key) => {
                    self.revision += 1;
                    self.set(&key, None, self.revision, ChangeCause::Expired);
                }
                Due::State(key, to) => {
                    self.revision += 1;
                    let entry = self.entry(&key).unwrap();
                    let key_state = entry.key_state().cloned().map(|key_state| KeyState {
                        state: to,
                        since: now,
                        ..key_state
                    });
                    let lifetime = entry.lifetime().cloned();
                    let created = entry.create_revision;
                    let moved = new_entry(entry.value, self.revision, created, lifetime, key_state);
                    self.set(&key, Some(moved), self.revision, ChangeCause::TimedOut);
                }
            }
            self.record();
        }
        let window = self.limits.request_id_window;
        self.answers.retain(|(at, ..)| *at + window > now);
    }

    /// Everything that will be due, in order.
    fn due(&self) -> Vec<(Time, DueOrder, Due)> {
        let mut due = Vec::new();
        for (at, session) in self.sessions.iter().enumerate() {
            let order = (0, vec![], Time::MIN, session.id.clone());
            due.push((session.ends, order, Due::Session(at)));
        }
        for (key, entry) in &self.entries {
            if let Some(Lifetime::Ttl { ends, .. }) = entry.lifetime() {
                let order = (1, vec![], Time::MIN, key.clone());
                due.push((*ends, order, Due::Key(key.clone())));
            }
            if let Some(key_state) = entry.key_state()
                && let Some(timeout) = &self.state(key_state).timeout
            {
                let of = vec![key_state.machine.clone(), key_state.state.clone()];
                let order = (2, of, key_state.since, key.clone());
                let what = Due::State(key.clone(), timeout.next.clone());
                due.push((key_state.since + timeout.after, order, what));
            }
        }
        due.sort_by_key(|(due, order, _)| (*due, order.clone()));
        due
    }

    pub(in super::super) fn next_due(&self) -> Option<Time> {
        let first = self.due().into_iter().map(|(due, ..)| due).next();
        let window = self.limits.request_id_window;
        let forget = self.answers.iter().map(|(at, ..)| *at + window).min();
        match (first, forget) {
            (Some(first), Some(forget)) => Some(first.min(forget)),
            (one, other) => one.or(other),
        }
    }
}
