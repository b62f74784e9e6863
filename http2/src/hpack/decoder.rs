//! The decoder of header blocks.
//!
//! Source: RFC 7541, sections 3, 4 and 6.

use crate::hpack::classify::Classify;
use crate::hpack::error::HpackError;
use crate::hpack::primitives::{integer, string};
use crate::hpack::static_table::{STATIC_TABLE_LEN, static_entry};
use crate::hpack::table::{ENTRY_OVERHEAD, Table};

/// A buffer for Huffman-coded strings is freed after a block if it has grown above this.
const BUFFER_BYTES_KEPT: usize = 2 * 1_024;

/// Decodes the header blocks of one connection. `C` is what it knows of each entry: see [`Classify`].
#[derive(Debug)]
pub struct Decoder<C> {
    table: Table<C>,
    /// The largest size that the peer may set: SETTINGS_HEADER_TABLE_SIZE, once the peer has acknowledged it.
    size_limit: usize,
    /// Whether the next block has to begin with a size, because the limit has gone below the present one (section 4.2).
    awaits_size: bool,
    list_bytes_max: usize,
    name: Vec<u8>,
    value: Vec<u8>,
}

impl<C: Copy> Decoder<C> {
    /// A decoder with a dynamic table of at most `table_bytes_max`. It takes blocks whose fields have `list_bytes_max` together,
    /// counted as in RFC 9113, section 6.5.2: with 32 bytes more for each.
    #[must_use]
    pub fn new(table_bytes_max: usize, list_bytes_max: usize) -> Self {
        Self {
            table: Table::new(table_bytes_max),
            size_limit: table_bytes_max,
            awaits_size: false,
            list_bytes_max,
            name: Vec::new(),
            value: Vec::new(),
        }
    }

    /// Sets the largest size of the dynamic table: the peer has acknowledged SETTINGS with it. If the table is larger, the next
    /// block has to make it smaller.
    pub fn set_table_bytes_max(&mut self, bytes: usize) {
        self.size_limit = bytes;
        self.awaits_size = self.table.size_max() > bytes;
    }

    /// Calls `field` with the class, name and value of each field.
    ///
    /// # Errors
    /// If the block is not what RFC 7541 allows, or has more than the limit. Nothing can be decoded after that.
    #[inline]
    pub fn decode<K: Classify<Class = C>>(
        &mut self,
        block: &[u8],
        classify: &K,
        mut field: impl FnMut(C, &[u8], &[u8]),
    ) -> Result<(), HpackError> {
        let mut rest = block;
        let mut room = self.list_bytes_max;
        self.size_updates(&mut rest)?;
        while let Some(&byte) = rest.first() {
            if byte < 0x80 {
                self.literal(&mut rest, &mut room, classify, &mut field)?;
                continue;
            }
            let index = integer(&mut rest, 7)?;
            if let Some((name, value)) = static_entry(index) {
                take_room(&mut room, name.len() + value.len())?;
                let class = classify.class_of_static(index);
                field(class, name.as_bytes(), value.as_bytes());
            } else {
                let (class, name, value) = dynamic_entry(&self.table, index)?;
                take_room(&mut room, name.len() + value.len())?;
                field(class, name, value);
            }
        }
        Ok(())
    }

    /// Takes the sizes of the table with which a block may begin.
    #[inline]
    fn size_updates(&mut self, rest: &mut &[u8]) -> Result<(), HpackError> {
        while let Some(0x20..0x40) = rest.first() {
            let size = integer(rest, 5)?;
            if size > self.size_limit {
                let limit = self.size_limit;
                return Err(HpackError::TableSize { size, limit });
            }
            self.table.set_size_max(size);
            self.awaits_size = false;
        }
        match self.awaits_size {
            true => Err(HpackError::MissingSizeUpdate),
            false => Ok(()),
        }
    }

    /// Takes a literal: with indexing, without, or never indexed (section 6.2).
    fn literal<K: Classify<Class = C>>(
        &mut self,
        rest: &mut &[u8],
        room: &mut usize,
        classify: &K,
        field: &mut impl FnMut(C, &[u8], &[u8]),
    ) -> Result<(), HpackError> {
        let (is_indexed, bits) = match rest.first() {
            Some(0x40..) => (true, 6),
            Some(0x20..) => return Err(HpackError::LateSizeUpdate),
            _ => (false, 4),
        };
        let name = match integer(rest, bits)? {
            0 => string(rest, &mut self.name, *room)?,
            index => match static_entry(index) {
                Some((name, _)) => name.as_bytes(),
                // Copied: the entry may have to leave for the new one (section 4.4).
                None => {
                    let (_, name, _) = dynamic_entry(&self.table, index)?;
                    self.name.clear();
                    self.name.extend_from_slice(name);
                    &self.name
                }
            },
        };
        let value = string(rest, &mut self.value, *room)?;
        take_room(room, name.len() + value.len())?;
        let class = classify.class(name, value);
        field(class, name, value);
        if is_indexed {
            self.table.insert(class, name, value);
        }
        self.name.clear();
        self.value.clear();
        if self.name.capacity() + self.value.capacity() > BUFFER_BYTES_KEPT {
            self.name = Vec::new();
            self.value = Vec::new();
        }
        Ok(())
    }

    /// Bytes of memory that the decoder holds.
    #[must_use]
    pub fn held(&self) -> usize {
        self.table.held() + self.name.capacity() + self.value.capacity()
    }
}

/// Takes the size of a field from what is left of the limit.
#[inline]
fn take_room(room: &mut usize, bytes: usize) -> Result<(), HpackError> {
    let left = room.checked_sub(bytes + ENTRY_OVERHEAD);
    *room = left.ok_or(HpackError::ListTooLarge)?;
    Ok(())
}

/// The entry of an index behind the static table.
#[inline]
fn dynamic_entry<C: Copy>(table: &Table<C>, index: usize) -> Result<(C, &[u8], &[u8]), HpackError> {
    let last = STATIC_TABLE_LEN + table.len();
    let at = index.checked_sub(STATIC_TABLE_LEN + 1);
    at.and_then(|at| table.get(at))
        .ok_or(HpackError::Index { index, last })
}
