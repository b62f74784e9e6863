//! Shrunk evidence: it still shows the violation, no operation of it can go, and a file of it is read again.

use crate::tests::large::{self, Shape};
use crate::tests::notation::{history, report_of};
use crate::{
    Action, Entry, History, Observed, Outcome, PackedOperation, Value, ValueSearch, Verdict,
    Violation,
};

fn violation(history: &History) -> Violation {
    match report_of(history, ValueSearch::OnViolation).verdict {
        Verdict::NotLinearizable(mut violations) => violations.remove(0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_value_that_nobody_wrote_is_its_own_evidence_and_survives_a_file() {
    let shape = Shape {
        operations: 3_000,
        clients: 10,
        keys: 3,
        unknown: 0,
    };
    for seed in 0..10 {
        let mut history = large::history(&shape, seed);
        let place = (1_500..3_000).find(|place| {
            let it = history.operations[*place].unpack();
            it.action == Action::Read && it.entry().is_some()
        });
        let place = place.unwrap();
        let mut dirty = history.operations[place].unpack();
        let Outcome::Done {
            observed: Observed::Entry(Some(Entry { value, .. })),
            ..
        } = &mut dirty.outcome
        else {
            panic!("{dirty:?}");
        };
        *value = Value::Int(-5);
        history.operations[place] = PackedOperation::from(&dirty);
        let found = violation(&history);
        let evidence = &found.evidence;
        assert!(evidence.operations.len() <= 3, "{}", found);
        assert!(found.to_string().contains("read: -5"), "{found}");
        let mut file = Vec::new();
        evidence.write_to(&mut file).unwrap();
        let again = History::read_from(&file[..], 100).unwrap();
        assert_eq!(&again, evidence);
        assert_eq!(violation(&again).kind, found.kind);
    }
}

/// The Write whose value is shown stays, and so does the Write that should have been shown. The rest goes.
#[test]
fn no_operation_of_the_evidence_can_go() {
    let text = "0-9 read none@0; 0-9 write 1 1@1; 10-11 write 2 2@2; 12-13 b.write 3 3@3; 12-15 read 2@2; 14-15 read 1@1";
    let found = violation(&history(text));
    let operations = &found.evidence.operations;
    for place in 0..operations.len() {
        let mut less = found.evidence.clone();
        less.operations.remove(place);
        assert_eq!(
            report_of(&less, ValueSearch::OnViolation).verdict,
            Verdict::Linearizable,
            "{}",
            found
        );
    }
}
