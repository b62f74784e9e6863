//! The names of the keys of a run: a prefix that all of them share, and what the workload puts behind it.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use crate::plan::mix::{Mix, NamedWorkload};

/// The prefix of all keys, unless a flag names another. Without one, a run would write into the keys of others.
pub(crate) const KEY_PREFIX: &str = "load/";

/// The names of the keys of YCSB's workloads: this, and the number of the key with leading zeros.
const YCSB: &str = "user";
const YCSB_DIGITS: usize = 10;
/// A scan of workload E covers the keys whose names differ in the last digits only. This is how many digits.
pub(crate) const SCAN_DIGITS: usize = 2;

/// What stands before the number in the names of the workloads `mixed`, `watch` and `transition`.
const MIXED: &str = "mixed/";
const WATCHED: &str = "watched/";
const MACHINE: &str = "connection/";

/// Names keys by their numbers.
#[derive(Clone, Debug)]
pub(crate) struct KeyNames {
    mix: Mix,
    prefix: Arc<str>,
}

impl KeyNames {
    pub(crate) fn new(mix: Mix, prefix: &str) -> Self {
        Self {
            mix,
            prefix: prefix.into(),
        }
    }

    /// Returns the name of key `number`.
    pub(crate) fn of(&self, number: u64) -> String {
        let stem = self.stem();
        let mut name = String::with_capacity(self.prefix.len() + stem.len() + YCSB_DIGITS);
        name.push_str(&self.prefix);
        name.push_str(stem);
        let digits = match stem {
            YCSB => YCSB_DIGITS,
            _ => 0,
        };
        write!(name, "{number:0digits$}").expect("a String takes everything");
        name
    }

    /// Returns what the names of all keys begin with, also of those that the run adds.
    pub(crate) fn common(&self) -> String {
        format!("{}{}", self.prefix, self.stem())
    }

    /// What stands between the prefix and the number.
    fn stem(&self) -> &'static str {
        match self.mix {
            Mix::Named(
                NamedWorkload::A
                | NamedWorkload::B
                | NamedWorkload::C
                | NamedWorkload::D
                | NamedWorkload::E
                | NamedWorkload::F,
            ) => YCSB,
            Mix::Named(NamedWorkload::Transition) => MACHINE,
            Mix::Named(NamedWorkload::Mixed) => MIXED,
            Mix::Named(NamedWorkload::Watch) => WATCHED,
            _ => "",
        }
    }

    /// Returns the number in the name of a key, if this mix adds keys and the name is one that it could have given.
    pub(crate) fn added_key(&self, name: &str) -> Option<u64> {
        let digits = self.added_digits(name)?;
        match digits.len() == YCSB_DIGITS {
            true => digits.parse().ok(),
            false => None,
        }
    }

    /// Returns the numbers of the keys that a scan with this prefix covers, if this mix adds keys.
    pub(crate) fn scanned_keys(&self, prefix: &str) -> Option<Range<u64>> {
        let digits = self.added_digits(prefix)?;
        let first: u64 = match digits.len() + SCAN_DIGITS == YCSB_DIGITS {
            true => digits.parse().ok()?,
            false => return None,
        };
        let count = 10_u64.pow(SCAN_DIGITS as u32);
        Some(first * count..(first + 1) * count)
    }

    fn added_digits<'a>(&self, text: &'a str) -> Option<&'a str> {
        let name = text
            .strip_prefix(&*self.prefix)
            .filter(|_| self.mix.adds_keys())?;
        let digits = name.strip_prefix(YCSB)?;
        digits
            .bytes()
            .all(|byte| byte.is_ascii_digit())
            .then_some(digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::choices::Ratio;

    #[test]
    fn every_key_begins_with_the_prefix() {
        let ratio = Mix::Ratio(Ratio {
            reads: 1.0,
            writes: 1.0,
        });
        let cases = [
            (ratio, "load/", "load/7"),
            (ratio, "", "7"),
            (Mix::Named(NamedWorkload::A), "load/", "load/user0000000007"),
            (Mix::Named(NamedWorkload::Mixed), "x:", "x:mixed/7"),
            (Mix::Named(NamedWorkload::Watch), "load/", "load/watched/7"),
            (
                Mix::Named(NamedWorkload::Transition),
                "load/",
                "load/connection/7",
            ),
        ];
        for (mix, prefix, name) in cases {
            let names = KeyNames::new(mix, prefix);
            assert_eq!(names.of(7), name);
            assert!(name.starts_with(&names.common()), "{name}");
        }
    }
}
