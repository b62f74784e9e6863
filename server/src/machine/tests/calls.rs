//! Calls, written shortly.

use super::*;

pub(super) fn read(key: &str) -> Operation {
    read_if(key, None)
}

pub(super) fn read_if(key: &str, expect: impl Into<Option<Condition>>) -> Operation {
    Operation::Read(Read {
        key: key.into(),
        expect: expect.into().map(Box::new),
    })
}

pub(super) fn write(key: &str, value: Value) -> Operation {
    Operation::Write(Write {
        key: key.into(),
        value: Some(value),
        options: None,
    })
}

pub(super) fn write_with(
    key: &str,
    value: impl Into<Option<Value>>,
    options: WriteOptions,
) -> Operation {
    Operation::Write(Write {
        key: key.into(),
        value: value.into(),
        options: Some(Box::new(options)),
    })
}

pub(super) fn write_if(key: &str, value: Value, expect: impl Into<Option<Condition>>) -> Operation {
    let expect = expect.into();
    write_with(
        key,
        value,
        WriteOptions {
            expect,
            ..WriteOptions::default()
        },
    )
}

/// A write with a lifetime. Without a value, it keeps the present one.
pub(super) fn write_with_lifetime(
    key: &str,
    value: impl Into<Option<Value>>,
    lifetime: SetLifetime,
) -> Operation {
    write_with(
        key,
        value,
        WriteOptions {
            lifetime,
            ..WriteOptions::default()
        },
    )
}

pub(super) fn replace(key: &str, value: Value) -> Operation {
    write_with(
        key,
        value,
        WriteOptions {
            shows: WriteShows::Previous,
            ..WriteOptions::default()
        },
    )
}

pub(super) fn add(key: &str, delta: i64) -> Operation {
    Operation::Add(Add {
        key: key.into(),
        delta,
        options: None,
    })
}

pub(super) fn add_with(key: &str, delta: i64, options: AddOptions) -> Operation {
    Operation::Add(Add {
        key: key.into(),
        delta,
        options: Some(Box::new(options)),
    })
}

/// An addition with a lifetime for a new key.
pub(super) fn add_with_lifetime(key: &str, delta: i64, lifetime: SetLifetime) -> Operation {
    add_with(
        key,
        delta,
        AddOptions {
            lifetime,
            ..AddOptions::default()
        },
    )
}

pub(super) fn transition(key: &str, to: &str) -> Operation {
    Operation::Transition(Transition {
        key: key.into(),
        to: to.into(),
        options: None,
    })
}

pub(super) fn transition_with(key: &str, to: &str, options: TransitionOptions) -> Operation {
    Operation::Transition(Transition {
        key: key.into(),
        to: to.into(),
        options: Some(Box::new(options)),
    })
}

pub(super) fn delete(key: &str) -> Operation {
    delete_if(key, None)
}

pub(super) fn delete_if(key: &str, expect: impl Into<Option<Condition>>) -> Operation {
    Operation::Delete(Delete {
        key: key.into(),
        expect: expect.into().map(Box::new),
    })
}

pub(super) fn ttl(after: u64) -> SetLifetime {
    SetLifetime::Ttl(ms(after))
}

pub(super) fn with_session(id: &str, create_revision: impl Into<Option<Revision>>) -> SetLifetime {
    SetLifetime::Session {
        id: id.into(),
        create_revision: create_revision.into(),
    }
}

pub(super) fn open(id: &str, ttl: u64, on_existing: OnExisting) -> Call {
    let open = OpenSession {
        id: id.into(),
        ttl: ms(ttl),
        on_existing,
    };
    Call::Open(open, None)
}

pub(super) fn life(id: &str, create_revision: Revision) -> SessionLife {
    SessionLife {
        id: id.into(),
        create_revision,
    }
}

pub(super) fn renew(id: &str, create_revision: Revision) -> Call {
    Call::Renew(life(id, create_revision))
}

pub(super) fn close(id: &str, create_revision: Revision) -> Call {
    Call::Close(life(id, create_revision), None)
}

/// A machine whose states are written as `name: next next (timeout-in-ms next)`. The first state is the initial one.
pub(super) fn protocol(name: &str, key_prefix: &str, states: &[&str]) -> Machine {
    let state = |line: &&str| {
        let (name, rest) = line.split_once(':').unwrap();
        let (next, timeout) = rest.split_once('(').unwrap_or((rest, ""));
        let next = next.split_whitespace().map(Name::from).collect();
        let timeout = timeout.trim_end_matches(')').split_once(' ');
        let timeout = timeout.map(|(after, next)| Timeout {
            after: ms(after.parse().unwrap()),
            next: next.into(),
        });
        (Name::from(name), State { next, timeout })
    };
    Machine {
        name: name.into(),
        key_prefix: key_prefix.into(),
        initial: states[0].split_once(':').unwrap().0.into(),
        states: states.iter().map(state).collect(),
        revision: 0,
    }
}

pub(super) fn define(machine: Machine) -> Call {
    Call::Define(DefineMachine {
        machine,
        expect: None,
        purpose: Purpose::Define,
    })
}

pub(super) fn undefine(name: &str) -> Call {
    Call::Undefine(DeleteMachine {
        revision: None,
        name: name.into(),
        keys: KeysLeft::InFinalStates,
    })
}

/// Deletes a machine, whatever the states of its keys.
pub(super) fn force_undefine(name: &str) -> Call {
    Call::Undefine(DeleteMachine {
        revision: None,
        name: name.into(),
        keys: KeysLeft::InAnyState,
    })
}

/// The states of a job, in the order in which a job goes through them.
pub(super) const JOB: [&str; 4] = [
    "new: running dropped",
    "running: running done (10 new)",
    "done:",
    "dropped:",
];

pub(super) fn job() -> Machine {
    protocol("m", "m/", &JOB)
}
