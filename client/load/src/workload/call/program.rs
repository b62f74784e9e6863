//! What the workers of `--call` send, and which answers are right.

use std::fs;
use std::sync::Arc;

use bytes::Bytes;
use http::uri::PathAndQuery;
use prost_reflect::{DynamicMessage, MessageDescriptor, MethodDescriptor};
use tonic::Code;

use crate::plan::call::{CallPlan, CodeName, FieldCheck};
use crate::workload::call::csv_columns::CsvColumns;
use crate::workload::call::fields::{check, check_path};
use crate::workload::call::json::encode;
use crate::workload::call::split::split;
use crate::workload::call::template::{Template, has_placeholders};

/// The largest file of messages, in bytes: all of it stays in memory, encoded.
const DATA_BYTES_MAX: u64 = 1 << 30;

/// A method, what is sent to it, and which answers are right. It is the same for all runs and workers.
#[derive(Debug)]
pub(crate) struct CallProgram {
    /// `/package.Service/Method`.
    pub(crate) path: PathAndQuery,
    pub(crate) method: MethodDescriptor,
    /// What each call sends. The calls of a worker take one after the other. There is at least one.
    pub(super) turns: Vec<Turn>,
    expect_code: Vec<CodeName>,
    expect: Vec<FieldCheck>,
    output: MessageDescriptor,
    pub(crate) stream_messages: Option<u64>,
}

/// What one call sends: one message or, if the client streams, any number.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) messages: Vec<Source>,
    /// All messages encoded, if none of them has placeholders.
    pub(super) fixed: Option<Arc<[Bytes]>>,
}

/// One message.
#[derive(Debug)]
pub(super) enum Source {
    /// It never changes.
    Encoded(Bytes),
    Template(Box<Template>),
}

impl CallProgram {
    /// Reads the messages, and makes sure that all of them can be encoded.
    ///
    /// # Errors
    /// If a file cannot be read, or if a message is not what the method takes. The text names the flag and the field.
    pub(crate) fn new(plan: &CallPlan, method: MethodDescriptor) -> Result<Self, String> {
        let turns = turns(plan, &method)?;
        let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
        for check in &plan.expect {
            check_path(&method.output(), check)?;
        }
        if plan.stream_messages.is_some() && !method.is_server_streaming() {
            return Err(format!(
                "--stream-messages: {} answers with one message",
                method.full_name()
            ));
        }
        Ok(Self {
            path: path
                .try_into()
                .expect("names of services and methods fit into a path"),
            turns,
            expect_code: plan.expect_code.clone(),
            expect: plan.expect.clone(),
            output: method.output(),
            stream_messages: plan.stream_messages,
            method,
        })
    }

    /// Returns whether a call has exactly one message in each direction.
    pub(crate) fn is_unary(&self) -> bool {
        !self.method.is_client_streaming() && !self.method.is_server_streaming()
    }

    /// Returns how the messages of a call travel, in the words of gRPC.
    pub(crate) fn kind(&self) -> &'static str {
        match (
            self.method.is_client_streaming(),
            self.method.is_server_streaming(),
        ) {
            (false, false) => "unary",
            (false, true) => "server streaming",
            (true, false) => "client streaming",
            (true, true) => "bidirectional streaming",
        }
    }

    /// Returns the only message of a turn, which never changes.
    #[inline]
    pub(crate) fn fixed_message(&self, turn: u64) -> &[u8] {
        &self.fixed_messages(turn)[0]
    }

    /// Returns the messages of a turn, which never change.
    #[inline]
    pub(crate) fn fixed_messages(&self, turn: u64) -> &Arc<[Bytes]> {
        let fixed = self
            .turns
            .get(turn as usize)
            .and_then(|turn| turn.fixed.as_ref());
        fixed.expect("a call without messages of its own sends those of its turn")
    }

    /// Returns whether a code is an answer, and no failure.
    pub(crate) fn expects(&self, code: Code) -> bool {
        match &self.expect_code[..] {
            [] => code == Code::Ok,
            codes => codes.contains(&CodeName(code)),
        }
    }

    /// Returns whether answers must be decoded.
    pub(crate) fn checks_answers(&self) -> bool {
        !self.expect.is_empty()
    }

    /// Checks the fields of an answer.
    ///
    /// # Errors
    /// If one of them is not what it must be, or if the answer cannot be decoded.
    pub(crate) fn check(&self, answer: &[u8]) -> Result<(), String> {
        let decoded = DynamicMessage::decode(self.output.clone(), answer);
        let decoded = decoded.map_err(|error| format!("the answer cannot be decoded: {error}"))?;
        self.expect
            .iter()
            .try_for_each(|expected| check(&decoded, expected))
    }
}

/// Returns what each call sends. With several messages for a method that takes one, each is a turn; a method that takes a
/// stream gets all messages of one `--data`.
fn turns(plan: &CallPlan, method: &MethodDescriptor) -> Result<Vec<Turn>, String> {
    let mut columns = CsvColumns::default();
    let mut turns = Vec::new();
    for data in &plan.data {
        let text = text_of(data)?;
        let mut sources = Vec::new();
        for message in split(&text) {
            let source = source(method.input(), message, &mut columns);
            sources.push(source.map_err(|error| format!("--data: {error}"))?);
        }
        match method.is_client_streaming() {
            true => turns.push(Turn::new(sources)),
            false => turns.extend(sources.into_iter().map(|one| Turn::new(vec![one]))),
        }
    }
    if turns.is_empty() {
        let empty = match method.is_client_streaming() && !plan.data.is_empty() {
            true => Vec::new(),
            false => vec![Source::Encoded(Bytes::new())],
        };
        turns.push(Turn::new(empty));
    }
    Ok(turns)
}

fn source(
    input: MessageDescriptor,
    text: &str,
    columns: &mut CsvColumns,
) -> Result<Source, String> {
    match has_placeholders(text) {
        true => Template::new(input, text, columns).map(|one| Source::Template(Box::new(one))),
        false => encode(&input, text).map(Source::Encoded),
    }
}

/// Returns the text of `--data`: its value, or the file that it names.
fn text_of(data: &str) -> Result<String, String> {
    let Some(file) = data.strip_prefix('@') else {
        return Ok(data.to_owned());
    };
    let context = |error: &dyn std::fmt::Display| format!("--data @{file}: {error}");
    let bytes = fs::metadata(file).map_err(|error| context(&error))?.len();
    if bytes > DATA_BYTES_MAX {
        let why = format!("the file must have at most {DATA_BYTES_MAX} bytes, not {bytes}");
        return Err(context(&why));
    }
    fs::read_to_string(file).map_err(|error| context(&error))
}

impl Turn {
    fn new(messages: Vec<Source>) -> Self {
        let fixed = messages.iter().map(|source| match source {
            Source::Encoded(bytes) => Some(bytes.clone()),
            Source::Template(_) => None,
        });
        Self {
            fixed: fixed.collect(),
            messages,
        }
    }
}
