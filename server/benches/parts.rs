//! Measures parts of the server by themselves: the map, the machine, the codec, and a call to the owner and back.
//!
//! Run with `cargo bench -p soloist-server --features bench`, and with `-- NAME` for some of them. `bench/README.md`
//! has more.

use std::collections::{BTreeMap, BTreeSet};
use std::hint::black_box;
use std::time::{Duration, SystemTime};

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use prost::Message as _;
use soloist::v1;
use soloist_server::bench::{Map, apply_frame, decode_frame};
use soloist_server::config::{Limits, MailboxLimits};
use soloist_server::machine::{
    Add, Condition, DefineMachine, Delete, EachOutcome, Entry, Key, List, ListShows, Machine,
    Operation, PlainFrames, Purpose, Read, State, StateMachine, Time, Transition, Value, Write,
    WriteOptions,
};
use soloist_server::owner::{self, Clock, ConnectionQuota, OwnerLimits};
use tokio::runtime::{self, Runtime};
use tokio::time::Instant;

const FEW: u64 = 5;
const MANY: u64 = 1_000_000;
const VALUE_BYTES: usize = 100;
const ANSWER_BYTES: usize = 4 << 20;

/// Keys of 16 bytes, as in `bench/compare`.
fn key(number: u64) -> Key {
    Key::from(format!("key:{number:012}"))
}

/// Returns a key that no cache can predict: multiples of the golden ratio are spread evenly. Source: Knuth, "The Art of
/// Computer Programming", 6.4.
fn scattered(turn: &mut u64, keys: u64) -> Key {
    *turn = turn.wrapping_add(0x9e37_79b9_7f4a_7c15);
    key(*turn % keys)
}

fn now() -> Time {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Time::since_epoch(since_epoch.expect("the clock is after 1970"))
}

fn int(value: i64) -> Option<Value> {
    Some(Value::Int(value))
}

fn write(key: Key, value: Option<Value>) -> Write {
    Write {
        key,
        value,
        options: None,
    }
}

fn read(key: Key) -> Read {
    Read { key, expect: None }
}

/// A plain frame that reads these keys.
fn plain_frame(keys: impl Iterator<Item = Key>) -> PlainFrames {
    let mut frames = PlainFrames::default();
    for key in keys {
        frames.read(key.as_str());
    }
    frames.end_frame();
    frames
}

fn machine_of(keys: u64) -> StateMachine {
    let mut machine = StateMachine::new(Limits::default().store_limits());
    for number in 0..keys {
        let write = write(key(number), int(1));
        machine.write(write, None, now()).expect("there is room");
    }
    machine
}

/// The map of entries.
fn map(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("map");
    let entry = Entry {
        value: Value::Int(1),
        revision: 1,
        create_revision: 1,
        attached: None,
    };
    for keys in [FEW, 1_000, MANY] {
        let mut map = Map::default();
        for number in 0..keys {
            map.insert(&key(number), entry.clone());
        }
        let mut turn = 0;
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("get", keys), |bencher| {
            bencher.iter_batched(
                || scattered(&mut turn, keys),
                |key| black_box(map.get(&key)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("insert over", keys), |bencher| {
            bencher.iter_batched(
                || scattered(&mut turn, keys),
                |key| map.insert(&key, entry.clone()),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("remove and insert", keys), |bencher| {
            bencher.iter_batched(
                || scattered(&mut turn, keys),
                |key| {
                    map.remove(&key);
                    map.insert(&key, entry.clone());
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("range of 100", keys), |bencher| {
            bencher.iter_batched(
                || scattered(&mut turn, keys),
                |key| map.bytes_from(&key, 100),
                BatchSize::SmallInput,
            );
        });
    }
    group.finish();
}

/// The machine: one operation at a time, and batches.
fn machine(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("machine");
    group.throughput(Throughput::Elements(1));
    let time = now();
    let text = || Some(Value::Bytes(vec![7; VALUE_BYTES].into()));
    type Make = Box<dyn Fn(Key) -> Operation>;
    let kinds: [(&str, Make); 5] = [
        ("read", Box::new(|key| Operation::Read(read(key)))),
        (
            "write int",
            Box::new(|key| Operation::Write(write(key, int(2)))),
        ),
        (
            "write 100 bytes",
            Box::new(move |key| Operation::Write(write(key, text()))),
        ),
        (
            "add",
            Box::new(|key| {
                let options = None;
                Operation::Add(Add {
                    key,
                    delta: 1,
                    options,
                })
            }),
        ),
        (
            "compare and set, refused",
            Box::new(|key| {
                let options = WriteOptions {
                    expect: Some(Condition::Revision(i64::MAX)),
                    ..WriteOptions::default()
                };
                Operation::Write(Write {
                    options: Some(Box::new(options)),
                    ..write(key, int(2))
                })
            }),
        ),
    ];
    for keys in [FEW, MANY] {
        let mut machine = machine_of(keys);
        let mut turn = 0;
        for (kind, make) in &kinds {
            // The kind before wrote bytes: `add` needs ints.
            if *kind == "add" {
                for number in 0..keys {
                    let write = write(key(number), int(1));
                    machine.write(write, None, time).expect("there is room");
                }
            }
            group.bench_function(BenchmarkId::new(*kind, keys), |bencher| {
                bencher.iter_batched(
                    || vec![make(scattered(&mut turn, keys))],
                    |operations| machine.apply_each(operations, &[], ANSWER_BYTES, time),
                    BatchSize::SmallInput,
                );
            });
        }
        group.bench_function(BenchmarkId::new("delete, then write", keys), |bencher| {
            bencher.iter_batched(
                || scattered(&mut turn, keys),
                |key| {
                    let delete = Delete {
                        key: key.clone(),
                        expect: None,
                    };
                    machine
                        .delete(delete, None, time)
                        .expect("no rule forbids it");
                    let write = write(key, int(1));
                    machine.write(write, None, time).expect("there is room")
                },
                BatchSize::SmallInput,
            );
        });
        group.bench_function(BenchmarkId::new("16 writes at once", keys), |bencher| {
            bencher.iter_batched(
                || {
                    let keys = (0..16).map(|_| scattered(&mut turn, keys));
                    keys.map(|key| Operation::Write(write(key, int(3))))
                        .collect::<Vec<_>>()
                },
                |operations| machine.apply_all(operations, None, ANSWER_BYTES, time),
                BatchSize::SmallInput,
            );
        });
        let list = List {
            prefix: "key:".into(),
            after: None,
            page_size: 100,
            page_bytes: ANSWER_BYTES,
            shows: ListShows::Entries,
        };
        group.bench_function(BenchmarkId::new("list of 100", keys), |bencher| {
            bencher.iter(|| machine.list(&list));
        });
    }
    let mut machine = StateMachine::new(Limits::default().store_limits());
    define_ring(&mut machine);
    machine
        .write(write(key(0), int(1)), None, time)
        .expect("there is room");
    let mut moves = ["b", "a"].into_iter().cycle();
    group.bench_function("transition", |bencher| {
        bencher.iter_batched(
            || Transition {
                key: key(0),
                to: moves.next().expect("the cycle is endless").into(),
                options: None,
            },
            |transition| {
                machine
                    .transition(transition, None, time)
                    .expect("the move is allowed")
            },
            BatchSize::NumIterations(2),
        );
    });
    group.finish();
}

/// Defines a machine of two states that allow a move to each other.
fn define_ring(machine: &mut StateMachine) {
    let state = |name: &str, next: &str| {
        let next = BTreeSet::from([next.into()]);
        (
            name.into(),
            State {
                next,
                timeout: None,
            },
        )
    };
    let define = DefineMachine {
        machine: Machine {
            name: "ring".into(),
            key_prefix: "key:".into(),
            initial: "a".into(),
            states: BTreeMap::from([state("a", "b"), state("b", "a")]),
            revision: 0,
        },
        expect: None,
        purpose: Purpose::Define,
    };
    machine
        .define_machine(define)
        .expect("the machine is valid");
}

/// Frames on the wire: our own codec, beside the generated messages.
fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    let limits = Limits::default();
    for operations in [1_u64, 64] {
        let ops = (0..operations).map(|number| v1::Op {
            op: Some(v1::op::Op::Read(v1::ReadRequest {
                key: key(number).to_string(),
                expect: None,
            })),
        });
        let frame = v1::PipelineRequest {
            ops: ops.collect(),
            ..v1::PipelineRequest::default()
        };
        let message = frame.encode_to_vec();
        group.throughput(Throughput::Elements(operations));
        group.bench_function(BenchmarkId::new("decode", operations), |bencher| {
            bencher.iter(|| decode_frame(&message, &limits));
        });
        group.bench_function(
            BenchmarkId::new("decode, generated", operations),
            |bencher| {
                bencher.iter(|| v1::PipelineRequest::decode(message.as_slice()));
            },
        );
        let mut machine = machine_of(operations);
        let frame = plain_frame((0..operations).map(key));
        let time = now();
        group.bench_function(
            BenchmarkId::new("apply and encode", operations),
            |bencher| {
                bencher.iter_batched(
                    || frame.clone(),
                    |frame| apply_frame(&mut machine, frame, ANSWER_BYTES, time),
                    BatchSize::SmallInput,
                );
            },
        );
        let answer = apply_frame(&mut machine, frame, ANSWER_BYTES, time);
        let mut buf = Vec::new();
        let generated =
            v1::PipelineResponse::decode(&answer[5..]).expect("the encoded answer is valid");
        group.bench_function(
            BenchmarkId::new("encode, generated", operations),
            |bencher| {
                bencher.iter(|| {
                    buf.clear();
                    generated.encode(&mut buf)
                });
            },
        );
    }
    group.finish();
}

/// A call to the owner and back, with everything on one thread.
fn owner(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("owner");
    let runtime: Runtime = runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime can be created");
    let _entered = runtime.enter();
    let limits = OwnerLimits {
        mailbox: MailboxLimits::default(),
        answer_bytes: ANSWER_BYTES,
        watches: 1,
    };
    let (handle, _task) = owner::spawn(machine_of(FEW), Clock::set(now()), limits);
    let by = || Instant::now() + Duration::from_secs(60);

    for callers in [1_u64, 110] {
        group.throughput(Throughput::Elements(callers));
        group.bench_function(BenchmarkId::new("reads at once", callers), |bencher| {
            bencher.iter(|| {
                runtime.block_on(async {
                    let calls =
                        (0..callers).map(|caller| handle.read(read(key(caller % FEW)), by()));
                    futures_util::future::join_all(calls).await
                })
            });
        });
    }
    for operations in [1_u64, 16, 64, 512] {
        group.throughput(Throughput::Elements(operations));
        group.bench_function(BenchmarkId::new("frame of reads", operations), |bencher| {
            bencher.iter(|| {
                let frame = plain_frame((0..operations).map(|turn| key(turn % FEW)));
                let quota = ConnectionQuota::new(ANSWER_BYTES);
                let answers = Vec::<EachOutcome>::new();
                let pending = handle.apply_each(frame, answers, quota, by());
                runtime.block_on(pending.expect("there is room").answer())
            });
        });
    }
    group.finish();
}

fn briefly() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
}

criterion_group! {
    name = parts;
    config = briefly();
    targets = map, machine, codec, owner
}
criterion_main!(parts);
