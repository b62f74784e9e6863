//! The pages of a snapshot, cut into chunks that etcd takes: every page after its length, 4 bytes, the lowest first. A chunk
//! may end within a page.

use std::collections::VecDeque;

use bytes::{Buf as _, Bytes, BytesMut};

use crate::journal::stored::Damaged;

/// Bytes of a part of what is too large for one request. etcd takes 1.5 MiB with everything around it.
pub(super) const PART_BYTES: usize = 1 << 20;

/// No page is longer: a key's entry, or an answer that is remembered, may have a page of its own.
const PAGE_BYTES_MAX: u64 = 1 << 30;

const LEN_BYTES: usize = size_of::<u32>();

/// Cuts pages into chunks.
#[derive(Debug, Default)]
pub(super) struct ChunkWriter {
    /// What is not in a chunk yet.
    bytes: BytesMut,
}

impl ChunkWriter {
    /// Adds a page.
    pub(super) fn add(&mut self, page: &[u8]) {
        let len = u32::try_from(page.len()).expect("a page is much smaller");
        self.bytes.extend_from_slice(&len.to_le_bytes());
        self.bytes.extend_from_slice(page);
    }

    /// Takes the next chunk, if there is a whole one.
    pub(super) fn next_chunk(&mut self) -> Option<Bytes> {
        (self.bytes.len() >= PART_BYTES).then(|| self.bytes.split_to(PART_BYTES).freeze())
    }

    /// Takes what is left, after the last page and the last whole chunk.
    pub(super) fn last_chunk(self) -> Option<Bytes> {
        (!self.bytes.is_empty()).then(|| self.bytes.freeze())
    }
}

/// Joins chunks to pages.
#[derive(Debug, Default)]
pub(super) struct ChunkReader {
    chunks: VecDeque<Bytes>,
    /// Bytes in the chunks.
    len: u64,
}

impl ChunkReader {
    /// Adds the next chunk.
    pub(super) fn add(&mut self, chunk: Bytes) {
        self.len += chunk.len() as u64;
        self.chunks.push_back(chunk);
    }

    /// Takes the next page, if it is whole.
    ///
    /// # Errors
    /// If no server can have written this.
    pub(super) fn next_page(&mut self) -> Result<Option<Bytes>, Damaged> {
        let Some(len) = self.page_len() else {
            return Ok(None);
        };
        if len > PAGE_BYTES_MAX {
            return Err(Damaged(format!("a page has {len} bytes")));
        }
        if self.len < LEN_BYTES as u64 + len {
            return Ok(None);
        }
        self.take(LEN_BYTES);
        Ok(Some(self.take(len as usize)))
    }

    /// Whether nothing is left: after the last chunk it must be so.
    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn page_len(&self) -> Option<u64> {
        let mut bytes = self.chunks.iter().flat_map(|chunk| chunk.iter().copied());
        let mut len = [0; LEN_BYTES];
        for byte in &mut len {
            *byte = bytes.next()?;
        }
        Some(u32::from_le_bytes(len).into())
    }

    /// Takes the next `count` bytes, which are there.
    fn take(&mut self, count: usize) -> Bytes {
        self.len -= count as u64;
        let mut taken = BytesMut::new();
        loop {
            let left = count - taken.len();
            match self.chunks.front_mut() {
                Some(first) if first.len() >= left => {
                    let part = first.split_to(left);
                    return match taken.is_empty() {
                        // Most pages are within a chunk.
                        true => part,
                        false => {
                            taken.extend_from_slice(&part);
                            taken.freeze()
                        }
                    };
                }
                Some(first) => {
                    taken.extend_from_slice(first);
                    first.advance(first.len());
                    self.chunks.pop_front();
                }
                None => return taken.freeze(),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page of `len` bytes that is like no other.
    fn page(number: usize, len: usize) -> Vec<u8> {
        (0..len).map(|at| (number * 31 + at) as u8).collect()
    }

    #[test]
    fn pages_are_read_as_they_were_written() {
        let lens = [
            0,
            5,
            PART_BYTES - 13,
            1,
            PART_BYTES,
            3 * PART_BYTES + 7,
            128 << 10,
            0,
        ];
        let pages: Vec<_> = (0..).zip(lens).map(|(at, len)| page(at, len)).collect();
        let mut writer = ChunkWriter::default();
        let mut chunks = Vec::new();
        for page in &pages {
            writer.add(page);
            chunks.extend(std::iter::from_fn(|| writer.next_chunk()));
        }
        chunks.extend(writer.last_chunk());
        assert_eq!(chunks.len(), 6);
        assert!(chunks.iter().all(|chunk| chunk.len() <= PART_BYTES));

        let mut reader = ChunkReader::default();
        let mut read = Vec::new();
        for chunk in chunks {
            reader.add(chunk);
            while let Some(page) = reader.next_page().unwrap() {
                read.push(page);
            }
        }
        assert!(reader.is_empty());
        assert_eq!(read, pages);
    }

    #[test]
    fn a_length_that_no_page_has_is_refused() {
        let mut reader = ChunkReader::default();
        reader.add(Bytes::from_static(&[0xff; 8]));
        assert!(reader.next_page().is_err());
    }
}
