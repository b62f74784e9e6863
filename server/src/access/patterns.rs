//! Patterns of names: a trailing `*` stands for every ending, and a pattern without one for a single name.

/// A set of patterns.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Patterns {
    /// Single names, sorted.
    names: Vec<String>,
    /// What names begin with. Sorted, and none begins with another: so at most one of them is the beginning of a name, and it
    /// is the last that is not after the name.
    prefixes: Vec<String>,
}

impl Patterns {
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut names = Vec::new();
        let mut prefixes: Vec<String> = Vec::new();
        for pattern in patterns {
            match pattern.strip_suffix('*') {
                Some(prefix) => prefixes.push(prefix.into()),
                None => names.push(pattern.into()),
            }
        }
        prefixes.sort();
        prefixes.dedup_by(|prefix, before| prefix.starts_with(before.as_str()));
        names.sort();
        names.dedup();
        Self { names, prefixes }
    }

    /// Whether a pattern stands for this name.
    pub(super) fn has(&self, name: &str) -> bool {
        let is_name = |own: &String| own.as_str().cmp(name);
        self.has_all(name) || self.names.binary_search_by(is_name).is_ok()
    }

    /// Whether a pattern stands for every name with this prefix.
    pub(super) fn has_all(&self, prefix: &str) -> bool {
        let after = self.prefixes.partition_point(|own| own.as_str() <= prefix);
        after > 0 && prefix.starts_with(self.prefixes[after - 1].as_str())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.prefixes.is_empty()
    }

    /// Whether a pattern stands for more than one name.
    pub(super) fn has_prefixes(&self) -> bool {
        !self.prefixes.is_empty()
    }
}
