//! Keys as they were at an earlier revision.

use std::iter::Peekable;

use super::tree::EntryRef;
use super::value::{Entry, Key};

/// Keys in order, as they were before they changed: `changed` has those that did, and stands in for what is there now. None
/// for a key that was not there.
pub(super) fn as_of<'a>(
    present: impl Iterator<Item = (&'a Key, EntryRef<'a>)>,
    changed: impl Iterator<Item = (&'a Key, &'a Option<Entry>)>,
) -> impl Iterator<Item = (&'a Key, Option<EntryRef<'a>>)> {
    AsOf {
        present: present.peekable(),
        changed: changed.peekable(),
    }
}

struct AsOf<P: Iterator, C: Iterator> {
    present: Peekable<P>,
    changed: Peekable<C>,
}

impl<'a, P, C> Iterator for AsOf<P, C>
where
    P: Iterator<Item = (&'a Key, EntryRef<'a>)>,
    C: Iterator<Item = (&'a Key, &'a Option<Entry>)>,
{
    type Item = (&'a Key, Option<EntryRef<'a>>);

    fn next(&mut self) -> Option<Self::Item> {
        let Some((changed, _)) = self.changed.peek().copied() else {
            return self.present.next().map(|(key, entry)| (key, Some(entry)));
        };
        if let Some((key, entry)) = self.present.next_if(|(key, _)| *key < changed) {
            return Some((key, Some(entry)));
        }
        self.present.next_if(|(key, _)| *key == changed);
        let (key, entry) = self.changed.next()?;
        Some((key, entry.as_ref().map(EntryRef::from)))
    }
}
