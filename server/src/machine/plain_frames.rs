//! Plain frames: operations that each succeed or are refused by themselves, many of them packed into one buffer.
//!
//! A list of operations takes 64 bytes for each, and an allocation for each frame. Most operations have a short value and no
//! options. They are packed:
//!
//! ```text
//! kind        1 byte
//! key         its length as a varint, then its bytes
//! the rest    the value of a Write, the number of an Add, the state of a Transition
//! ```
//!
//! The others are in a list beside the buffer, in which a byte stands for each. Another byte ends each frame.

use std::fmt;
use std::{slice, vec};

use super::operation::{
    Add, Delete, EachOutcome, Operation, Outcome, Read, ReadOutcome, Transition, Write,
};
use super::rejection::Rejection;
use super::request_ids::RequestId;
use super::tree::EntryRef;
use super::value::{Key, Name, Revision, Value};
use crate::varint;

/// What a frame counts, besides its operations.
const FRAME_BYTES: usize = 48;

/// Most bytes of a value that is packed, and so copied once more. Longer values are in the list.
const PACKED_VALUE_BYTES_MAX: usize = 256;

/// First capacity of the buffer: at least and at most.
const FIRST_BYTES: (usize, usize) = (256, 4 << 10);

const END: u8 = 0;
const READ: u8 = 1;
const WRITE_INT: u8 = 2;
const WRITE_TEXT: u8 = 3;
const WRITE_BYTES: u8 = 4;
const ADD: u8 = 5;
const TRANSITION: u8 = 6;
const DELETE: u8 = 7;
const OTHER: u8 = 8;
const OTHER_WITH_ID: u8 = 9;

const INTACT: &str = "packed operations are read as they were written";

/// Plain frames, in their order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PlainFrames {
    packed: Vec<u8>,
    /// The operations that are not packed.
    others: Vec<Operation>,
    /// The request ids, of operations that are not packed.
    request_ids: Vec<RequestId>,
    counts: Counts,
}

/// How much plain frames have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    frames: usize,
    operations: usize,
    /// Operations that are no Reads.
    changes: usize,
    /// Bytes of keys and values.
    bytes: usize,
}

/// A place in plain frames: what was there when it was taken.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    packed: usize,
    others: usize,
    request_ids: usize,
    counts: Counts,
}

impl Mark {
    /// Whether there was no frame before.
    #[must_use]
    pub fn is_start(&self) -> bool {
        self.counts.frames == 0
    }
}

impl PlainFrames {
    /// Makes room for a frame of so many bytes on the wire, if there is no room at all.
    #[inline]
    pub fn reserve(&mut self, bytes: usize) {
        if self.packed.capacity() == 0 {
            let (least, most) = FIRST_BYTES;
            self.packed.reserve(bytes.clamp(least, most));
        }
    }

    /// Adds a Read without a condition.
    #[inline]
    pub fn read(&mut self, key: &str) {
        self.begin(READ, key);
    }

    /// Adds a Write of an int, without options.
    #[inline]
    pub fn write_int(&mut self, key: &str, int: i64) {
        self.begin_change(WRITE_INT, key);
        self.put_int(int);
    }

    /// Adds a Write of a text, without options.
    #[inline]
    pub fn write_text(&mut self, key: &str, text: &str) {
        if text.len() > PACKED_VALUE_BYTES_MAX {
            return self.put_other(write(key, Value::Text(text.into())), None);
        }
        self.begin_change(WRITE_TEXT, key);
        self.put_bytes(text.as_bytes());
    }

    /// Adds a Write of bytes, without options.
    #[inline]
    pub fn write_bytes(&mut self, key: &str, bytes: &[u8]) {
        if bytes.len() > PACKED_VALUE_BYTES_MAX {
            return self.put_other(write(key, Value::Bytes(bytes.into())), None);
        }
        self.begin_change(WRITE_BYTES, key);
        self.put_bytes(bytes);
    }

    /// Adds an Add without options.
    #[inline]
    pub fn add(&mut self, key: &str, delta: i64) {
        self.begin_change(ADD, key);
        self.packed.extend_from_slice(&delta.to_le_bytes());
    }

    /// Adds a Transition without options.
    #[inline]
    pub fn transition(&mut self, key: &str, to: &str) {
        self.begin_change(TRANSITION, key);
        self.put_bytes(to.as_bytes());
    }

    /// Adds a Delete without a condition.
    #[inline]
    pub fn delete(&mut self, key: &str) {
        self.begin_change(DELETE, key);
    }

    /// Adds any operation, with its request id if it has one.
    pub fn operation(&mut self, operation: Operation, request_id: Option<RequestId>) {
        if request_id.is_some() {
            return self.put_other(operation, request_id);
        }
        match &operation {
            Operation::Read(Read { key, expect: None }) => self.read(key.as_str()),
            Operation::Write(Write {
                key,
                value: Some(value),
                options: None,
            }) => match value {
                Value::Int(int) => self.write_int(key.as_str(), *int),
                Value::Text(text) if text.len() <= PACKED_VALUE_BYTES_MAX => {
                    self.write_text(key.as_str(), text)
                }
                Value::Bytes(bytes) if bytes.len() <= PACKED_VALUE_BYTES_MAX => {
                    self.write_bytes(key.as_str(), bytes);
                }
                Value::Text(_) | Value::Bytes(_) => self.put_other(operation, None),
            },
            Operation::Add(Add {
                key,
                delta,
                options: None,
            }) => self.add(key.as_str(), *delta),
            Operation::Transition(Transition {
                key,
                to,
                options: None,
            }) => self.transition(key.as_str(), to.as_str()),
            Operation::Delete(Delete { key, expect: None }) => self.delete(key.as_str()),
            Operation::Read(_)
            | Operation::Write(_)
            | Operation::Add(_)
            | Operation::Transition(_)
            | Operation::Delete(_) => self.put_other(operation, None),
        }
    }

    /// Ends a frame, which is what was added since the last one.
    #[inline]
    pub fn end_frame(&mut self) {
        self.packed.push(END);
        self.counts.frames += 1;
    }

    #[inline(always)]
    fn begin(&mut self, kind: u8, key: &str) {
        self.counts.operations += 1;
        match u8::try_from(key.len()) {
            // Its length as a varint is one byte, too.
            Ok(len @ ..0x80) => {
                self.counts.bytes += key.len();
                self.packed.extend_from_slice(&[kind, len]);
                self.packed.extend_from_slice(key.as_bytes());
            }
            _ => {
                self.packed.push(kind);
                self.put_bytes(key.as_bytes());
            }
        }
    }

    #[inline]
    fn begin_change(&mut self, kind: u8, key: &str) {
        self.counts.changes += 1;
        self.begin(kind, key);
    }

    fn put_other(&mut self, operation: Operation, request_id: Option<RequestId>) {
        self.counts.operations += 1;
        self.counts.changes += usize::from(!matches!(operation, Operation::Read(_)));
        self.counts.bytes += operation.byte_len();
        self.others.push(operation);
        self.packed.push(match request_id {
            Some(_) => OTHER_WITH_ID,
            None => OTHER,
        });
        self.request_ids.extend(request_id);
    }

    #[inline]
    fn put_bytes(&mut self, bytes: &[u8]) {
        self.counts.bytes += bytes.len();
        varint::put(&mut self.packed, bytes.len() as u64);
        self.packed.extend_from_slice(bytes);
    }

    /// Puts the value of a Write.
    #[inline]
    fn put_int(&mut self, int: i64) {
        self.counts.bytes += size_of::<i64>();
        self.packed.extend_from_slice(&int.to_le_bytes());
    }

    /// Returns the place where the next frame begins.
    #[must_use]
    #[inline]
    pub fn mark(&self) -> Mark {
        Mark {
            packed: self.packed.len(),
            others: self.others.len(),
            request_ids: self.request_ids.len(),
            counts: self.counts,
        }
    }

    /// Takes back what was added since `mark`.
    pub fn truncate(&mut self, mark: &Mark) {
        self.packed.truncate(mark.packed);
        self.others.truncate(mark.others);
        self.request_ids.truncate(mark.request_ids);
        self.counts = mark.counts;
    }

    /// Moves what was added since `mark` to frames of their own.
    #[must_use]
    pub fn split_off(&mut self, mark: &Mark) -> Self {
        let counts = Counts {
            frames: self.counts.frames - mark.counts.frames,
            operations: self.counts.operations - mark.counts.operations,
            changes: self.counts.changes - mark.counts.changes,
            bytes: self.counts.bytes - mark.counts.bytes,
        };
        self.counts = mark.counts;
        Self {
            packed: self.packed.split_off(mark.packed),
            others: self.others.split_off(mark.others),
            request_ids: self.request_ids.split_off(mark.request_ids),
            counts,
        }
    }

    /// Returns how many frames there are.
    #[must_use]
    pub fn frame_count(&self) -> usize {
        self.counts.frames
    }

    /// Returns how many operations all frames have.
    #[must_use]
    pub fn operation_count(&self) -> usize {
        self.counts.operations
    }

    /// Returns how many operations were added since `mark`.
    #[must_use]
    pub fn operation_count_since(&self, mark: &Mark) -> usize {
        self.counts.operations - mark.counts.operations
    }

    /// Returns the bytes of keys and values of what was added since `mark`.
    #[must_use]
    pub fn bytes_since(&self, mark: &Mark) -> usize {
        self.counts.bytes - mark.counts.bytes
    }

    /// Returns the bytes of memory that the frames count: as much as a list of their operations would take.
    #[must_use]
    pub fn byte_len(&self) -> usize {
        self.counts.frames * FRAME_BYTES
            + self.counts.operations * size_of::<Operation>()
            + self.counts.bytes
            + self.request_ids.len() * size_of::<RequestId>()
    }

    /// Whether all operations are Reads.
    #[must_use]
    pub fn only_reads(&self) -> bool {
        self.counts.changes == 0
    }

    /// The request ids of the operations that have one.
    #[must_use]
    pub fn request_ids(&self) -> &[RequestId] {
        &self.request_ids
    }

    /// The request ids of what was added since `mark`.
    pub fn request_ids_since(&mut self, mark: &Mark) -> &mut [RequestId] {
        &mut self.request_ids[mark.request_ids..]
    }

    /// The operations of all frames, in their order.
    pub fn operations(&self) -> impl Iterator<Item = OperationRef<'_>> {
        Operations {
            packed: Packed(&self.packed),
            others: self.others.iter(),
        }
    }

    /// The operations that were added since `mark`.
    pub fn operations_since(&self, mark: &Mark) -> impl Iterator<Item = OperationRef<'_>> {
        Operations {
            packed: Packed(&self.packed[mark.packed..]),
            others: self.others[mark.others..].iter(),
        }
    }

    /// The operations of all frames as a list.
    #[must_use]
    pub fn into_operations(mut self) -> Vec<Operation> {
        let mut operations = Vec::with_capacity(self.counts.operations);
        let mut unpacking = self.unpack();
        while !unpacking.is_empty() {
            operations.extend(std::iter::from_fn(|| unpacking.next_in_frame()));
        }
        operations
    }

    /// Takes the operations out.
    pub(super) fn unpack(&mut self) -> Unpacking<'_> {
        Unpacking {
            others: std::mem::take(&mut self.others).into_iter(),
            request_ids: std::mem::take(&mut self.request_ids).into_iter(),
            packed: Packed(&self.packed),
        }
    }
}

fn write(key: &str, value: Value) -> Operation {
    Operation::Write(Write {
        key: key.into(),
        value: Some(value),
        options: None,
    })
}

/// An operation that is borrowed from where it waits.
#[derive(Clone, Copy, Debug)]
pub enum OperationRef<'a> {
    /// Reads this key.
    Read(&'a str),
    /// Writes this key.
    Write(&'a str),
    /// Adds to this key.
    Add(&'a str),
    /// Moves this key to another state.
    Transition(&'a str),
    /// Deletes this key.
    Delete(&'a str),
    /// Any operation, which may have options.
    Other(&'a Operation),
}

impl<'a> OperationRef<'a> {
    /// The key.
    #[must_use]
    pub fn key(self) -> &'a str {
        match self {
            Self::Read(key)
            | Self::Write(key)
            | Self::Add(key)
            | Self::Transition(key)
            | Self::Delete(key) => key,
            Self::Other(operation) => operation.key().as_str(),
        }
    }
}

/// Packed operations that were not read yet.
#[derive(Clone, Copy)]
pub(super) struct Packed<'a>(&'a [u8]);

impl<'a> Packed<'a> {
    #[inline]
    fn kind(&mut self) -> u8 {
        let (kind, rest) = self.0.split_first().expect(INTACT);
        self.0 = rest;
        *kind
    }

    #[inline]
    fn bytes(&mut self) -> &'a [u8] {
        let len = varint::take(&mut self.0).expect(INTACT) as usize;
        let (bytes, rest) = self.0.split_at(len);
        self.0 = rest;
        bytes
    }

    #[inline]
    fn text(&mut self) -> &'a str {
        std::str::from_utf8(self.bytes()).expect(INTACT)
    }

    #[inline]
    fn int(&mut self) -> i64 {
        let (int, rest) = self.0.split_first_chunk().expect(INTACT);
        self.0 = rest;
        i64::from_le_bytes(*int)
    }

    /// The operation of this kind, which is packed.
    #[inline]
    fn operation(&mut self, kind: u8) -> Operation {
        let key = self.text();
        let write = |value| write(key, value);
        match kind {
            READ => Operation::Read(Read {
                key: key.into(),
                expect: None,
            }),
            WRITE_INT => write(Value::Int(self.int())),
            WRITE_TEXT => write(Value::Text(self.text().into())),
            WRITE_BYTES => write(Value::Bytes(self.bytes().into())),
            ADD => Operation::Add(Add {
                key: key.into(),
                delta: self.int(),
                options: None,
            }),
            TRANSITION => Operation::Transition(Transition {
                key: key.into(),
                to: Name::from(self.text()),
                options: None,
            }),
            _ => Operation::Delete(Delete {
                key: key.into(),
                expect: None,
            }),
        }
    }
}

/// The operations of plain frames, borrowed.
struct Operations<'a> {
    packed: Packed<'a>,
    others: slice::Iter<'a, Operation>,
}

impl<'a> Iterator for Operations<'a> {
    type Item = OperationRef<'a>;

    fn next(&mut self) -> Option<OperationRef<'a>> {
        while !self.packed.0.is_empty() {
            let packed = &mut self.packed;
            let kind = packed.kind();
            return Some(match kind {
                END => continue,
                OTHER | OTHER_WITH_ID => OperationRef::Other(self.others.next().expect(INTACT)),
                _ => {
                    let key = packed.text();
                    match kind {
                        READ => OperationRef::Read(key),
                        WRITE_INT => {
                            packed.int();
                            OperationRef::Write(key)
                        }
                        WRITE_TEXT | WRITE_BYTES => {
                            packed.bytes();
                            OperationRef::Write(key)
                        }
                        ADD => {
                            packed.int();
                            OperationRef::Add(key)
                        }
                        TRANSITION => {
                            packed.bytes();
                            OperationRef::Transition(key)
                        }
                        _ => OperationRef::Delete(key),
                    }
                }
            });
        }
        None
    }
}

/// The next operation of a frame, as it comes out of the buffer.
pub(super) enum Unpacked<'a> {
    /// A Read of the key of these bytes, without a condition.
    Read(&'a [u8]),
    /// Another operation without options.
    Plain(Operation),
    /// An operation that may have options, and its request id.
    Other(Operation, Option<RequestId>),
}

/// Plain frames whose operations are taken out, one by one.
pub(crate) struct Unpacking<'a> {
    packed: Packed<'a>,
    others: vec::IntoIter<Operation>,
    request_ids: vec::IntoIter<RequestId>,
}

impl<'a> Unpacking<'a> {
    /// Whether no frame is left.
    pub(super) fn is_empty(&self) -> bool {
        self.packed.0.is_empty()
    }

    /// Takes the next operation. None at the end of its frame.
    #[inline(always)]
    pub(super) fn take(&mut self) -> Option<Unpacked<'a>> {
        Some(match self.packed.kind() {
            END => return None,
            READ => Unpacked::Read(self.packed.bytes()),
            OTHER => Unpacked::Other(self.others.next().expect(INTACT), None),
            OTHER_WITH_ID => {
                let request_id = self.request_ids.next();
                Unpacked::Other(self.others.next().expect(INTACT), request_id)
            }
            kind => Unpacked::Plain(self.packed.operation(kind)),
        })
    }

    fn next_in_frame(&mut self) -> Option<Operation> {
        Some(match self.take()? {
            Unpacked::Read(key) => Operation::Read(Read {
                key: key_of(key),
                expect: None,
            }),
            Unpacked::Plain(operation) | Unpacked::Other(operation, _) => operation,
        })
    }
}

/// The key of these bytes.
pub(super) fn key_of(bytes: &[u8]) -> Key {
    std::str::from_utf8(bytes).expect(INTACT).into()
}

/// Takes the outcomes of plain frames, as they are made.
pub trait PlainAnswers: fmt::Debug + Send {
    /// Frames with so many operations in all come next.
    fn reserve(&mut self, frames: usize, operations: usize);

    /// A frame begins.
    fn begin_frame(&mut self);

    /// A Read has found this entry, or none. It has neither a lifetime nor a machine state.
    fn read(&mut self, entry: Option<EntryRef<'_>>, revision: Revision);

    /// Another operation was applied, or any was refused.
    fn operation(&mut self, result: Result<Outcome, Box<Rejection>>);

    /// The frame ends, at this store revision. Its results show so many bytes of values.
    fn end_frame(&mut self, revision: Revision, answer_bytes: usize);

    /// Returns the bytes that the answers take, if they are more than those of the values that they show.
    fn byte_len(&self) -> usize;
}

/// The outcomes as lists.
impl PlainAnswers for Vec<EachOutcome> {
    fn reserve(&mut self, _frames: usize, _operations: usize) {}

    fn begin_frame(&mut self) {
        self.push(EachOutcome {
            results: Vec::new(),
            revision: 0,
            answer_bytes: 0,
        });
    }

    fn read(&mut self, entry: Option<EntryRef<'_>>, revision: Revision) {
        let entry = entry.map(EntryRef::to_entry);
        self.operation(Ok(Outcome::Read(ReadOutcome { entry, revision })));
    }

    fn operation(&mut self, result: Result<Outcome, Box<Rejection>>) {
        self.last_mut().expect(BEGUN).results.push(result);
    }

    fn end_frame(&mut self, revision: Revision, answer_bytes: usize) {
        let outcome = self.last_mut().expect(BEGUN);
        outcome.revision = revision;
        outcome.answer_bytes = answer_bytes;
    }

    fn byte_len(&self) -> usize {
        0
    }
}

const BEGUN: &str = "a frame was begun";
