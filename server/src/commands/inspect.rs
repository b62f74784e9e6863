//! `inspect`: a data directory as lines of JSON. Entries, machines and answers are mapped as the contract's JSON mapping says.

use std::error::Error;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde_json::{Value, json};
use soloist::v1;

use super::{finishable, limits};
use crate::journal::inspect::{self, InspectedRecord, StateItem};
use crate::machine::{AppliedRequest, Effect, Machine, OpenedSession, SavedOutcome};
use crate::progress::Progress;
use crate::rpc::responses;

type JsonResult<T> = Result<T, Box<dyn Error>>;

/// Prints the state: a line for each machine, session and key. With a prefix, only the keys that begin with it.
pub(super) fn inspect_state(
    data_dir: &Path,
    prefix: &str,
    progress: &Progress,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let json = Json::new()?;
    let mut lines = Lines::new(out);
    let read = inspect::state(data_dir, &limits(), progress, |item| {
        let is_selected = match &item {
            StateItem::Machine(_) | StateItem::Session(_) => prefix.is_empty(),
            StateItem::Entry(key, _) => key.as_str().starts_with(prefix),
        };
        !is_selected || lines.write(json.item(item).map(|item| item.to_string()))
    });
    read.map_err(finishable)?;
    lines.finish()
}

/// Prints the records of the log. With a prefix, only the changes of keys that begin with it, and no record without any.
pub(super) fn inspect_log(
    data_dir: &Path,
    prefix: &str,
    progress: &Progress,
    out: &mut dyn Write,
) -> Result<(), Box<dyn Error>> {
    let json = Json::new()?;
    let mut lines = Lines::new(out);
    let read = inspect::records(data_dir, &limits(), progress, |mut record| {
        let is_selected = |effect: &Effect| match effect {
            Effect::Changed(change) => change.key.as_str().starts_with(prefix),
            _ => prefix.is_empty(),
        };
        record.effects.retain(is_selected);
        let is_empty = record.effects.is_empty() && !prefix.is_empty();
        is_empty || lines.write(json.record(record))
    });
    read.map_err(finishable)?;
    lines.finish()
}

/// The lines of the output, until one cannot be written.
struct Lines<'a> {
    out: BufWriter<&'a mut dyn Write>,
    written: JsonResult<()>,
}

impl<'a> Lines<'a> {
    fn new(out: &'a mut dyn Write) -> Self {
        Self {
            out: BufWriter::new(out),
            written: Ok(()),
        }
    }

    /// Writes a line. Returns whether to go on.
    fn write(&mut self, line: JsonResult<String>) -> bool {
        self.written = line.and_then(|line| Ok(writeln!(self.out, "{line}")?));
        self.written.is_ok()
    }

    /// Ends the output. That nobody reads it any more, as when it goes to `head`, is no failure.
    fn finish(mut self) -> Result<(), Box<dyn Error>> {
        let written = self.written.and_then(|()| Ok(self.out.flush()?));
        written.or_else(|error| match error.downcast_ref::<io::Error>() {
            Some(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
            _ => Err(error),
        })
    }
}

/// Makes JSON of messages of the contract, by their descriptors.
struct Json(DescriptorPool);

impl Json {
    fn new() -> JsonResult<Self> {
        Ok(Self(DescriptorPool::decode(soloist::FILE_DESCRIPTOR_SET)?))
    }

    /// A message of `soloist.v1`.
    fn message(&self, name: &str, message: &impl Message) -> JsonResult<Value> {
        let descriptor = self.0.get_message_by_name(&format!("soloist.v1.{name}"));
        let descriptor = descriptor.ok_or_else(|| format!("the contract has no {name}"))?;
        let bytes = message.encode_to_vec();
        let dynamic = DynamicMessage::decode(descriptor, bytes.as_slice())?;
        Ok(serde_json::to_value(dynamic)?)
    }

    fn item(&self, item: StateItem) -> JsonResult<Value> {
        Ok(match item {
            StateItem::Machine(machine) => json!({"machine": self.machine(machine)?}),
            StateItem::Session(opened) => json!({"session": self.session(&opened)?}),
            StateItem::Entry(key, entry) => {
                let entry = responses::keyed_entry(&key, entry);
                json!({"entry": self.message("Entry", &entry)?})
            }
        })
    }

    /// A record, with its effects last. Its numbers are text, like every number of 64 bits.
    fn record(&self, record: InspectedRecord) -> JsonResult<String> {
        let time = responses::timestamp(record.time);
        let effects = record.effects.into_iter().map(|effect| self.effect(effect));
        let effects = Value::Array(effects.collect::<JsonResult<_>>()?);
        Ok(format!(
            r#"{{"record":"{}","epoch":"{}","revision":"{}","time":"{time}","effects":{effects}}}"#,
            record.seq, record.epoch, record.revision
        ))
    }

    fn effect(&self, effect: Effect) -> JsonResult<Value> {
        Ok(match effect {
            Effect::Changed(change) => {
                // The log has no entries from before a change, so that they are missing says nothing.
                let event = v1::Event {
                    previous_left_out: false,
                    ..responses::event(change)
                };
                json!({"changed": self.message("Event", &event)?})
            }
            Effect::SessionOpened(opened) => json!({"sessionOpened": self.session(&opened)?}),
            Effect::SessionEnded { id, revision } => {
                json!({"sessionEnded": {"id": id.as_str(), "revision": revision.to_string()}})
            }
            Effect::MachineDefined(machine) => json!({"machineDefined": self.machine(machine)?}),
            Effect::MachineDeleted { name, revision } => {
                json!({"machineDeleted": {"name": name.as_str(), "revision": revision.to_string()}})
            }
            Effect::RequestApplied(AppliedRequest {
                at,
                request_id,
                outcome,
            }) => json!({"requestApplied": {
                "requestId": request_id.id.as_str(),
                "time": responses::timestamp(at).to_string(),
                "answer": self.answer(outcome)?,
            }}),
        })
    }

    fn machine(&self, machine: Machine) -> JsonResult<Value> {
        self.message("Machine", &responses::machine(machine))
    }

    /// A session as it was opened: when it ends is not on disk.
    fn session(&self, opened: &OpenedSession) -> JsonResult<Value> {
        let session = v1::Session {
            id: opened.id.to_string(),
            ttl: Some(responses::duration(opened.ttl)),
            create_revision: opened.create_revision,
            ..v1::Session::default()
        };
        self.message("Session", &session)
    }

    /// The answer to a request, under the name of its call.
    fn answer(&self, outcome: SavedOutcome) -> JsonResult<Value> {
        Ok(match outcome {
            SavedOutcome::One(one) => self.message("OpResult", &responses::op_result(one))?,
            SavedOutcome::All(all) => {
                let answer = responses::batch_response(all);
                json!({"batch": self.message("BatchResponse", &answer)?})
            }
            SavedOutcome::Opened(opened) => {
                let answer = responses::opened_session(opened);
                json!({"openSession": self.message("Session", &answer)?})
            }
            SavedOutcome::Closed(closed) => {
                let answer = responses::close_session_response(&closed);
                json!({"closeSession": self.message("CloseSessionResponse", &answer)?})
            }
            SavedOutcome::DeletedPrefix(deleted) => {
                let answer = responses::delete_prefix_response(deleted);
                json!({"deletePrefix": self.message("DeletePrefixResponse", &answer)?})
            }
        })
    }
}
