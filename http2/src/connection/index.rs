//! From the id of a stream to its place.
//!
//! A table with open addressing. The ids of a client go up by two, so that the lowest bits that differ are spread as well as
//! can be, and nothing has to be computed. A client that chooses its ids so that they collide makes a look-up as long as a walk
//! over its open streams, which are few and lie one behind the other.

const EMPTY: u32 = 0;

/// Cells of the first table.
const CELLS_MIN: usize = 16;

#[derive(Clone, Copy, Debug)]
struct Cell {
    id: u32,
    slot: u32,
}

/// See the [module](self).
#[derive(Debug, Default)]
pub(super) struct Index {
    /// A power of two, of which at most half have an id.
    cells: Vec<Cell>,
    len: usize,
}

impl Index {
    #[inline]
    fn home(&self, id: u32) -> usize {
        (id >> 1) as usize & (self.cells.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.cells.len() - 1)
    }

    /// The place of a stream.
    #[inline]
    pub(super) fn get(&self, id: u32) -> Option<u32> {
        if self.cells.is_empty() || id == EMPTY {
            return None;
        }
        let mut at = self.home(id);
        loop {
            let cell = self.cells[at];
            if cell.id == id {
                return Some(cell.slot);
            }
            if cell.id == EMPTY {
                return None;
            }
            at = self.next(at);
        }
    }

    /// Adds a stream, which must not be there.
    pub(super) fn insert(&mut self, id: u32, slot: u32) {
        if self.cells.len() < (self.len + 1) * 2 {
            self.grow();
        }
        self.len += 1;
        self.put(Cell { id, slot });
    }

    fn put(&mut self, cell: Cell) {
        let mut at = self.home(cell.id);
        while self.cells[at].id != EMPTY {
            at = self.next(at);
        }
        self.cells[at] = cell;
    }

    #[cold]
    fn grow(&mut self) {
        let empty = Cell { id: EMPTY, slot: 0 };
        let length = (self.cells.len() * 2).max(CELLS_MIN);
        let before = std::mem::replace(&mut self.cells, vec![empty; length]);
        for cell in before.into_iter().filter(|cell| cell.id != EMPTY) {
            self.put(cell);
        }
    }

    /// Removes a stream. The cells behind it move up, so that none is left in the way of a look-up.
    pub(super) fn remove(&mut self, id: u32) {
        if self.get(id).is_none() {
            return;
        }
        let mut hole = self.home(id);
        while self.cells[hole].id != id {
            hole = self.next(hole);
        }
        self.len -= 1;
        let mask = self.cells.len() - 1;
        let mut at = hole;
        loop {
            at = self.next(at);
            let cell = self.cells[at];
            if cell.id == EMPTY {
                break;
            }
            // It may move if its home is not behind the hole.
            let from_home = at.wrapping_sub(self.home(cell.id)) & mask;
            let from_hole = at.wrapping_sub(hole) & mask;
            if from_home >= from_hole {
                self.cells[hole] = cell;
                hole = at;
            }
        }
        self.cells[hole].id = EMPTY;
    }

    pub(super) fn held(&self) -> usize {
        self.cells.capacity() * size_of::<Cell>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    #[test]
    fn behaves_as_a_map() {
        for step in [2, 32, 64, 34] {
            let mut rng = SmallRng::seed_from_u64(step);
            let mut index = Index::default();
            let mut model = BTreeMap::new();
            let mut next = 1;
            for _ in 0..4_000 {
                if model.len() < 60 && rng.random_bool(0.55) {
                    index.insert(next, next / 2);
                    model.insert(next, next / 2);
                    next += step as u32;
                } else if !model.is_empty() {
                    let at = rng.random_range(0..model.len());
                    let id = *model.keys().nth(at).unwrap();
                    index.remove(id);
                    model.remove(&id);
                }
                for (id, slot) in &model {
                    assert_eq!(index.get(*id), Some(*slot));
                }
                assert_eq!(index.get(next), None);
                assert_eq!(index.len, model.len());
            }
            assert!(index.cells.len() <= 128);
        }
        assert_eq!(Index::default().get(1), None);
    }
}
