//! The dynamic table of a decoder.
//!
//! The names and values of all entries lie one behind the other in one buffer: entries come and go in order, so its front is
//! cut off from time to time. An entry costs no allocation of its own.
//!
//! Source: RFC 7541, sections 2.3.2 and 4.

use std::collections::VecDeque;

/// The size of an entry beside its name and value (section 4.1).
pub(crate) const ENTRY_OVERHEAD: usize = 32;

/// Dead bytes at the front of the buffer that are not worth cutting off.
const DEAD_BYTES_MIN: usize = 1_024;

#[derive(Debug)]
struct Entry<C> {
    /// Where the name begins, counted from the first byte that was ever added. The value follows the name.
    start: usize,
    name_len: usize,
    value_len: usize,
    class: C,
}

impl<C> Entry<C> {
    fn size(&self) -> usize {
        self.name_len + self.value_len + ENTRY_OVERHEAD
    }
}

/// See the [module](self).
#[derive(Debug)]
pub(crate) struct Table<C> {
    /// The oldest first.
    entries: VecDeque<Entry<C>>,
    text: Vec<u8>,
    /// Where `text` begins, counted from the first byte that was ever added.
    base: usize,
    size: usize,
    size_max: usize,
}

impl<C: Copy> Table<C> {
    pub(crate) fn new(size_max: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            text: Vec::new(),
            base: 0,
            size: 0,
            size_max,
        }
    }

    pub(crate) fn size_max(&self) -> usize {
        self.size_max
    }

    /// The number of entries.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The entry of an index, which counts from 0 for the newest: its class, name and value.
    #[inline]
    pub(crate) fn get(&self, index: usize) -> Option<(C, &[u8], &[u8])> {
        let at = self.entries.len().checked_sub(index + 1)?;
        let entry = self.entries.get(at)?;
        let start = entry.start - self.base;
        let (name, rest) = self.text.get(start..)?.split_at_checked(entry.name_len)?;
        Some((entry.class, name, rest.get(..entry.value_len)?))
    }

    /// Adds an entry. The oldest ones leave until there is room; one that is larger than the table empties it (section 4.4).
    pub(crate) fn insert(&mut self, class: C, name: &[u8], value: &[u8]) {
        let size = name.len() + value.len() + ENTRY_OVERHEAD;
        self.evict(self.size_max.saturating_sub(size));
        if size > self.size_max {
            return;
        }
        self.cut();
        let start = self.base + self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.size += size;
        self.entries.push_back(Entry {
            start,
            name_len: name.len(),
            value_len: value.len(),
            class,
        });
    }

    /// Sets the most bytes of the table (section 4.3).
    pub(crate) fn set_size_max(&mut self, size_max: usize) {
        self.size_max = size_max;
        self.evict(size_max);
    }

    /// Removes the oldest entries until the others have `size` bytes at most.
    fn evict(&mut self, size: usize) {
        while self.size > size
            && let Some(oldest) = self.entries.pop_front()
        {
            self.size -= oldest.size();
        }
    }

    /// Cuts off what no entry needs any more, once that is as much as the table can have: so a byte is moved once on average.
    fn cut(&mut self) {
        let end = self.base + self.text.len();
        let live = self.entries.front().map_or(end, |oldest| oldest.start);
        let dead = live - self.base;
        if dead >= self.size_max.max(DEAD_BYTES_MIN) {
            self.text.drain(..dead);
            self.base = live;
        }
    }

    /// Bytes of memory that the table holds.
    pub(crate) fn held(&self) -> usize {
        self.text.capacity() + self.entries.capacity() * size_of::<Entry<C>>()
    }
}

#[cfg(test)]
mod tests {
    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    /// Compares it with a list of strings.
    #[test]
    fn behaves_as_a_list_with_a_size() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut table = Table::new(300);
        let mut model: VecDeque<(usize, Vec<u8>, Vec<u8>)> = VecDeque::new();
        for step in 0..5_000 {
            let text = |rng: &mut SmallRng| {
                let length = [0, 1, 9, 40, 290][rng.random_range(0..5)];
                vec![rng.random::<u8>(); length]
            };
            if rng.random_bool(0.02) {
                let size = [0, 31, 64, 300][rng.random_range(0..4)];
                table.set_size_max(size);
            } else {
                let (name, value) = (text(&mut rng), text(&mut rng));
                table.insert(step, &name, &value);
                model.push_front((step, name, value));
            }
            let mut room = table.size_max() as isize;
            model.retain(|(_, name, value)| {
                room -= (name.len() + value.len() + ENTRY_OVERHEAD) as isize;
                room >= 0
            });
            assert_eq!(table.len(), model.len());
            for (index, (class, name, value)) in model.iter().enumerate() {
                assert_eq!(table.get(index), Some((*class, &name[..], &value[..])));
            }
            assert_eq!(table.get(model.len()), None);
            assert!(table.text.len() <= 2 * 300 + DEAD_BYTES_MIN);
        }
    }
}
