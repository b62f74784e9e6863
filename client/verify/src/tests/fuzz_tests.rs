//! A fuzz test of history files: a file is read and checked, or refused. `soloist_fuzz` tells how inputs are made and
//! replayed.

use soloist_fuzz::{Format, Shape, Target};

use crate::tests::notation::history;
use crate::tests::tables::watched;
use crate::{History, Limits, Options, ReadError, Verdict, check};

/// Most operations of a file.
const OPERATIONS_MAX: usize = 40;

fn check_file(input: &[u8]) -> Shape {
    let history = match History::read_from(input, OPERATIONS_MAX) {
        Ok(history) => history,
        Err(error @ ReadError::Damaged { .. }) => return Shape::of(&error.to_string()),
        Err(error) => return Shape::of(&error.to_string()),
    };
    let mut written = Vec::new();
    history.write_to(&mut written).unwrap();
    assert_eq!(
        History::read_from(&written[..], OPERATIONS_MAX).unwrap(),
        history
    );
    let limits = Limits {
        configuration_bytes: 1 << 16,
        configurations: 500,
        ..Limits::default()
    };
    let options = Options {
        limits,
        ..Options::default()
    };
    let verdict = match check(&history, options) {
        Ok(report) => report.verdict,
        Err(error) => return Shape::of(&error.to_string()),
    };
    match verdict {
        Verdict::NotLinearizable(violations) => violations
            .iter()
            .fold(Shape::of("violations"), |shape, violation| {
                shape.and(Shape::of(&violation.to_string()))
            }),
        other => Shape::of(&format!("{other:?}")),
    }
}

/// The file of a history, without its checksum: so that a mutated one is read.
fn file(history: &History) -> Vec<u8> {
    let mut bytes = Vec::new();
    history.write_to(&mut bytes).unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (lines, _) = text.rsplit_once(r#","crc32c":"#).unwrap();
    format!("{lines}}}}}\n").into_bytes()
}

#[test]
fn a_history_file_is_checked_or_refused() {
    let histories = [
        history("0-1 write 1 1@1; 2-3 read 1@1"),
        history("0-9 write 1 1@1; 2-3 write 2 2@2; 4- add 1 unknown; 5-6 read 2@2"),
        watched(
            "0-1 write 1 1@1; 2-3 b.write x x@2; 4- add 1 unknown",
            "1 a 1; 1 .",
        ),
    ];
    Target::new("histories", Format::Bytes)
        .seeds(histories.iter().map(file))
        .words([
            "\"int\":1",
            "\"digest\":7",
            "\"end\":20",
            "\"start\":10",
            "\"unknown\"",
            "\"read\"",
            "\"revision\":1",
            "null",
            "18446744073709551615",
            "-9223372036854775808",
            "\"a\"",
            "\n",
        ])
        .len_max(3_000)
        .cost(2)
        .run(check_file);
}
