//! Random calls and programs for property tests.

use std::hash::{DefaultHasher, Hash, Hasher};

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// One step of a random program.
#[derive(Clone, Debug)]
pub(super) enum Action {
    Call(Call),
    /// Repeats the call that was made this many calls ago.
    Again(usize),
    /// Lets this many milliseconds pass.
    Pass(u64),
    /// Does what is due by now.
    Advance,
}

pub(super) fn limits() -> StoreLimits {
    StoreLimits {
        store_bytes: 3_000,
        sessions: 2,
        machines: 2,
        request_id_window: ms(8),
        request_ids: 4,
        ..roomy()
    }
}

const ANSWER_BYTES_MAX: usize = 20;

pub(super) fn key() -> impl Strategy<Value = Key> {
    let keys = vec!["m/1", "m/1", "m/2", "m/2", "m/x/1", "a", "n", "longer"];
    select(keys).prop_map(Key::from)
}

fn value() -> BoxedStrategy<Value> {
    prop_oneof![
        3 => (0..3i64).prop_map(Value::Int),
        1 => "[xy]{0,30}".prop_map(|text| Value::Text(text.into())),
        1 => vec(0..2u8, 0..3).prop_map(|bytes| Value::Bytes(bytes.into())),
    ]
    .boxed()
}

fn state_name() -> impl Strategy<Value = Name> {
    select(vec!["idle", "busy", "done", "lost"]).prop_map(Name::from)
}

fn session_name() -> impl Strategy<Value = Name> {
    select(vec!["s", "s", "s", "s", "t", "u"]).prop_map(Name::from)
}

/// Stands for the present revision of whatever is asked for, until the program runs.
pub(super) const PRESENT: Revision = -1;

fn revision() -> impl Strategy<Value = Revision> {
    prop_oneof![2 => Just(PRESENT), 1 => 0..12i64]
}

fn condition() -> BoxedStrategy<Option<Condition>> {
    let condition = prop_oneof![
        3 => any::<bool>().prop_map(Condition::Exists),
        2 => revision().prop_map(Condition::Revision),
        2 => revision().prop_map(Condition::CreateRevision),
        1 => value().prop_map(Condition::Value),
        2 => state_name().prop_map(Condition::State),
        1 => option::of(session_name()).prop_map(Condition::Session),
    ];
    option::weighted(0.25, condition).boxed()
}

fn lifetime() -> BoxedStrategy<SetLifetime> {
    let session = (session_name(), option::weighted(0.2, revision()));
    prop_oneof![
        2 => Just(SetLifetime::Unlimited),
        2 => Just(SetLifetime::Keep),
        3 => (1..8u64).prop_map(ttl),
        4 => session.prop_map(|(id, create_revision)| SetLifetime::Session { id, create_revision }),
    ]
    .boxed()
}

fn bounds() -> BoxedStrategy<Bounds> {
    let end = || option::of(few());
    (end(), end(), any::<bool>())
        .prop_map(|(one, other, saturate)| {
            // Of two bounds, the lesser is the lower one.
            let (min, max) = match (one, other) {
                (Some(a), Some(b)) => (Some(a.min(b)), Some(a.max(b))),
                ends => ends,
            };
            let on_overflow = match saturate {
                true => OnOverflow::Saturate,
                false => OnOverflow::Refuse,
            };
            Bounds {
                min,
                max,
                on_overflow,
            }
        })
        .boxed()
}

fn few() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -5..6i64, 1 => any::<i64>()]
}

pub(super) fn operation() -> BoxedStrategy<Operation> {
    let read = (key(), condition()).prop_map(|(key, expect)| {
        Operation::Read(Read {
            key,
            expect: expect.map(Box::new),
        })
    });
    let shows = select(vec![WriteShows::Revisions, WriteShows::Previous]);
    let options = (condition(), lifetime(), shows).prop_map(|(expect, lifetime, shows)| {
        Box::new(WriteOptions {
            expect,
            lifetime,
            shows,
        })
    });
    let write = (
        key(),
        option::weighted(0.9, value()),
        option::weighted(0.8, options),
    )
        .prop_map(|(key, value, options)| {
            Operation::Write(Write {
                key,
                value,
                options,
            })
        });
    let options = (condition(), bounds(), lifetime()).prop_map(|(expect, bounds, lifetime)| {
        Box::new(AddOptions {
            expect,
            bounds,
            lifetime,
        })
    });
    let add = (key(), few(), option::weighted(0.8, options)).prop_map(|(key, delta, options)| {
        Operation::Add(Add {
            key,
            delta,
            options,
        })
    });
    let options = (condition(), option::of(value()))
        .prop_map(|(expect, value)| Box::new(TransitionOptions { expect, value }));
    let transition = (key(), state_name(), option::weighted(0.3, options))
        .prop_map(|(key, to, options)| Operation::Transition(Transition { key, to, options }));
    let delete = (key(), condition()).prop_map(|(key, expect)| {
        Operation::Delete(Delete {
            key,
            expect: expect.map(Box::new),
        })
    });
    prop_oneof![2 => read, 9 => write, 3 => add, 5 => transition, 1 => delete].boxed()
}

/// A machine as a user might define it.
fn usual_machine() -> impl Strategy<Value = Machine> {
    select(vec![
        vec!["idle: busy", "busy: idle done", "done:"],
        vec![
            "idle: busy done",
            "busy: busy (2 lost)",
            "done:",
            "lost: idle (3 idle)",
        ],
        vec!["idle: (1 busy)", "busy: (2 idle)"],
        vec!["idle: idle done", "done:"],
        vec!["done:"],
    ])
    .prop_map(|states| protocol("m", "m/", &states))
}

/// Any machine: usual ones, random ones, and ones under other names and prefixes.
fn machine() -> BoxedStrategy<Machine> {
    const STATES: [&str; 4] = ["idle", "busy", "done", "lost"];
    let next = || vec(0..4usize, 0..3);
    let timeout = || option::weighted(0.3, (1..4u64, 0..4usize));
    let any = vec((next(), timeout()), 1..4).prop_map(|states| {
        let name = |state: usize| Name::from(STATES[state % states.len()]);
        let state = |(next, timeout): &(Vec<usize>, Option<(u64, usize)>)| State {
            next: next.iter().map(|next| name(*next)).collect(),
            timeout: timeout.map(|(after, next)| Timeout {
                after: ms(after),
                next: name(next),
            }),
        };
        Machine {
            name: "m".into(),
            key_prefix: "m/".into(),
            initial: name(0),
            states: (0..states.len())
                .map(name)
                .zip(states.iter().map(state))
                .collect(),
            revision: 0,
        }
    });
    let any = any.boxed();
    let others = select(vec![
        ("m", "m"),
        ("n", "n"),
        ("n", "n"),
        ("n", "m/x/"),
        ("o", "m/"),
        ("o", "z"),
    ]);
    let other = (prop_oneof![usual_machine(), any.clone()], others).prop_map(
        |(machine, (name, prefix))| Machine {
            name: name.into(),
            key_prefix: prefix.into(),
            ..machine
        },
    );
    prop_oneof![3 => usual_machine(), 1 => any, 1 => other].boxed()
}

fn definition() -> BoxedStrategy<Call> {
    let expect = prop_oneof![
        any::<bool>().prop_map(Condition::Exists),
        revision().prop_map(Condition::Revision),
    ];
    let purpose = select(vec![Purpose::Define, Purpose::Define, Purpose::Validate]);
    (machine(), option::weighted(0.2, expect), purpose)
        .prop_map(|(machine, expect, purpose)| {
            Call::Define(DefineMachine {
                machine,
                expect,
                purpose,
            })
        })
        .boxed()
}

/// A request id or none. There are so few ids that they are reused for other content. `fingerprinted` fills in the
/// fingerprint.
fn maybe_request_id() -> impl Strategy<Value = Option<RequestId>> {
    option::weighted(0.4, select(vec!["1", "2", "3", "4", "5", "6", "7"]))
        .prop_map(|id| id.map(|id| request_id(id, 0)))
}

pub(super) fn call() -> BoxedStrategy<Call> {
    let life = || {
        (session_name(), revision()).prop_map(|(id, create_revision)| SessionLife {
            id,
            create_revision,
        })
    };
    let on_existing = select(vec![OnExisting::Refuse, OnExisting::TakeOver]);
    let open =
        (session_name(), 2..9u64, on_existing).prop_map(|(id, ttl, on_existing)| OpenSession {
            id,
            ttl: ms(ttl),
            on_existing,
        });
    let budget = || select(vec![ANSWER_BYTES_MAX, ALL]);
    prop_oneof![
        10 => (operation(), maybe_request_id()).prop_map(|(operation, request_id)| Call::One(operation, request_id)),
        5 => (vec((operation(), maybe_request_id()), 1..5), budget())
            .prop_map(|(operations, budget)| Call::Each(operations, budget)),
        5 => (vec(operation(), 1..5), maybe_request_id(), budget())
            .prop_map(|(operations, request_id, budget)| Call::All(operations, request_id, budget)),
        2 => (open, maybe_request_id()).prop_map(|(open, request_id)| Call::Open(open, request_id)),
        1 => life().prop_map(Call::Renew),
        1 => (life(), maybe_request_id()).prop_map(|(life, request_id)| Call::Close(life, request_id)),
        2 => definition(),
        2 => (select(vec!["", "m/", "m/x", "a", "z"]), option::of(select(vec!["/1", "/2", "x/1"])), 1..4usize, maybe_request_id())
            .prop_map(|(prefix, after, limit, request_id)| {
                let after = after.map(|after| format!("{}{after}", prefix.trim_end_matches('/')));
                let after = after.filter(|after| after.starts_with(prefix));
                Call::DeletePrefix(DeletePrefix { prefix: prefix.into(), after, limit }, request_id)
            }),
        1 => select(vec!["m", "n"]).prop_map(undefine),
        1 => select(vec!["m", "n"]).prop_map(force_undefine),
    ]
    .boxed()
}

/// Fills in the fingerprints of request ids: equal content has equal fingerprints.
pub(super) fn fingerprinted(mut call: Call) -> Call {
    let of = |content: String| {
        let mut hasher = DefaultHasher::new();
        content.hash(&mut hasher);
        Fingerprint(hasher.finish().into())
    };
    let each = |operation: &Operation, request_id: &mut Option<RequestId>| {
        if let Operation::Read(_) = operation {
            // A Read cannot have a request id.
            *request_id = None;
        }
        if let Some(request_id) = request_id {
            request_id.fingerprint = of(format!("one {operation:?}"));
        }
    };
    match &mut call {
        Call::One(operation, request_id) => each(operation, request_id),
        Call::Each(operations, _) => {
            for (operation, request_id) in operations {
                each(operation, request_id);
            }
        }
        Call::All(operations, Some(request_id), _) => {
            request_id.fingerprint = of(format!("all {operations:?}"));
        }
        Call::Open(open, Some(request_id)) => request_id.fingerprint = of(format!("{open:?}")),
        Call::DeletePrefix(delete, Some(request_id)) => {
            request_id.fingerprint = of(format!("{delete:?}"));
        }
        Call::Close(life, Some(request_id)) => request_id.fingerprint = of(format!("{life:?}")),
        _ => {}
    }
    call
}

fn action() -> BoxedStrategy<Action> {
    prop_oneof![
        12 => call().prop_map(Action::Call),
        2 => (1..6usize).prop_map(Action::Again),
        3 => (1..4u64).prop_map(Action::Pass),
        3 => Just(Action::Advance),
    ]
    .boxed()
}

/// A random program. Most begin with a session and a machine.
pub(super) fn program(len: usize) -> impl Strategy<Value = Vec<Action>> {
    let start = option::weighted(0.8, usual_machine().prop_map(define));
    let session = option::weighted(0.8, 3..30u64);
    (start, session, vec(action(), 1..len)).prop_map(|(machine, session, actions)| {
        let session = session.map(|ttl| open("s", ttl, OnExisting::Refuse));
        let first = session.into_iter().chain(machine).map(Action::Call);
        first.chain(actions).collect()
    })
}

pub(super) fn list() -> impl Strategy<Value = List> {
    let prefix = || select(vec!["", "m/", "m/x", "longer", "z"]);
    let shows = select(vec![ListShows::Entries, ListShows::Keys]);
    (prefix(), option::of(key()), 1..5usize, 1..40usize, shows).prop_map(
        |(prefix, after, page_size, page_bytes, shows)| List {
            prefix: prefix.into(),
            // A page token always has the prefix of its list.
            after: after
                .map(|after| after.to_string())
                .filter(|after| after.starts_with(prefix)),
            page_size,
            page_bytes,
            shows,
        },
    )
}
