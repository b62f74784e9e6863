//! The values that a worker writes.

use rand::RngExt;
use rand::rngs::SmallRng;
use soloist::v1;

use crate::plan::choices::ValueKind;
use crate::plan::mix::{DISTINCT_BYTES_MIN, Mix, NamedWorkload};
use crate::plan::settings::Settings;

/// The values that the seed writes: 0 to 99.
const INT_END: i64 = 100;

/// Bits of a distinct int that count the values of one worker: a trillion. Above are those of the worker.
const COUNTER_BITS: u32 = 40;

/// Where there are additions, the lowest bits are left to them, and fewer to count with: 64 million.
const ADDITION_BITS: u32 = 20;
const COUNTER_BITS_BESIDE_ADDITIONS: u32 = 26;

/// Bytes of a text that tell it from every other.
const MARK_BYTES: usize = DISTINCT_BYTES_MIN as usize;

/// What a worker writes.
#[derive(Debug)]
pub(crate) struct Values {
    form: Form,
    /// The number of the next distinct value, if they are.
    next: Option<u64>,
    /// Zero bits at the end of a distinct int.
    shift: u32,
}

#[derive(Debug)]
enum Form {
    Int,
    Text(String),
    Bytes(Vec<u8>),
}

impl Values {
    /// `number` is that of the worker, among all.
    pub(crate) fn new(settings: &Settings, number: u64, rng: &mut SmallRng) -> Self {
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
            // Never 0, which is what is preloaded.
            next: settings
                .distinct
                .then_some(((number + 1) << counter_bits) + 1),
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

fn mark(number: u64, len: usize) -> String {
    let mark = format!("{number:016x}");
    mark[MARK_BYTES - MARK_BYTES.min(len)..].to_owned()
}
