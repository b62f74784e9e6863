//! The values that one worker writes.

use rand::RngExt;
use rand::rngs::SmallRng;
use soloist::v1;

use crate::plan::choices::ValueKind;
use crate::plan::mix::{DISTINCT_BYTES_MIN, Mix, NamedWorkload};
use crate::plan::settings::Settings;

/// Ints that need not be distinct are from 0 to 99, as in the stateful-goroutines workload.
const INT_END: i64 = 100;

/// The low bits of a distinct int count the values of one worker, up to a trillion. The bits above are the worker's number.
const COUNTER_BITS: u32 = 40;

/// In a workload that also adds to its keys, the lowest bits are 0, so that additions do not turn one value into another.
/// Fewer bits are left to count with: 64 million values.
const ADDITION_BITS: u32 = 20;
const COUNTER_BITS_BESIDE_ADDITIONS: u32 = 26;

/// The bytes at the beginning of a text that make it distinct.
const MARK_BYTES: usize = DISTINCT_BYTES_MIN as usize;

/// The endless sequence of values that one worker writes.
#[derive(Debug)]
pub(crate) struct Values {
    form: Form,
    /// The number of the next value; `None` if values need not be distinct.
    next: Option<u64>,
    /// How many of the lowest bits of a distinct int are 0.
    shift: u32,
}

/// The kind of the values. Texts and bytes have random content, which all values of a worker share.
#[derive(Debug)]
enum Form {
    Int,
    Text(String),
    Bytes(Vec<u8>),
}

impl Values {
    /// `worker` is the number of the worker among the workers of all agents.
    pub(crate) fn new(settings: &Settings, worker: u64, rng: &mut SmallRng) -> Self {
        let size = usize::try_from(settings.value_size).unwrap_or(usize::MAX);
        let mut text = || -> String {
            (0..size)
                .map(|_| char::from(rng.random_range(b'a'..=b'z')))
                .collect()
        };
        let (counter_bits, shift) = match settings.mix {
            Mix::Named(NamedWorkload::Mixed) => (COUNTER_BITS_BESIDE_ADDITIONS, ADDITION_BITS),
            _ => (COUNTER_BITS, 0),
        };
        Self {
            form: match settings.value {
                ValueKind::Int => Form::Int,
                ValueKind::Text => Form::Text(text()),
                ValueKind::Bytes => Form::Bytes(text().into_bytes()),
            },
            // Never 0: that is the value of keys that were written before the run.
            next: settings
                .distinct
                .then_some(((worker + 1) << counter_bits) + 1),
            shift,
        }
    }

    pub(crate) fn next(&mut self, rng: &mut SmallRng) -> v1::Value {
        let number = self.next;
        if let Some(next) = &mut self.next {
            *next += 1;
        }
        let kind = match (&mut self.form, number) {
            (Form::Int, None) => v1::value::Kind::Int(rng.random_range(0..INT_END)),
            (Form::Int, Some(number)) => v1::value::Kind::Int((number << self.shift).cast_signed()),
            (Form::Text(text), None) => v1::value::Kind::Text(text.clone()),
            (Form::Text(text), Some(number)) => {
                let mut marked = text.clone();
                marked.replace_range(..MARK_BYTES.min(text.len()), &mark(number, text.len()));
                v1::value::Kind::Text(marked)
            }
            (Form::Bytes(bytes), None) => v1::value::Kind::Bytes(bytes.clone()),
            (Form::Bytes(bytes), Some(number)) => {
                let mark = mark(number, bytes.len());
                bytes[..mark.len()].copy_from_slice(mark.as_bytes());
                v1::value::Kind::Bytes(bytes.clone())
            }
        };
        v1::Value { kind: Some(kind) }
    }
}

/// Returns a number in hexadecimal digits, as many as fit.
fn mark(number: u64, len: usize) -> String {
    let mark = format!("{number:016x}");
    mark[MARK_BYTES - MARK_BYTES.min(len)..].to_owned()
}
