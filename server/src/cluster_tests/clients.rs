//! Clients that read and change a few keys, and note what they are answered.

use std::rc::Rc;
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;
use soloist_verify::{
    Action, Actual, Capacity, Entry, Expectation, MessageKind, Observed, Outcome, Recorder,
    Refusal, Request, Value as Seen,
};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::calls::{Answer, call, choose};
use super::history::Unknowns;
use super::world::{KEYS, World, draw, pause};
use crate::machine::{
    self, Add, Cause, Condition, Delete, Fingerprint, List, ListShows, Read, RequestId, Revision,
    Value, Write, WriteOptions,
};
use crate::owner::CallError;

const CLIENTS: u32 = 5;

/// More than the calls of a life.
const CAPACITY: u64 = 100_000;

/// How often a call is made that must not count twice.
const TRIES: usize = 8;

/// How long the last reads may take.
const LAST: Duration = Duration::from_secs(50);

pub(super) fn start(world: &Rc<World>) -> JoinSet<(Recorder, Unknowns)> {
    let capacity = Capacity::new(CAPACITY);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        let client = Client {
            world: Rc::clone(world),
            rng: world.rng(u64::from(number) + 10),
            recorder: Recorder::new(number, capacity.clone()),
            unknowns: Unknowns::default(),
        };
        clients.spawn_local(client.run());
    }
    clients
}

struct Client {
    world: Rc<World>,
    rng: StdRng,
    recorder: Recorder,
    unknowns: Unknowns,
}

/// What is known of a change that was asked for.
enum Changed {
    Done {
        revision: Revision,
        observed: Observed,
    },
    Refused(Refusal),
    NotDone,
    Unknown(Option<Revision>),
}

impl Changed {
    /// What is known after one more try.
    fn then(self, now: Self) -> Self {
        match (now, self) {
            // An earlier try may have been applied.
            (Self::NotDone | Self::Unknown(None), Self::Unknown(revision)) => {
                Self::Unknown(revision)
            }
            (now, _) => now,
        }
    }
}

impl From<Changed> for Outcome {
    fn from(changed: Changed) -> Self {
        match changed {
            Changed::Done { revision, observed } => Self::Done { revision, observed },
            Changed::Refused(refusal) => Self::Refused(refusal),
            Changed::NotDone => Self::NotDone,
            Changed::Unknown(_) => Self::Unknown,
        }
    }
}

impl Client {
    async fn run(mut self) -> (Recorder, Unknowns) {
        while !self.world.ends() {
            self.step().await;
            pause(&mut self.rng, 0, 40).await;
        }
        self.read_all().await;
        (self.recorder, self.unknowns)
    }

    fn patience(&mut self) -> Duration {
        match self.rng.random_range(0..4) {
            0 => draw(&mut self.rng, 5, 300),
            _ => draw(&mut self.rng, 300, 3_000),
        }
    }

    async fn step(&mut self) {
        let key = self.rng.random_range(0..4);
        match self.rng.random_range(0..10) {
            0..4 => {
                let patience = self.patience();
                self.read(key, patience).await;
            }
            4 => self.list().await,
            5..7 => self.write(key).await,
            7 => self.delete(key).await,
            _ => self.add().await,
        }
    }

    /// Reads every key until it is answered: so nothing that was acknowledged can be missing unseen.
    async fn read_all(&mut self) {
        for key in 0..4 {
            let mut waited = Duration::ZERO;
            while !self.read(key, Duration::from_secs(5)).await {
                sleep(Duration::from_millis(50)).await;
                waited += Duration::from_millis(50);
                assert!(waited < LAST, "seed {}: no last read", self.world.seed);
            }
        }
    }

    /// Returns whether it was answered.
    async fn read(&mut self, key: u32, patience: Duration) -> bool {
        let Some(node) = choose(&self.world, &mut self.rng) else {
            sleep(Duration::from_millis(10)).await;
            return false;
        };
        let begun = self.recorder.begin(MessageKind::Call, 1, self.world.now());
        let begun = begun.unwrap();
        let read = Read {
            key: KEYS[key as usize].into(),
            expect: None,
        };
        let answer = call(
            &self.world,
            &mut self.rng,
            node,
            patience,
            |owner, deadline| async move { owner.read(read, deadline).await },
        );
        let outcome = match answer.await {
            Answer::Done(read) => Outcome::Done {
                revision: read.revision,
                observed: Observed::Entry(read.entry.as_ref().map(seen)),
            },
            Answer::Error(_) | Answer::NotOwner | Answer::Broken => Outcome::NotDone,
        };
        let request = Request {
            key,
            action: Action::Read,
            expect: None,
        };
        self.count(&outcome);
        self.recorder
            .end(begun, self.world.now(), [(request, outcome)]);
        matches!(outcome, Outcome::Done { .. })
    }

    async fn list(&mut self) {
        let Some(node) = choose(&self.world, &mut self.rng) else {
            return;
        };
        let begun = self.recorder.begin(MessageKind::Batch, 4, self.world.now());
        let begun = begun.unwrap();
        let list = List {
            prefix: "k/".into(),
            after: None,
            page_size: 100,
            page_bytes: 1 << 20,
            shows: ListShows::Entries,
        };
        let patience = self.patience();
        let answer = call(
            &self.world,
            &mut self.rng,
            node,
            patience,
            |owner, deadline| async move { owner.list(list, deadline).await },
        );
        let now = |world: &World| world.now();
        match answer.await {
            Answer::Done(list) => {
                let entries = (0..4).zip(KEYS).map(|(key, name)| {
                    let found = list.entries.iter().find(|(key, _)| key.as_str() == name);
                    (key, found.map(|(_, entry)| seen(entry)))
                });
                let now = now(&self.world);
                self.recorder.end_list(begun, now, list.revision, entries);
            }
            Answer::Error(_) | Answer::NotOwner | Answer::Broken => {
                self.recorder.end(begun, now(&self.world), []);
            }
        }
    }

    async fn write(&mut self, key: u32) {
        // Key 3 is for sums.
        let key = key % 3;
        let value = i64::try_from(self.world.number()).unwrap();
        let expect = match self.rng.random_range(0..4) {
            0 => Some(true),
            1 => Some(false),
            _ => None,
        };
        let write = Write {
            key: KEYS[key as usize].into(),
            value: Some(Value::Int(value)),
            options: expect.map(|exists| {
                Box::new(WriteOptions {
                    expect: Some(Condition::Exists(exists)),
                    ..WriteOptions::default()
                })
            }),
        };
        let request = Request {
            key,
            action: Action::Write(Seen::Int(value)),
            expect: expect.map(Expectation::Exists),
        };
        let tries = self.tries();
        self.change(request, tries, move |owner, id, deadline| {
            let write = write.clone();
            async move {
                let written = owner.write(write, id, deadline).await?;
                Ok((written.revision, Observed::NotReported, written.replayed))
            }
        })
        .await;
    }

    async fn delete(&mut self, key: u32) {
        let key = key % 3;
        let delete = Delete {
            key: KEYS[key as usize].into(),
            expect: None,
        };
        let request = Request {
            key,
            action: Action::Delete,
            expect: None,
        };
        let tries = self.tries();
        self.change(request, tries, move |owner, id, deadline| {
            let delete = delete.clone();
            async move {
                let deleted = owner.delete(delete, id, deadline).await?;
                let observed = Observed::Entry(deleted.previous.as_deref().map(seen));
                Ok((deleted.revision, observed, deleted.replayed))
            }
        })
        .await;
    }

    async fn add(&mut self) {
        let delta = self.rng.random_range(1..10);
        let add = Add {
            key: KEYS[3].into(),
            delta,
            options: None,
        };
        let request = Request {
            key: 3,
            action: Action::Add(delta),
            expect: None,
        };
        self.change(request, TRIES, move |owner, id, deadline| {
            let add = add.clone();
            async move {
                let added = owner.add(add, id, deadline).await?;
                Ok((added.revision, Observed::Sum(added.value), added.replayed))
            }
        })
        .await;
    }

    fn tries(&mut self) -> usize {
        match self.rng.random_range(0..2) {
            0 => 1,
            _ => TRIES,
        }
    }

    /// Asks for a change, with one request id until the outcome is known, `tries` times at most.
    async fn change<F>(
        &mut self,
        request: Request,
        tries: usize,
        ask: impl Fn(crate::owner::OwnerHandle, Option<Box<RequestId>>, tokio::time::Instant) -> F
        + Clone
        + 'static,
    ) where
        F: Future<Output = Result<(Revision, Observed, bool), CallError>> + 'static,
    {
        let begun = self.recorder.begin(MessageKind::Call, 1, self.world.now());
        let begun = begun.unwrap();
        let number = self.world.number();
        let id = (tries > 1).then(|| RequestId {
            id: format!("id-{number}").as_str().into(),
            fingerprint: Fingerprint(u128::from(number)),
        });
        let mut changed = Changed::NotDone;
        for _ in 0..tries {
            let Some(node) = choose(&self.world, &mut self.rng) else {
                sleep(Duration::from_millis(20)).await;
                continue;
            };
            let (ask, id) = (ask.clone(), id.clone().map(Box::new));
            let patience = self.patience();
            let answer = call(
                &self.world,
                &mut self.rng,
                node,
                patience,
                move |owner, deadline| ask(owner, id, deadline),
            );
            let (now, is_replayed) = outcome(answer.await);
            changed = changed.then(now);
            if let Changed::Unknown(Some(revision)) = changed {
                self.unknowns.add(revision, request);
            }
            if matches!(changed, Changed::Done { .. } | Changed::Refused(_)) {
                self.world
                    .count(|counts| counts.replayed += u64::from(is_replayed));
                break;
            }
        }
        let outcome = Outcome::from(changed);
        self.count(&outcome);
        match outcome {
            Outcome::Unknown => self.recorder.end_unknown(begun, [request]),
            _ => self
                .recorder
                .end(begun, self.world.now(), [(request, outcome)]),
        }
    }

    fn count(&self, outcome: &Outcome) {
        self.world.count(|counts| match outcome {
            Outcome::Done { .. } | Outcome::Refused(_) => counts.done += 1,
            Outcome::NotDone => counts.not_done += 1,
            Outcome::Unknown => counts.unknown += 1,
        });
    }
}

/// What an answer to a change means, and whether it is that of an earlier try.
fn outcome(answer: Answer<(Revision, Observed, bool)>) -> (Changed, bool) {
    let changed = match answer {
        Answer::Done((revision, observed, replayed)) => {
            return (Changed::Done { revision, observed }, replayed);
        }
        Answer::Error(CallError::Rejected(refused)) => match refused.cause {
            Cause::KeyExists { .. } | Cause::KeyNotFound | Cause::ExpectationFailed(_) => {
                Changed::Refused(Refusal::Expectation(Actual::NotReported))
            }
            cause => panic!("refused: {cause:?}"),
        },
        Answer::Error(CallError::OutcomeUnknown { revision, .. }) => Changed::Unknown(revision),
        // All of these promise that nothing was changed.
        Answer::Error(_) | Answer::NotOwner => Changed::NotDone,
        Answer::Broken => Changed::Unknown(None),
    };
    (changed, false)
}

/// An entry as the checker has it.
pub(super) fn seen(entry: &machine::Entry) -> Entry {
    let machine::Value::Int(value) = entry.value else {
        panic!("only ints are written: {entry:?}");
    };
    Entry {
        value: Seen::Int(value),
        revision: entry.revision,
        state: None,
    }
}
