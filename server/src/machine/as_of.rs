//! Entries as they were at an earlier revision, for copies and watches that go through the keys while they change.

use std::iter::Peekable;

use super::tree::EntryRef;
use super::value::{Entry, Key};

/// Goes through keys in order, with the entries that they had at an earlier revision. `preserved` has the keys that changed
/// since then, with the entries from before the change: they take the place of the present ones. A key that did not exist
/// at that revision comes with `None`.
pub(super) fn as_of<'a>(
    present: impl Iterator<Item = (Key, EntryRef<'a>)>,
    preserved: impl Iterator<Item = (&'a Key, &'a Option<Entry>)>,
) -> impl Iterator<Item = (Key, Option<EntryRef<'a>>)> {
    AsOf {
        present: present.peekable(),
        preserved: preserved.peekable(),
    }
}

struct AsOf<P: Iterator, C: Iterator> {
    present: Peekable<P>,
    preserved: Peekable<C>,
}

impl<'a, P, C> Iterator for AsOf<P, C>
where
    P: Iterator<Item = (Key, EntryRef<'a>)>,
    C: Iterator<Item = (&'a Key, &'a Option<Entry>)>,
{
    type Item = (Key, Option<EntryRef<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        let Some((preserved, _)) = self.preserved.peek().copied() else {
            return self.present.next().map(|(key, entry)| (key, Some(entry)));
        };
        if let Some((key, entry)) = self.present.next_if(|(key, _)| key < preserved) {
            return Some((key, Some(entry)));
        }
        // The preserved entry takes the place of the present one.
        self.present.next_if(|(key, _)| key == preserved);
        let (key, entry) = self.preserved.next()?;
        Some((key.clone(), entry.as_ref().map(EntryRef::from)))
    }
}
