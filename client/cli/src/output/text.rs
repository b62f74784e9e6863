//! Answers for people.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use soloist::v1;
use soloist::v1::value::Kind;

use crate::output::escape::{self, hex, on_one_line};
use soloist_flags::Style;

/// The most bytes of a value that a list shows in hexadecimal, and that a single value does.
const LISTED_BYTES: usize = 16;
const SHOWN_BYTES: usize = 256;

/// A value on one line.
pub(crate) fn value(value: Option<&v1::Value>) -> String {
    match value.and_then(|value| value.kind.as_ref()) {
        Some(Kind::Int(int)) => int.to_string(),
        Some(Kind::Text(text)) => on_one_line(text),
        Some(Kind::Bytes(bytes)) => hex(bytes, LISTED_BYTES),
        None => String::new(),
    }
}

/// A value by itself, with its lines.
pub(crate) fn whole_value(of: Option<&v1::Value>) -> String {
    match of.and_then(|value| value.kind.as_ref()) {
        Some(Kind::Text(text)) if text.contains('\n') => {
            escape::lines(text).trim_end_matches('\n').to_owned()
        }
        Some(Kind::Bytes(bytes)) => hex(bytes, SHOWN_BYTES),
        _ => value(of),
    }
}

/// What there is to know of an entry besides its value, such as `revision 7, created at 3`.
pub(crate) fn about(entry: &v1::Entry, now: SystemTime) -> String {
    let mut about = format!("revision {}", entry.revision);
    if entry.create_revision != entry.revision {
        let _ = write!(about, ", created at {}", entry.create_revision);
    }
    for part in [state(entry, now), lifetime(entry, now)] {
        if !part.is_empty() {
            let _ = write!(about, ", {part}");
        }
    }
    about
}

fn state(entry: &v1::Entry, now: SystemTime) -> String {
    if entry.machine.is_empty() {
        return String::new();
    }
    let mut state = format!(
        "in state {} of {}",
        escape::key(&entry.state),
        escape::key(&entry.machine)
    );
    if let Some(end) = entry.state_expire_time {
        let _ = write!(state, " for {}", left(end, now));
    }
    state
}

fn lifetime(entry: &v1::Entry, now: SystemTime) -> String {
    match (&entry.expire_time, entry.session.as_str()) {
        (Some(end), _) => format!("ends in {}", left(*end, now)),
        (None, "") => String::new(),
        (None, session) => format!("ends with session {}", escape::key(session)),
    }
}

/// How long it is until then, in whole seconds, by this computer's clock.
fn left(end: prost_types::Timestamp, now: SystemTime) -> String {
    let end = SystemTime::try_from(end).unwrap_or(now);
    let left = end.duration_since(now).unwrap_or_default();
    duration(Duration::from_secs(left.as_secs()))
}

/// A duration without the spaces of humantime: `9m52s`.
pub(crate) fn duration(duration: Duration) -> String {
    humantime::format_duration(duration)
        .to_string()
        .replace(' ', "")
}

pub(crate) fn wire_duration(of: Option<&prost_types::Duration>) -> String {
    let of = of.and_then(|of| {
        let nanos = u32::try_from(of.nanos).ok()?;
        Some(Duration::new(u64::try_from(of.seconds).ok()?, nanos))
    });
    of.map(duration).unwrap_or_default()
}

/// One row for each entry: key, value, and the rest.
pub(crate) fn entries(entries: &[v1::Entry], keys_only: bool, style: Style) -> String {
    let now = SystemTime::now();
    let rows: Vec<Vec<String>> = entries
        .iter()
        .map(|entry| {
            let key = escape::key(&entry.key);
            match keys_only {
                true => vec![key],
                false => vec![key, value(entry.value.as_ref()), about(entry, now)],
            }
        })
        .collect();
    table(&rows, |column, text| match column {
        0 => style.name(text),
        2 => style.dim(text),
        _ => text.to_owned(),
    })
}

/// The widest that a column makes others wait for it, in characters.
const COLUMN_MAX: usize = 40;

/// Rows with columns below each other. The last column is as long as it is.
pub(crate) fn table(rows: &[Vec<String>], paint: impl Fn(usize, &str) -> String) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        let widths = cells.map(|cell| cell.chars().count());
        widths
            .filter(|&width| width <= COLUMN_MAX)
            .max()
            .unwrap_or_default()
    };
    let widths: Vec<_> = (0..columns).map(width).collect();
    let lines = rows.iter().map(|row| {
        let mut line = String::new();
        // Nothing follows the last text of a row, not even blanks.
        let end = row.iter().rposition(|cell| !cell.is_empty());
        let end = end.map_or(0, |last| last + 1);
        for (column, cell) in row[..end].iter().enumerate() {
            line.push_str(&paint(column, cell));
            if column + 1 < end {
                let missing = widths[column].saturating_sub(cell.chars().count());
                line.push_str(&" ".repeat(missing + 2));
            }
        }
        line
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// The name of a cause, as a person says it.
pub(crate) fn cause(cause: v1::event::Cause) -> &'static str {
    use v1::event::Cause;
    match cause {
        Cause::Initial => "is",
        Cause::Written => "written",
        Cause::Transitioned => "moved",
        Cause::Deleted => "deleted",
        Cause::Expired => "expired",
        Cause::SessionEnded => "session ended",
        Cause::TimedOut => "timed out",
        Cause::Unspecified => "changed",
    }
}

/// A machine, a line for each state.
pub(crate) fn machine(machine: &v1::Machine, style: Style) -> String {
    let mut text = format!(
        "{}  keys {}*, begins in {}, revision {}",
        style.name(escape::key(&machine.name)),
        escape::key(&machine.key_prefix),
        escape::key(&machine.initial),
        machine.revision
    );
    let mut states: Vec<_> = machine.states.iter().collect();
    states.sort_by_key(|(name, _)| (**name != machine.initial, name.as_str()));
    let rows = states.into_iter().map(|(name, state)| {
        let next: Vec<_> = state.next.iter().map(|next| escape::key(next)).collect();
        let mut moves = match next.is_empty() {
            true => String::new(),
            false => format!("-> {}", next.join(", ")),
        };
        if state.timeout.is_some() {
            let comma = if moves.is_empty() { "" } else { "; " };
            let after = wire_duration(state.timeout.as_ref());
            let next = escape::key(&state.timeout_next);
            let _ = write!(moves, "{comma}after {after} -> {next}");
        }
        if moves.is_empty() {
            moves = "final".to_owned();
        }
        vec![format!("  {}", escape::key(name)), moves]
    });
    text.push('\n');
    text + &table(&rows.collect::<Vec<_>>(), |_, cell| cell.to_owned())
}

/// A session on one line.
pub(crate) fn session(session: &v1::Session, now: SystemTime) -> Vec<String> {
    let ends = session.expire_time.map(|end| left(end, now));
    vec![
        escape::key(&session.id),
        format!("create_revision {}", session.create_revision),
        format!("ttl {}", wire_duration(session.ttl.as_ref())),
        format!("ends in {}", ends.unwrap_or_default()),
        match session.key_count {
            1 => "1 key".to_owned(),
            count => format!("{count} keys"),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other() {
        let rows = [["a", "1", "x"], ["bcd", "22", "y"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(
            table(&rows, |_, cell| cell.to_owned()),
            "a    1   x\nbcd  22  y"
        );
        let rows = [["a", "1", ""], ["b", "", ""], ["c", "", "x"]];
        let rows = rows.map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(table(&rows, |_, cell| cell.to_owned()), "a  1\nb\nc     x");
    }

    #[test]
    fn an_entry_says_how_long_it_lives() {
        let now = SystemTime::UNIX_EPOCH;
        let entry = v1::Entry {
            revision: 7,
            create_revision: 3,
            expire_time: Some(prost_types::Timestamp {
                seconds: 592,
                nanos: 5,
            }),
            machine: "jobs".into(),
            state: "running".into(),
            ..v1::Entry::default()
        };
        let about = about(&entry, now);
        assert_eq!(
            about,
            "revision 7, created at 3, in state running of jobs, ends in 9m52s"
        );
    }
}
