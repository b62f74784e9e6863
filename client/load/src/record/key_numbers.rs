//! The number that the checker knows each key by.

use std::collections::HashMap;
use std::ops::Range;

use crate::plan::key_names::KeyNames;

/// The numbers of keys by their names.
#[derive(Debug)]
pub(crate) struct KeyNumbers {
    rule: KeyNames,
    /// The keys that are there before the run.
    names: HashMap<String, u32>,
}

impl KeyNumbers {
    /// `names` are the keys that are there before the run, in the order of their numbers.
    pub(crate) fn new(rule: KeyNames, names: Vec<String>) -> Self {
        Self {
            rule,
            names: names.into_iter().zip(0..).collect(),
        }
    }

    /// Returns the number of a key, if it is one of the run. A key that the run may have added has its number in its name.
    pub(crate) fn of(&self, name: &str) -> Option<u32> {
        let added = || self.rule.added_key(name)?.try_into().ok();
        self.names.get(name).copied().or_else(added)
    }

    /// Returns the numbers of the keys that are there before the run, in ascending order.
    pub(crate) fn before_the_run(&self) -> Vec<u32> {
        let mut keys: Vec<u32> = self.names.values().copied().collect();
        keys.sort_unstable();
        keys
    }

    /// Calls `each` with the name and the number of every key that a List with this prefix can show. Some of them may not
    /// have the prefix.
    pub(crate) fn for_each_listed(&self, prefix: &str, mut each: impl FnMut(&str, u32)) {
        match self.rule.scanned_keys(prefix) {
            Some(Range { start, end }) => {
                for number in start..end {
                    if let Ok(key) = u32::try_from(number) {
                        each(&self.rule.of(number), key);
                    }
                }
            }
            None => {
                for (name, &key) in &self.names {
                    each(name, key);
                }
            }
        }
    }
}
