//! A history as JSON Lines, for people and their tools: one line with the keys and machines, then one line each for an
//! operation, with the name of its key, and for a watch; and a last line that counts them.

use std::collections::HashMap;
use std::io::{self, BufRead, Write};

use serde::{Deserialize, Serialize};

use crate::file::{Head, ReadError, damaged};
use crate::history::{History, Watched};
use crate::operation::{Action, Expectation, NEVER, Operation, Outcome, Record, Travel};

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case")]
enum Line {
    Head {
        version: u32,
        #[serde(flatten)]
        head: Head,
    },
    Operation(OperationLine),
    Watch(Watched),
    End {
        operations: usize,
        watches: usize,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OperationLine {
    client: u32,
    message: u32,
    travel: Travel,
    key: String,
    start: u64,
    /// Without it there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    end: Option<u64>,
    action: Action,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    expect: Option<Expectation>,
    outcome: Outcome,
}

/// Writes a history.
///
/// # Errors
///
/// If it cannot be written.
pub fn write<W: Write>(mut to: W, history: &History) -> io::Result<W> {
    let mut line = |line: &Line| {
        serde_json::to_writer(&mut to, line)?;
        to.write_all(b"\n")
    };
    line(&Line::Head {
        version: VERSION,
        head: Head {
            settings: history.settings.clone(),
            keys: history.keys.clone(),
            machines: history.machines.clone(),
        },
    })?;
    for record in &history.operations {
        let it = record
            .operation()
            .map_err(|_| io::Error::other("an operation of no known kind"))?;
        line(&Line::Operation(OperationLine {
            client: it.client,
            message: it.message,
            travel: it.travel,
            key: history.keys[it.key as usize].name.clone(),
            start: it.start,
            end: (it.end != NEVER).then_some(it.end),
            action: it.action,
            expect: it.expect,
            outcome: it.outcome,
        }))?;
    }
    for watch in &history.watches {
        line(&Line::Watch(watch.clone()))?;
    }
    let (operations, watches) = (history.operations.len(), history.watches.len());
    line(&Line::End {
        operations,
        watches,
    })?;
    to.flush()?;
    Ok(to)
}

/// Reads a history of up to `limit` operations.
///
/// # Errors
///
/// If a line is no part of a history, or the last one is missing.
pub fn read(from: impl BufRead, limit: usize) -> Result<History, ReadError> {
    let mut history = History::default();
    let mut numbers: HashMap<String, u32> = HashMap::new();
    let mut is_ended = false;
    for (index, text) in from.lines().enumerate() {
        let number = index + 1;
        let bad = |what: &dyn std::fmt::Display| damaged(format!("line {number}: {what}"));
        let text = match text {
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(bad(&error)),
            text => text?,
        };
        if is_ended {
            return Err(bad(&"there is more after the end"));
        }
        let line: Line = match serde_json::from_str(&text) {
            Ok(line) => line,
            Err(error) if error.is_eof() => return Err(ReadError::Truncated),
            Err(error) if index == 0 => return Err(bad(&error)),
            Err(error) => return Err(bad(&error)),
        };
        match line {
            Line::Head { version, .. } if version != VERSION => {
                return Err(ReadError::OtherVersion { version });
            }
            Line::Head { head, .. } if index == 0 => {
                history.settings = head.settings;
                history.keys = head.keys;
                history.machines = head.machines;
                let names = history.key_numbers().into_iter();
                numbers = names
                    .map(|(name, number)| (name.to_owned(), number))
                    .collect();
                if numbers.len() != history.keys.len() {
                    return Err(bad(&"two keys have one name"));
                }
            }
            Line::Head { .. } => return Err(bad(&"a second head")),
            _ if index == 0 => return Err(ReadError::NotAHistory),
            Line::Operation(it) => {
                let key = numbers
                    .get(&it.key)
                    .ok_or_else(|| bad(&format!("key {:?} is not in the head", it.key)))?;
                if history.operations.len() == limit {
                    return Err(bad(&format!(
                        "there are more operations than the limit of {limit}"
                    )));
                }
                history.operations.push(Record::from(&Operation {
                    client: it.client,
                    message: it.message,
                    travel: it.travel,
                    key: *key,
                    start: it.start,
                    end: it.end.unwrap_or(NEVER),
                    action: it.action,
                    expect: it.expect,
                    outcome: it.outcome,
                }));
            }
            Line::Watch(watch) => history.watches.push(watch),
            Line::End {
                operations,
                watches,
            } => {
                if (operations, watches) != (history.operations.len(), history.watches.len()) {
                    return Err(bad(&"the counts do not fit what was before"));
                }
                is_ended = true;
            }
        }
    }
    if !is_ended {
        return Err(ReadError::Truncated);
    }
    history.validate().map_err(damaged)?;
    Ok(history)
}
