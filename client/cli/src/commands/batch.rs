//! `batch`.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::time::SystemTime;

use soloist::v1;
use soloist::v1::op_result::Result as OpResult;

use crate::command_line::BatchArgs;
use crate::connect::Target;
use crate::failure::Failure;
use crate::output::{Out, json, text};

pub(super) async fn batch(target: &Target, args: &BatchArgs, out: &Out) -> Result<i32, Failure> {
    let mut input = read_json(&args.file)?;
    if input.is_array() {
        input = serde_json::json!({ "ops": input });
    }
    let request = json::parse::<v1::BatchRequest>("soloist.v1.BatchRequest", &input);
    let request = request.map_err(|why| in_file(&args.file, &why))?;
    let client = target.connect().await?;
    let response = client.call(request).await?;
    out.message(
        "BatchResponse",
        &response,
        |style| {
            let mut lines: Vec<_> = response.results.iter().map(line).collect();
            lines.push(style.dim(format!("revision {}", response.revision)));
            lines.join("\n")
        },
        || {
            response
                .results
                .iter()
                .map(value)
                .collect::<Vec<_>>()
                .join("\n")
        },
    )?;
    Ok(0)
}

/// What came of an operation, on one line.
fn line(result: &v1::OpResult) -> String {
    match &result.result {
        Some(OpResult::Read(read)) => match &read.entry {
            Some(entry) => {
                let value = text::value(entry.value.as_ref());
                format!("read: {value}  {}", text::about(entry, SystemTime::now()))
            }
            None => "read: there is no such key".to_owned(),
        },
        Some(OpResult::Write(_)) => "written".to_owned(),
        Some(OpResult::Add(add)) => format!("added: the sum is {}", add.value),
        Some(OpResult::Transition(moved)) => format!("moved from {}", moved.from),
        Some(OpResult::Delete(deleted)) => match &deleted.previous {
            Some(_) => "deleted".to_owned(),
            None => "deleted: there was no such key".to_owned(),
        },
        Some(OpResult::Error(error)) => format!("refused: {}", error.message),
        None => String::new(),
    }
}

/// What a script wants of an operation: the value that it read or made.
fn value(result: &v1::OpResult) -> String {
    match &result.result {
        Some(OpResult::Read(read)) => {
            let value = read.entry.as_ref().and_then(|entry| entry.value.as_ref());
            text::value(value)
        }
        Some(OpResult::Write(written)) => written.revision.to_string(),
        Some(OpResult::Add(add)) => add.value.to_string(),
        Some(OpResult::Transition(moved)) => moved.from.clone(),
        Some(OpResult::Delete(deleted)) => i32::from(deleted.previous.is_some()).to_string(),
        _ => String::new(),
    }
}

/// Reads JSON from a file, or from standard input.
pub(super) fn read_json(file: &Path) -> Result<serde_json::Value, Failure> {
    let mut text = String::new();
    let read = match file == Path::new("-") {
        true => std::io::stdin().lock().read_to_string(&mut text).map(drop),
        false => fs::read_to_string(file).map(|read| text = read),
    };
    read.map_err(|error| {
        let is_json = file.to_string_lossy().starts_with(['[', '{']);
        let hint = "; JSON itself goes to standard input, with - as the file";
        in_file(file, &format!("{error}{}", if is_json { hint } else { "" }))
    })?;
    serde_json::from_str(&text).map_err(|error| in_file(file, &error.to_string()))
}

pub(super) fn in_file(file: &Path, why: &str) -> Failure {
    match file == Path::new("-") {
        true => Failure::Arguments(format!("standard input: {why}")),
        false => Failure::Arguments(format!("{}: {why}", file.display())),
    }
}
