//! Sessions and machines of the model.

use super::*;

impl Model {
    pub(super) fn open(&mut self, open: &OpenSession, now: Time) -> Done<Answer> {
        let before = self.sessions.iter().position(|s| s.id == open.id);
        let taken_over = before.map(|at| self.sessions[at].create_revision);
        if let (Some(create_revision), OnExisting::Refuse) = (taken_over, open.on_existing) {
            return Err(Cause::SessionExists { create_revision });
        }
        match before {
            Some(at) => {
                self.end_session(at);
                self.record();
            }
            None if self.sessions.len() >= self.limits.sessions => {
                return Err(Cause::TooMany {
                    what: "sessions",
                    limit: self.limits.sessions,
                });
            }
            None => self.check_room(0, session_size(&open.id))?,
        }
        self.revision += 1;
        let session = Session {
            id: open.id.clone(),
            ttl: open.ttl,
            ends: now + open.ttl,
            create_revision: self.revision,
            key_count: 0,
        };
        self.sessions.push(session.clone());
        Ok(Answer::Opened(OpenOutcome {
            session,
            taken_over,
            replayed: false,
        }))
    }

    pub(super) fn close(&mut self, life: &SessionLife) -> Done<Answer> {
        let at = self.position_of(life)?;
        let key_count = self.session_shown(&self.sessions[at]).key_count;
        self.end_session(at);
        Ok(Answer::Closed(CloseOutcome {
            key_count,
            revision: self.revision,
            create_revision: life.create_revision,
            replayed: false,
        }))
    }

    pub(super) fn end_session(&mut self, at: usize) {
        let Session {
            id,
            create_revision,
            ..
        } = self.sessions.remove(at);
        self.revision += 1;
        for (key, entry) in self.sorted_entries() {
            if entry.lifetime()
                == Some(&Lifetime::Session {
                    id: id.clone(),
                    create_revision,
                })
            {
                self.set(&key, None, self.revision, ChangeCause::SessionEnded);
            }
        }
    }

    pub(super) fn define(&mut self, define: &DefineMachine) -> Done<Machine> {
        let DefineMachine {
            machine,
            expect,
            purpose,
        } = define;
        let at = self.machines.iter().position(|m| m.name == machine.name);
        let before = at.map(|at| self.machines[at].clone());
        let revision = before.as_ref().map_or(0, |before| before.revision);
        match (expect, &before) {
            (Some(Condition::Exists(true)), None) => return Err(Cause::MachineNotFound),
            (Some(Condition::Exists(false)), Some(_)) => {
                return Err(Cause::MachineExists { revision });
            }
            (Some(Condition::Revision(expected)), _) if *expected != revision => {
                return Err(Cause::MachineChanged {
                    expected: *expected,
                    actual: revision,
                });
            }
            _ => {}
        }
        let answered = |revision| Machine {
            revision,
            ..machine.clone()
        };
        let same = before.as_ref() == Some(&answered(revision));
        if !same {
            self.check_definition(machine, before.as_ref())?;
        }
        match purpose {
            Purpose::Validate => Ok(answered(0)),
            Purpose::Define if same => Ok(answered(revision)),
            Purpose::Define => {
                self.machines.retain(|other| other.name != machine.name);
                self.revision += 1;
                self.machines.push(answered(self.revision));
                self.record();
                Ok(answered(self.revision))
            }
        }
    }

    fn check_definition(&self, machine: &Machine, before: Option<&Machine>) -> Done<()> {
        let limit = self.limits.machines;
        if before.is_none() && self.machines.len() >= limit {
            return Err(Cause::TooMany {
                what: "machines",
                limit,
            });
        }
        let prefix = machine.key_prefix.as_str();
        let taken = self
            .machines
            .iter()
            .filter(|other| other.name != machine.name)
            .filter(|other| {
                let other = other.key_prefix.as_str();
                other.starts_with(prefix) || prefix.starts_with(other)
            })
            .min_by_key(|other| &other.key_prefix);
        if let Some(other) = taken {
            return Err(Cause::PrefixTaken {
                machine: other.name.clone(),
                key_prefix: other.key_prefix.clone(),
            });
        }
        let moves_on = before.is_some_and(|before| before.key_prefix == machine.key_prefix);
        self.check_states(before, |state| {
            moves_on && machine.states.contains_key(state)
        })?;
        let below: Vec<_> = self
            .sorted_entries()
            .into_iter()
            .filter(|(key, _)| key.as_str().starts_with(prefix))
            .collect();
        if let (false, Some((example, _))) = (moves_on, below.first()) {
            return Err(Cause::EntriesInState(Box::new(StrandedKeys {
                count: below.len(),
                example: example.clone(),
                state: None,
            })));
        }
        self.check_reachable(machine)?;
        self.check_room(before.map_or(0, machine_size), machine_size(machine))
    }

    /// Refuses a machine with a state that no key is in and none can reach.
    fn check_reachable(&self, machine: &Machine) -> Done<()> {
        let mut reached = vec![machine.initial.clone()];
        for (_, entry) in &self.entries {
            let key_state = entry
                .key_state()
                .filter(|key_state| key_state.machine == machine.name);
            reached.extend(key_state.map(|key_state| key_state.state.clone()));
        }
        for _ in &machine.states {
            for state in reached.clone() {
                let state = &machine.states[&state];
                reached.extend(state.next.iter().cloned());
                reached.extend(state.timeout.iter().map(|timeout| timeout.next.clone()));
            }
            reached.sort();
            reached.dedup();
        }
        let unreachable = machine.states.keys().find(|state| !reached.contains(state));
        unreachable.map_or(Ok(()), |state| {
            Err(Cause::StateUnreachable {
                state: state.clone(),
            })
        })
    }

    /// Refuses if a key of the machine is in a state for which `allows` is false.
    fn check_states(&self, machine: Option<&Machine>, allows: impl Fn(&Name) -> bool) -> Done<()> {
        let mut stranded: Vec<_> = self
            .entries
            .iter()
            .filter_map(|(key, entry)| {
                let key_state = entry.key_state()?;
                let of_machine = machine.is_some_and(|machine| machine.name == key_state.machine);
                let left = of_machine && !allows(&key_state.state);
                left.then(|| (key_state.state.clone(), key_state.since, key.clone()))
            })
            .collect();
        stranded.sort();
        let Some((state, _, example)) = stranded.first().cloned() else {
            return Ok(());
        };
        Err(Cause::EntriesInState(Box::new(StrandedKeys {
            count: stranded.iter().filter(|other| other.0 == state).count(),
            example,
            state: Some(state),
        })))
    }

    pub(super) fn undefine(&mut self, delete: &DeleteMachine) -> Done<Revision> {
        let DeleteMachine {
            name,
            keys,
            revision: _,
        } = delete;
        let machine = self.machines.iter().find(|machine| machine.name == *name);
        let machine = machine.cloned().ok_or(Cause::MachineNotFound)?;
        self.check_states(Some(&machine), |state| {
            let state = &machine.states[state];
            *keys == KeysLeft::InAnyState || state.next.is_empty() && state.timeout.is_none()
        })?;
        self.revision += 1;
        self.machines.retain(|machine| machine.name != *name);
        for (_, entry) in &mut self.entries {
            if entry
                .key_state()
                .is_some_and(|key_state| key_state.machine == *name)
            {
                let bare = entry.clone();
                let lifetime = bare.lifetime().cloned();
                *entry = new_entry(
                    bare.value,
                    bare.revision,
                    bare.create_revision,
                    lifetime,
                    None,
                );
            }
        }
        self.record();
        Ok(self.revision)
    }
}
