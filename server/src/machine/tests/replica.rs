//! Watches that are read now and then, cut and resumed while a random program runs. They must be sent exactly the events of
//! the model.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::generate::{Action, call, key, limits, program};
use super::model::Model;
use super::programs::{Planned, Run, cases};
use super::*;

/// What a client does with its watch.
#[derive(Clone, Debug)]
enum WatchAction {
    Watch(WatchTarget, Join, WatchShows),
    /// Takes the next batch, of about so many bytes.
    Pull(usize),
    /// Takes batches until there are no more.
    PullAll(usize),
    /// Loses its connection, and watches again from where it was.
    Resume,
    /// Is moved on by the owner to the revision up to which it has missed nothing.
    Skip,
}

/// Where a new watch begins.
#[derive(Clone, Copy, Debug)]
enum Join {
    Now,
    /// After this percentage of all revisions; more than 100 is in the future.
    After(i64),
    Initial,
}

/// One client's watch, and the keys as the client knows them.
#[derive(Debug)]
struct Replica {
    watch: Watch,
    target: WatchTarget,
    shows: WatchShows,
    stage: Stage,
    /// Whether the watch has still to be told that it has caught up.
    catches_up: bool,
    /// Whether the last batch said that there is nothing more.
    sleeps: bool,
    /// The keys as of `revision`, from what was sent.
    known: BTreeMap<Key, Entry>,
    revision: Revision,
}

#[derive(Debug, PartialEq)]
enum Stage {
    /// The initial state is being sent.
    Initial {
        as_of: Revision,
        /// The revision of the last batch: up to there, changes were looked through.
        looked: Revision,
    },
    Following,
}

/// An entry without `timeout_at`, which depends on the machine's present definition.
fn without_timeout(entry: &Entry) -> Entry {
    let mut entry = entry.clone();
    if let Some(attached) = &mut entry.attached
        && let Some(key_state) = &mut Arc::make_mut(attached).key_state
    {
        key_state.timeout_at = None;
    }
    entry
}

/// The watched keys as they were at a revision, in the model.
fn known_at(model: &Model, target: &WatchTarget, revision: Revision) -> BTreeMap<Key, Entry> {
    let mut past = model.past.iter().rev();
    let (_, entries) = past.find(|(at, _)| *at <= revision).unwrap();
    let watched = entries.iter().filter(|(key, _)| watches(target, key));
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
    /// Begins a watch; `None` if it is rightly refused.
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
            Err(error) => {
                let WatchFrom::After(actual) = from else {
                    return Err(TestCaseError::fail(format!("{from:?} is {error:?}")));
                };
                let limit = model.revision;
                let expected = match actual > limit {
                    true => WatchError::Unknown { limit, actual },
                    false => WatchError::Compacted { oldest, actual },
                };
                prop_assert_eq!(error, expected);
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

    /// Takes the next batch. Returns false if the watch is rightly refused.
    fn pull(&mut self, machine: &StateMachine, model: &Model, bytes_max: usize) -> Tested<bool> {
        let oldest = machine.usage().oldest_revision;
        match machine.next_batch(&mut self.watch, bytes_max, Revision::MAX) {
            Err(error) => {
                self.assert_rightly_refused(error, machine, oldest)?;
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

    /// Asserts that the history really lacks what the watch needs.
    fn assert_rightly_refused(
        &self,
        error: WatchError,
        machine: &StateMachine,
        oldest: Revision,
    ) -> Tested {
        match self.stage {
            Stage::Following => {
                let actual = self.revision;
                prop_assert_eq!(error, WatchError::Compacted { oldest, actual });
                prop_assert!(actual < oldest);
            }
            Stage::Initial { as_of, .. } if as_of < oldest => {
                let actual = as_of;
                prop_assert_eq!(error, WatchError::Compacted { oldest, actual });
            }
            Stage::Initial { looked, .. } => {
                let without_previous = history(machine, looked).iter().any(|change| {
                    change.keeps == Keeps::NoPrevious && watches(&self.target, &change.key)
                });
                prop_assert!(without_previous, "{:?}", error);
            }
        }
        Ok(())
    }

    fn take_initial(&mut self, batch: WatchBatch, model: &Model, bytes_max: usize) -> Tested {
        let Stage::Initial { as_of, .. } = self.stage else {
            unreachable!("the caller has just looked");
        };
        let WatchBatch {
            updates,
            revision,
            caught_up,
            has_more,
            bytes,
        } = batch;
        let Updates::Initial(entries) = updates else {
            return Err(TestCaseError::fail("the initial state was due"));
        };
        prop_assert_eq!(has_more, HasMore::Yes);
        prop_assert_eq!(entries.is_empty(), caught_up);
        prop_assert!(bytes <= bytes_max || entries.len() == 1);
        for (key, entry) in entries {
            prop_assert!(
                self.known.keys().all(|before| *before < key),
                "keys are in order"
            );
            self.known.insert(key, without_timeout(&entry));
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
            return Err(TestCaseError::fail("changes were due"));
        };
        // Exactly the events of all revisions up to there.
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
                let entry = change.entry.as_ref().map(without_timeout);
                (change.revision, change.key.clone(), change.cause, entry)
            })
            .collect();
        prop_assert_eq!(sent, expected);
        let one = changes
            .iter()
            .all(|change| change.revision == changes[0].revision);
        prop_assert!(one || bytes <= bytes_max);
        self.follow(changes)?;
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

    /// Applies changes to the keys that the client knows.
    fn follow(&mut self, changes: Vec<Change>) -> Tested {
        for change in changes {
            let previous = change.previous.as_ref().map(without_timeout);
            let before = self.known.get(&change.key).cloned();
            match (self.shows, change.keeps) {
                (WatchShows::BeforeAndAfter, Keeps::Previous) => prop_assert_eq!(previous, before),
                _ => prop_assert_eq!(previous, None),
            }
            match change.entry {
                Some(entry) => self.known.insert(change.key, without_timeout(&entry)),
                None => self.known.remove(&change.key),
            };
        }
        Ok(())
    }

    /// Does something with the watch. Returns false if the watch was rightly refused.
    fn act(&mut self, action: WatchAction, machine: &StateMachine, model: &Model) -> Tested<bool> {
        match action {
            WatchAction::Watch(target, join, shows) => {
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
            WatchAction::Pull(bytes_max) => return self.pull(machine, model, bytes_max),
            WatchAction::PullAll(bytes_max) => return self.pull_all(machine, model, bytes_max),
            WatchAction::Resume => {
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
            WatchAction::Skip if self.sleeps => {
                let mut events = model.events.iter();
                let first = events.find(|event| {
                    event.revision > self.revision && watches(&self.target, &event.key)
                });
                self.revision = first.map_or(model.revision, |event| event.revision - 1);
                self.watch.skip_to(self.revision);
            }
            WatchAction::Skip => {}
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
        Err(TestCaseError::fail("the batches do not end"))
    }
}

fn watch_action() -> BoxedStrategy<WatchAction> {
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
        1 => (target, join, shows).prop_map(|(target, join, shows)| WatchAction::Watch(target, join, shows)),
        5 => bytes().prop_map(WatchAction::Pull),
        2 => bytes().prop_map(WatchAction::PullAll),
        1 => Just(WatchAction::Resume),
        1 => Just(WatchAction::Skip),
    ]
    .boxed()
}

/// What clients do between the steps of a program: the index of the client, and its action.
fn watch_actions() -> impl Strategy<Value = Vec<Vec<(usize, WatchAction)>>> {
    vec(vec((0..3usize, watch_action()), 0..4), 1..10)
}

/// Whether watches are told of an action. The deletion of a machine is no event.
fn is_told(action: &Action) -> bool {
    !matches!(action, Action::Call(Call::Undefine(_)))
}

fn watches_see_what_happens(
    limits: StoreLimits,
    program: Vec<Action>,
    actions: &[Vec<(usize, WatchAction)>],
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
    for (step, action) in program.into_iter().filter(is_told).enumerate() {
        match run.next(action, &machine) {
            Planned::Nothing => {}
            Planned::Call(call) => {
                let expected = model.call(&call, run.now());
                prop_assert_eq!(machine.call(call, run.now()), expected);
            }
            Planned::Advance => {
                machine.advance(run.now(), usize::MAX);
                model.advance(run.now());
            }
        }
        assert_keeps_the_latest(&machine, &model)?;
        for (which, action) in &actions[step % actions.len()] {
            let replica = &mut replicas[*which];
            let goes_on = match (replica.as_mut(), action) {
                (Some(replica), action) => replica.act(action.clone(), &machine, &model)?,
                (None, WatchAction::Watch(target, _, shows)) => {
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

/// Asserts that the history has exactly the events after its oldest revision, which is 0 or that of an evicted event.
fn assert_keeps_the_latest(machine: &StateMachine, model: &Model) -> Tested {
    let oldest = machine.usage().oldest_revision;
    let evicted = model.events.iter().rfind(|event| event.revision <= oldest);
    prop_assert_eq!(oldest, evicted.map_or(0, |event| event.revision));
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

/// A program with more calls at its end, so that much changes.
fn busy_program() -> impl Strategy<Value = Vec<Action>> {
    (program(40), vec(call().prop_map(Action::Call), 0..20)).prop_map(|(mut program, more)| {
        program.extend(more);
        program
    })
}

proptest! {
    #![proptest_config(cases(1_000))]

    #[test]
    fn watches_see_what_happens_once_and_in_order(program in busy_program(), actions in watch_actions()) {
        watches_see_what_happens(limits(), program, &actions)?;
    }

    #[test]
    fn watches_are_refused_only_where_changes_are_evicted(
        program in busy_program(),
        actions in watch_actions(),
        ring_changes in 1..20usize,
        ring_bytes in select(vec![300, 1_000, 3_000, usize::MAX]),
    ) {
        let limits = StoreLimits { ring_changes, ring_bytes, ..limits() };
        watches_see_what_happens(limits, program, &actions)?;
    }
}
