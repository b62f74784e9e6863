//! Watches that are pulled now and then, cut and resumed, while a random program runs: what they are sent must be what
//! happened, as the model has it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::generate::{Deed, call, key, limits, program};
use super::model::Model;
use super::programs::{Next, Run, cases};
use super::*;

/// What a client does with its watch.
#[derive(Clone, Debug)]
enum Act {
    Watch(WatchTarget, Join, WatchShows),
    /// Takes what comes next, of so many bytes.
    Pull(usize),
    /// Takes all that there is.
    PullAll(usize),
    /// Loses its connection and goes on where it was.
    Resume,
    /// The owner tells it what it has not missed while it slept.
    Skip,
}

#[derive(Clone, Copy, Debug)]
enum Join {
    Now,
    /// At so much of a hundredth of all revisions, and a few beyond.
    After(i64),
    Initial,
}

/// One client's watch, and what it knows.
#[derive(Debug)]
struct Replica {
    watch: Watch,
    target: WatchTarget,
    shows: WatchShows,
    stage: Stage,
    /// Whether it is to be told that it has caught up.
    catches_up: bool,
    /// Whether it has been told everything, the last time that it asked.
    sleeps: bool,
    /// What it has been sent: the keys as of `revision`.
    known: BTreeMap<Key, Entry>,
    revision: Revision,
}

#[derive(Debug, PartialEq)]
enum Stage {
    /// It is sent what there was at a revision, and changes have been looked through up to another.
    Initial {
        as_of: Revision,
        looked: Revision,
    },
    Following,
}

/// What a client sees of an entry: the machine as it is now tells when its timeout is due.
fn told(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if let Some(attached) = &mut entry.attached
        && let Some(key_state) = &mut Arc::make_mut(attached).key_state
    {
        key_state.timeout_at = None;
    }
    entry
}

/// The watched keys as they were at a revision.
fn known_at(model: &Model, target: &WatchTarget, revision: Revision) -> BTreeMap<Key, Entry> {
    let mut past = model.past.iter().rev();
    let (_, lines) = past.find(|(at, _)| *at <= revision).unwrap();
    let watched = lines.iter().filter(|(key, _)| watches(target, key));
    watched.cloned().collect()
}

fn watches(target: &WatchTarget, key: &Key) -> bool {
    match target {
        WatchTarget::Key(watched) => key == watched,
        WatchTarget::Prefix(prefix) => key.as_str().starts_with(prefix.as_str()),
    }
}

type Tested<T = ()> = Result<T, TestCaseError>;

impl Replica {
    /// Begins a watch; none if it cannot.
    fn new(
        machine: &StateMachine,
        model: &Model,
        target: WatchTarget,
        from: WatchFrom,
        shows: WatchShows,
    ) -> Tested<Option<Self>> {
        let oldest = machine.usage().oldest_revision;
        let watch = match machine.watch(target.clone(), from, shows) {
            Ok(watch) => watch,
            Err(lost) => {
                let WatchFrom::After(actual) = from else {
                    return Err(TestCaseError::fail(format!("{from:?} is {lost:?}")));
                };
                let limit = model.revision;
                let expected = match actual > limit {
                    true => WatchError::Unknown { limit, actual },
                    false => WatchError::Compacted { oldest, actual },
                };
                prop_assert_eq!(lost, expected);
                prop_assert!(actual > limit || actual < oldest);
                return Ok(None);
            }
        };
        let (stage, revision) = match from {
            WatchFrom::Now => (Stage::Following, model.revision),
            WatchFrom::After(revision) => {
                prop_assert!(oldest <= revision && revision <= model.revision);
                (Stage::Following, revision)
            }
            WatchFrom::Initial => {
                let (as_of, looked) = (model.revision, model.revision);
                (Stage::Initial { as_of, looked }, 0)
            }
        };
        prop_assert_eq!(
            watch.revision(),
            (stage == Stage::Following).then_some(revision)
        );
        let known = match stage {
            Stage::Initial { .. } => BTreeMap::new(),
            Stage::Following => known_at(model, &target, revision),
        };
        Ok(Some(Self {
            watch,
            target,
            shows,
            stage,
            catches_up: !matches!(from, WatchFrom::Now),
            sleeps: false,
            known,
            revision,
        }))
    }

    /// Takes what comes next. False if it is lost.
    fn pull(&mut self, machine: &StateMachine, model: &Model, bytes_max: usize) -> Tested<bool> {
        let oldest = machine.usage().oldest_revision;
        match machine.next_batch(&mut self.watch, bytes_max, Revision::MAX) {
            Err(lost) => {
                self.is_rightly_lost(lost, machine, oldest)?;
                Ok(false)
            }
            Ok(batch) => {
                match &mut self.stage {
                    Stage::Initial { looked, .. } => {
                        prop_assert!(*looked >= oldest, "changes were missed");
                        *looked = model.revision;
                        self.take_initial(batch, model, bytes_max)?;
                    }
                    Stage::Following => {
                        prop_assert!(self.revision >= oldest, "changes were missed");
                        self.take_changes(batch, model, bytes_max)?;
                    }
                }
                let follows = self.stage == Stage::Following;
                prop_assert_eq!(self.watch.revision(), follows.then_some(self.revision));
                Ok(true)
            }
        }
    }

    fn is_rightly_lost(
        &self,
        lost: WatchError,
        machine: &StateMachine,
        oldest: Revision,
    ) -> Tested {
        match self.stage {
            Stage::Following => {
                let actual = self.revision;
                prop_assert_eq!(lost, WatchError::Compacted { oldest, actual });
                prop_assert!(actual < oldest);
            }
            Stage::Initial { as_of, .. } if as_of < oldest => {
                let actual = as_of;
                prop_assert_eq!(lost, WatchError::Compacted { oldest, actual });
            }
            Stage::Initial { looked, .. } => {
                let without_previous = history(machine, looked).iter().any(|change| {
                    change.keeps == Keeps::NoPrevious && watches(&self.target, &change.key)
                });
                prop_assert!(without_previous, "{:?}", lost);
            }
        }
        Ok(())
    }

    fn take_initial(&mut self, batch: WatchBatch, model: &Model, bytes_max: usize) -> Tested {
        let Stage::Initial { as_of, .. } = self.stage else {
            unreachable!("it was just so");
        };
        let WatchBatch {
            updates,
            revision,
            caught_up,
            has_more,
            bytes,
        } = batch;
        let Updates::Initial(entries) = updates else {
            return Err(TestCaseError::fail("it was to be sent what there was"));
        };
        prop_assert_eq!(has_more, HasMore::Yes);
        prop_assert_eq!(entries.is_empty(), caught_up);
        prop_assert!(bytes <= bytes_max || entries.len() == 1);
        for (key, entry) in entries {
            prop_assert!(self.known.keys().all(|before| *before < key), "in order");
            self.known.insert(key, told(&entry));
        }
        if caught_up {
            prop_assert_eq!(revision, as_of);
            prop_assert_eq!(&self.known, &known_at(model, &self.target, as_of));
            self.stage = Stage::Following;
            self.catches_up = false;
        }
        self.revision = if caught_up { as_of } else { 0 };
        prop_assert_eq!(revision, self.revision);
        Ok(())
    }

    fn take_changes(&mut self, batch: WatchBatch, model: &Model, bytes_max: usize) -> Tested {
        let WatchBatch {
            updates,
            revision,
            caught_up,
            has_more,
            bytes,
        } = batch;
        let Updates::Changes(changes) = updates else {
            return Err(TestCaseError::fail("it was to be sent changes"));
        };
        // Every event of every revision up to there, each once, and no other.
        let expected = model.events.iter().filter(|event| {
            self.revision < event.revision
                && event.revision <= revision
                && watches(&self.target, &event.key)
        });
        let expected: Vec<_> = expected
            .map(|event| {
                (
                    event.revision,
                    event.key.clone(),
                    event.cause,
                    event.entry.clone(),
                )
            })
            .collect();
        let sent: Vec<_> = changes
            .iter()
            .map(|change| {
                let entry = change.entry.as_ref().map(told);
                (change.revision, change.key.clone(), change.cause, entry)
            })
            .collect();
        prop_assert_eq!(sent, expected);
        let one = changes
            .iter()
            .all(|change| change.revision == changes[0].revision);
        prop_assert!(one || bytes <= bytes_max);
        for change in changes {
            let previous = change.previous.as_ref().map(told);
            let before = self.known.get(&change.key).cloned();
            match (self.shows, change.keeps) {
                (WatchShows::BeforeAndAfter, Keeps::Previous) => prop_assert_eq!(previous, before),
                _ => prop_assert_eq!(previous, None),
            }
            match change.entry {
                Some(entry) => self.known.insert(change.key, told(&entry)),
                None => self.known.remove(&change.key),
            };
        }
        prop_assert_eq!(&self.known, &known_at(model, &self.target, revision));
        match has_more {
            HasMore::Yes => prop_assert!(self.revision < revision && revision < model.revision),
            HasMore::No => prop_assert_eq!(revision, model.revision),
        }
        self.sleeps = has_more == HasMore::No;
        prop_assert_eq!(caught_up, self.catches_up && self.sleeps);
        self.catches_up &= !caught_up;
        self.revision = revision;
        Ok(())
    }

    /// Does something with the watch. False if it has come to an end.
    fn act(&mut self, act: Act, machine: &StateMachine, model: &Model) -> Tested<bool> {
        match act {
            Act::Watch(target, join, shows) => {
                let from = match join {
                    Join::Now => WatchFrom::Now,
                    Join::After(part) => WatchFrom::After(part * model.revision / 100),
                    Join::Initial => WatchFrom::Initial,
                };
                match Self::new(machine, model, target, from, shows)? {
                    Some(replica) => *self = replica,
                    None => return Ok(false),
                }
            }
            Act::Pull(bytes_max) => return self.pull(machine, model, bytes_max),
            Act::PullAll(bytes_max) => return self.pull_all(machine, model, bytes_max),
            Act::Resume => {
                let known = std::mem::take(&mut self.known);
                let from = match self.stage {
                    Stage::Initial { .. } => WatchFrom::Initial,
                    Stage::Following => WatchFrom::After(self.revision),
                };
                match Self::new(machine, model, self.target.clone(), from, self.shows)? {
                    Some(replica) => *self = replica,
                    None => return Ok(false),
                }
                if let Stage::Following = self.stage {
                    prop_assert_eq!(&self.known, &known);
                }
            }
            Act::Skip if self.sleeps => {
                let mut events = model.events.iter();
                let first = events.find(|event| {
                    event.revision > self.revision && watches(&self.target, &event.key)
                });
                self.revision = first.map_or(model.revision, |event| event.revision - 1);
                self.watch.skip_to(self.revision);
            }
            Act::Skip => {}
        }
        Ok(true)
    }

    fn pull_all(
        &mut self,
        machine: &StateMachine,
        model: &Model,
        bytes_max: usize,
    ) -> Tested<bool> {
        for _ in 0..10_000 {
            if !self.pull(machine, model, bytes_max)? {
                return Ok(false);
            }
            if self.stage == Stage::Following && self.sleeps {
                return Ok(true);
            }
        }
        Err(TestCaseError::fail("it does not come to an end"))
    }
}

fn act() -> BoxedStrategy<Act> {
    let bytes = || select(vec![0, 100, 200, 400, usize::MAX]);
    let join = prop_oneof![
        2 => Just(Join::Now),
        4 => (0..105i64).prop_map(Join::After),
        3 => Just(Join::Initial),
    ];
    let shows = select(vec![WatchShows::After, WatchShows::BeforeAndAfter]);
    let target = prop_oneof![
        key().prop_map(WatchTarget::Key),
        select(vec!["", "", "m/", "m/x", "z"])
            .prop_map(|prefix| WatchTarget::Prefix(prefix.into())),
    ];
    prop_oneof![
        1 => (target, join, shows).prop_map(|(target, join, shows)| Act::Watch(target, join, shows)),
        5 => bytes().prop_map(Act::Pull),
        2 => bytes().prop_map(Act::PullAll),
        1 => Just(Act::Resume),
        1 => Just(Act::Skip),
    ]
    .boxed()
}

/// What clients do between the steps of a program: which of them, and what.
fn acts() -> impl Strategy<Value = Vec<Vec<(usize, Act)>>> {
    vec(vec((0..3usize, act()), 0..4), 1..10)
}

/// What machines leave out of the history: that they are deleted.
fn is_told(deed: &Deed) -> bool {
    !matches!(deed, Deed::Call(Call::Undefine(_)))
}

fn watches_see_what_happens(
    limits: StoreLimits,
    program: Vec<Deed>,
    acts: &[Vec<(usize, Act)>],
) -> Tested {
    let mut machine = StateMachine::new(limits.clone());
    let mut model = Model::new(limits);
    let mut run = Run::new();
    let everything = WatchTarget::Prefix(String::new());
    let mut replicas = Vec::new();
    for from in [WatchFrom::Now, WatchFrom::After(0), WatchFrom::Initial] {
        let shows = WatchShows::BeforeAndAfter;
        let replica = Replica::new(&machine, &model, everything.clone(), from, shows)?;
        replicas.push(replica);
    }
    for (step, deed) in program.into_iter().filter(is_told).enumerate() {
        match run.next(deed, &machine) {
            Next::Nothing => {}
            Next::Call(call) => {
                let expected = model.call(&call, run.now());
                prop_assert_eq!(machine.call(call, run.now()), expected);
            }
            Next::Advance => {
                machine.advance(run.now(), usize::MAX);
                model.advance(run.now());
            }
        }
        keeps_the_latest(&machine, &model)?;
        for (which, act) in &acts[step % acts.len()] {
            let replica = &mut replicas[*which];
            let goes_on = match (replica.as_mut(), act) {
                (Some(replica), act) => replica.act(act.clone(), &machine, &model)?,
                (None, Act::Watch(target, _, shows)) => {
                    let (target, from) = (target.clone(), WatchFrom::Initial);
                    *replica = Replica::new(&machine, &model, target, from, *shows)?;
                    true
                }
                (None, _) => true,
            };
            if !goes_on {
                *replica = None;
            }
        }
    }
    for replica in replicas.iter_mut().flatten() {
        if replica.pull_all(&machine, &model, usize::MAX)? {
            let now = known_at(&model, &replica.target, model.revision);
            prop_assert_eq!(&replica.known, &now);
            prop_assert!(!replica.catches_up);
        }
    }
    Ok(())
}

/// What is kept is exactly what happened after the oldest revision, which is 0 or one that was let go of.
fn keeps_the_latest(machine: &StateMachine, model: &Model) -> Tested {
    let oldest = machine.usage().oldest_revision;
    let lost = model.events.iter().rfind(|event| event.revision <= oldest);
    prop_assert_eq!(oldest, lost.map_or(0, |event| event.revision));
    let kept = history(machine, oldest);
    let kept: Vec<_> = kept
        .iter()
        .map(|change| (change.revision, &change.key))
        .collect();
    let expected = model.events.iter().filter(|event| event.revision > oldest);
    let expected: Vec<_> = expected.map(|event| (event.revision, &event.key)).collect();
    prop_assert_eq!(kept, expected);
    Ok(())
}

/// Programs that change much, with as much time in between.
fn busy_program() -> impl Strategy<Value = Vec<Deed>> {
    (program(40), vec(call().prop_map(Deed::Call), 0..20)).prop_map(|(mut program, more)| {
        program.extend(more);
        program
    })
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn watches_see_what_happens_once_and_in_order(program in busy_program(), acts in acts()) {
        watches_see_what_happens(limits(), program, &acts)?;
    }

    #[test]
    fn watches_are_lost_only_where_changes_are(
        program in busy_program(),
        acts in acts(),
        ring_changes in 1..20usize,
        ring_bytes in select(vec![300, 1_000, 3_000, usize::MAX]),
    ) {
        let limits = StoreLimits { ring_changes, ring_bytes, ..limits() };
        watches_see_what_happens(limits, program, &acts)?;
    }
}
