//! The keys of a run as they are before it. Without them its history cannot be checked.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use soloist::v1::op_result::Result as OpAnswer;
use soloist::v1::state_client::StateClient;
use soloist::v1::{self, op};
use soloist_client::Transport;
use soloist_server::progress::Unit;
use soloist_verify::{Action, Capacity, History, Initial, Key, Machine, PackedOperation};
use tonic::Request;

use crate::plan::mix::{Mix, NamedWorkload};
use crate::plan::settings::Settings;
use crate::record::checker_terms::{entry_of_wire, machine};
use crate::record::history::{HistorySetup, OPERATIONS_MAX, ThreadHistory};
use crate::record::key_numbers::KeyNumbers;
use crate::report::live::{Step, Work};
use crate::run::target::Target;

/// The most Reads of one Batch, and the most bytes of their values: a quarter of the largest message that servers allow by
/// default.
const BATCH_READS: u64 = 256;
const BATCH_BYTES: u64 = 1 << 20;

/// What is counted meanwhile.
const KEYS: Unit = Unit::Things("keys");

/// The keys of a run before its first operation.
#[derive(Debug)]
pub(crate) struct Before {
    keys: Vec<Key>,
    machines: Vec<Machine>,
    /// Keys that the run may add and that exist already, by number.
    added: HashMap<u32, Initial>,
    /// The revision at which every other key that the run may add was found not to exist.
    added_revision: i64,
    numbers: Arc<KeyNumbers>,
    /// The revision of the store. Watches are told of everything after it.
    revision: i64,
    room: Capacity,
}

impl Before {
    /// Reads every key that the run may use.
    ///
    /// # Errors
    /// If the server does not answer within the connect timeout, or with an error.
    pub(crate) async fn look(
        settings: &Settings,
        target: &Target,
        work: Work,
    ) -> Result<Self, String> {
        let context = |error: String| format!("cannot read the keys before the run: {error}");
        let mut reader = Reader {
            state: target.client().state_client(),
            settings,
            step: work.step("reading keys", KEYS, Some(settings.keys)),
        };
        let rule = settings.key_names();
        let names: Vec<String> = (0..settings.keys).map(|number| rule.of(number)).collect();
        let machines = match settings.mix {
            Mix::Named(NamedWorkload::Transition) => vec![machine()],
            _ => Vec::new(),
        };
        let reads_max = u64::try_from(target.limits.max_batch_ops).unwrap_or(1);
        let mut keys = reader.read(&names, reads_max).await.map_err(context)?;
        for key in &mut keys {
            key.machine = (!machines.is_empty()).then_some(0);
        }
        let revision = target.revision().await.unwrap_or(0);
        let numbers = KeyNumbers::new(rule, names);
        let (added, added_revision) = match settings.mix.adds_keys() {
            true => {
                reader.step.next("listing keys", KEYS, None);
                reader.list_added(&numbers).await.map_err(context)?
            }
            false => (HashMap::new(), 0),
        };
        Ok(Self {
            keys,
            machines,
            added,
            added_revision,
            numbers: Arc::new(numbers),
            revision,
            room: Capacity::new(OPERATIONS_MAX),
        })
    }

    /// Returns what each thread needs to record a history.
    pub(crate) fn setup(&self) -> HistorySetup {
        HistorySetup {
            numbers: Arc::clone(&self.numbers),
            room: self.room.clone(),
            revision: self.revision,
        }
    }

    /// Returns the history of the run, from what all threads have recorded.
    ///
    /// # Errors
    /// If a worker could not record all of its operations.
    pub(crate) fn complete(
        self,
        history: ThreadHistory,
        settings: &Settings,
    ) -> Result<History, String> {
        let mut operations = Vec::new();
        for worker in history.workers {
            operations.append(&mut worker?);
        }
        operations.sort_by_key(PackedOperation::order);
        let keys = self.with_added(settings, &mut operations);
        Ok(History {
            settings: serde_json::Value::Object(settings.by_flag().into_iter().collect()),
            keys,
            machines: self.machines,
            operations,
            watches: history.watches,
        })
    }

    /// Returns the keys that were there before the run, and those that the run has added. Removes Reads of keys that never
    /// existed: a List reads every key that it could have shown, and these Reads are true anyway.
    fn with_added(&self, settings: &Settings, operations: &mut Vec<PackedOperation>) -> Vec<Key> {
        let first_added = self.keys.len();
        let mut keys = self.keys.clone();
        if !settings.mix.adds_keys() {
            return keys;
        }
        let shows_key = |record: &&PackedOperation| {
            let operation = record.unpack();
            operation.action != Action::Read || operation.entry().is_some()
        };
        let existing: HashSet<u32> = operations
            .iter()
            .filter(shows_key)
            .map(PackedOperation::key)
            .chain(self.added.keys().copied())
            .collect();
        operations.retain(|record| {
            (record.key() as usize) < first_added || existing.contains(&record.key())
        });
        let end = operations
            .iter()
            .map(|record| record.key() as usize + 1)
            .max();
        let names = settings.key_names();
        for number in first_added..end.unwrap_or(0) {
            let found = self
                .added
                .get(&(number as u32))
                .copied()
                .unwrap_or(Initial {
                    entry: None,
                    revision: self.added_revision,
                });
            keys.push(Key::new(names.of(number as u64), Some(found)));
        }
        keys
    }
}

/// Reads keys, on a connection beside the measured ones.
struct Reader<'a> {
    state: StateClient<Transport>,
    settings: &'a Settings,
    step: Step,
}

impl Reader<'_> {
    /// Reads keys by their names, in Batches of at most `reads_max`.
    async fn read(&mut self, names: &[String], reads_max: u64) -> Result<Vec<Key>, String> {
        let reads = (BATCH_BYTES / self.settings.value_size.max(1)).min(reads_max);
        let mut keys = Vec::with_capacity(names.len());
        for names in names.chunks(reads.clamp(1, BATCH_READS) as usize) {
            let read = |name: &String| v1::Op {
                op: Some(op::Op::Read(v1::ReadRequest {
                    key: name.clone(),
                    expect: None,
                })),
            };
            let batch = v1::BatchRequest {
                ops: names.iter().map(read).collect(),
                ..v1::BatchRequest::default()
            };
            let answer = self.state.batch(self.request(batch)).await;
            let answer = answer.map_err(|status| status.to_string())?.into_inner();
            for (name, result) in names.iter().zip(answer.results) {
                let Some(OpAnswer::Read(read)) = result.result else {
                    return Err("a Read was answered with another result".to_owned());
                };
                let found = Initial {
                    entry: read.entry.as_ref().and_then(entry_of_wire),
                    revision: read.revision,
                };
                keys.push(Key::new(name.clone(), Some(found)));
            }
            self.step.set(keys.len() as u64);
        }
        Ok(keys)
    }

    /// Lists the keys that the run may add and that exist already. Returns them by number, and the revision of the list.
    async fn list_added(
        &mut self,
        numbers: &KeyNumbers,
    ) -> Result<(HashMap<u32, Initial>, i64), String> {
        let mut added = HashMap::new();
        let mut revision = None;
        let mut page_token = String::new();
        loop {
            let list = v1::ListRequest {
                prefix: self.settings.key_names().common(),
                page_token,
                ..v1::ListRequest::default()
            };
            let page = self.state.list(self.request(list)).await;
            let page = page.map_err(|status| status.to_string())?.into_inner();
            // The first page has the lowest revision.
            let revision = *revision.get_or_insert(page.revision);
            for entry in &page.entries {
                if let Some(number) = numbers.of(&entry.key) {
                    let found = Initial {
                        entry: entry_of_wire(entry),
                        revision: page.revision,
                    };
                    added.insert(number, found);
                }
            }
            self.step.add(page.entries.len() as u64);
            if page.next_page_token.is_empty() {
                return Ok((added, revision));
            }
            page_token = page.next_page_token;
        }
    }

    fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.settings.connect_timeout);
        request
    }
}
