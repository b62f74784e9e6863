//! What all answers of a life, taken together, must be.

use std::collections::BTreeMap;
use std::rc::Rc;

use soloist_verify::{
    Action, History, Initial, Key, Options, Outcome, PackedOperation, Recorder, Request, Verdict,
    Watch, WatchUpdate, check as verify,
};

use super::world::{KEYS, World};
use crate::machine::Revision;

/// Revisions that were named with an unknown outcome, and of what.
#[derive(Debug, Default)]
pub(super) struct Unknowns(Vec<(Revision, Request)>);

impl Unknowns {
    pub(super) fn add(&mut self, revision: Revision, request: Request) {
        self.0.push((revision, request));
    }
}

pub(super) fn check(
    world: &Rc<World>,
    clients: Vec<(Recorder, Unknowns)>,
    watches: Vec<Vec<Watch>>,
) {
    let seed = world.seed;
    let keys = KEYS.map(|name| Key::new(name, Some(Initial::default())));
    let (recorders, unknowns): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
    let mut history = History::merge(keys.to_vec(), vec![], recorders).unwrap();
    history.watches = watches.into_iter().flatten().collect();
    check_revisions(seed, &history, &unknowns);
    let report = verify(&history, Options::default()).unwrap();
    match report.verdict {
        Verdict::Linearizable => {}
        Verdict::NotLinearizable(violations) => {
            let violations: Vec<_> = violations.iter().map(ToString::to_string).collect();
            panic!("seed {seed}: {}", violations.join("\n"));
        }
        verdict => panic!("seed {seed}: {verdict:?}"),
    }
}

/// A revision that was named with an unknown outcome is that of no other change.
fn check_revisions(seed: u64, history: &History, unknowns: &[Unknowns]) {
    let mut changes: BTreeMap<Revision, (u32, Action)> = BTreeMap::new();
    for operation in history.operations.iter().map(PackedOperation::unpack) {
        if let Outcome::Done { revision, .. } = operation.outcome
            && operation.is_change()
        {
            changes.insert(revision, (operation.key, operation.action));
        }
    }
    for (revision, request) in unknowns.iter().flat_map(|unknowns| &unknowns.0) {
        if let Some(change) = changes.get(revision) {
            assert_eq!(
                (request.key, request.action),
                *change,
                "seed {seed}: revision {revision} was named with an unknown outcome, and is another's"
            );
        }
        for (_, update) in history.watches.iter().flat_map(|watch| &watch.updates) {
            if let WatchUpdate::Event {
                key,
                revision: seen,
                entry,
            } = update
                && seen == revision
            {
                let is_it = match (request.action, entry) {
                    (Action::Write(value), Some(entry)) => entry.value == value,
                    (Action::Delete, None) | (Action::Add(_), Some(_)) => true,
                    _ => false,
                };
                assert!(
                    *key == request.key && is_it,
                    "seed {seed}: revision {revision} was named with an unknown outcome of {request:?}, and is another's"
                );
            }
        }
    }
}
