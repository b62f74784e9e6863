//! The keys of a run as they were before it, without which its history cannot be checked.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::sync::Arc;

use soloist::v1::op_result::Result as Answer;
use soloist::v1::{self, op};
use soloist_verify::{Action, Capacity, History, Initial, Key, Machine, PackedOperation};
use tonic::Request;

use crate::plan::mix::{Mix, NamedWorkload, YCSB_PREFIX};
use crate::plan::settings::Settings;
use crate::record::checker_terms::{machine, wire_entry};
use crate::record::history::{HistorySetup, KeyNumbers, OPERATIONS_MAX, ThreadHistory};
use crate::run::target::Target;

/// Reads of one batch, with which the keys are looked at before the run; fewer if the values take more bytes than these,
/// of which answers may have four times as many.
const BATCH_READS: u64 = 256;
const BATCH_BYTES: u64 = 1 << 20;

/// The keys of a run, as they were before it.
#[derive(Debug)]
pub(crate) struct Before {
    keys: Vec<Key>,
    machines: Vec<Machine>,
    /// What more there was of keys that the run may add.
    beyond: HashMap<u32, Initial>,
    numbers: Arc<KeyNumbers>,
    room: Capacity,
    /// The revision from which on it is so of keys that are not there.
    least: i64,
    /// Everything after it is told to watches.
    pub(crate) revision: i64,
}

impl Before {
    /// Looks at every key.
    pub(crate) async fn look(settings: &Settings, target: &Target) -> Result<Self, String> {
        let said = |what: &dyn Display| format!("cannot look at the keys before the run: {what}");
        let names: Vec<String> = (0..settings.keys)
            .map(|number| settings.mix.key_name(number))
            .collect();
        let machines = match settings.mix {
            Mix::Named(NamedWorkload::Transition) => vec![machine()],
            _ => Vec::new(),
        };
        let mut keys = Vec::with_capacity(names.len());
        let state = target.state(settings.connect_timeout).await;
        let mut state = state.map_err(|error| said(&error))?;
        let reads_max = u64::try_from(target.limits.max_batch_ops).unwrap_or(1);
        let reads = (BATCH_BYTES / settings.value_size.max(1)).min(reads_max);
        for some in names.chunks(reads.clamp(1, BATCH_READS) as usize) {
            let read = |name: &String| v1::Op {
                op: Some(op::Op::Read(v1::ReadRequest {
                    key: name.clone(),
                    expect: None,
                })),
            };
            let batch = v1::BatchRequest {
                ops: some.iter().map(read).collect(),
                ..v1::BatchRequest::default()
            };
            let answer = state.batch(within(batch, settings)).await;
            let results = answer.map_err(|error| said(&error))?.into_inner().results;
            for (name, result) in some.iter().zip(results) {
                let Some(Answer::Read(read)) = result.result else {
                    return Err(said(&"a read was answered as something else"));
                };
                let found = Initial {
                    entry: read.entry.as_ref().and_then(wire_entry),
                    revision: read.revision,
                };
                let mut key = Key::new(name.clone(), Some(found));
                key.machine = (!machines.is_empty()).then_some(0);
                keys.push(key);
            }
        }
        let revision = target.revision().await.unwrap_or(0);
        let numbers = KeyNumbers::new(settings.mix, names);
        let mut beyond = HashMap::new();
        let mut least = None;
        let mut token = settings.mix.adds_keys().then(String::new);
        while let Some(page_token) = token {
            let list = v1::ListRequest {
                prefix: YCSB_PREFIX.to_owned(),
                page_token,
                ..v1::ListRequest::default()
            };
            let page = state.list(within(list, settings)).await;
            let page = page.map_err(|error| said(&error))?.into_inner();
            least = least.or(Some(page.revision));
            for entry in &page.entries {
                if let Some(number) = numbers.of(&entry.key) {
                    let found = Initial {
                        entry: wire_entry(entry),
                        revision: page.revision,
                    };
                    beyond.insert(number, found);
                }
            }
            token = Some(page.next_page_token).filter(|token| !token.is_empty());
        }
        Ok(Self {
            keys,
            machines,
            beyond,
            least: least.unwrap_or(0),
            numbers: Arc::new(numbers),
            room: Capacity::new(OPERATIONS_MAX),
            revision,
        })
    }

    /// The history of the run. The error says why there is none.
    pub(crate) fn complete(
        self,
        history: ThreadHistory,
        settings: &Settings,
    ) -> Result<History, String> {
        let mut operations = Vec::new();
        for part in history.parts {
            operations.append(&mut part?);
        }
        operations.sort_by_key(PackedOperation::order);
        let keys = with_added(&self, settings.mix, &mut operations);
        Ok(History {
            settings: serde_json::Value::Object(settings.by_flag().into_iter().collect()),
            keys,
            machines: self.machines,
            operations,
            watches: history.watches,
        })
    }

    /// What a thread needs to record.
    pub(crate) fn seed(&self) -> HistorySetup {
        HistorySetup {
            numbers: Arc::clone(&self.numbers),
            room: self.room.clone(),
            revision: self.revision,
        }
    }
}

fn within<T>(message: T, settings: &Settings) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(settings.connect_timeout);
    request
}

/// The keys of the beginning, and those that the run has added. What Lists say of keys that were never there, nor asked
/// for, is left out: it can only be true.
fn with_added(before: &Before, mix: Mix, operations: &mut Vec<PackedOperation>) -> Vec<Key> {
    let first = before.keys.len();
    let mut keys = before.keys.clone();
    if !mix.adds_keys() {
        return keys;
    }
    let is_change = |record: &&PackedOperation| {
        let operation = record.unpack();
        operation.action != Action::Read || operation.entry().is_some()
    };
    let touched: HashSet<u32> = (operations.iter().filter(is_change))
        .map(PackedOperation::key)
        .chain(before.beyond.keys().copied())
        .collect();
    operations.retain(|it| (it.key() as usize) < first || touched.contains(&it.key()));
    let end = operations.iter().map(|it| it.key() as usize + 1).max();
    for number in first..end.unwrap_or(0) {
        let found = (before.beyond.get(&(number as u32)).copied()).unwrap_or(Initial {
            entry: None,
            revision: before.least,
        });
        keys.push(Key::new(mix.key_name(number as u64), Some(found)));
    }
    keys
}
