//! Patterns of names: a trailing `*` stands for every ending, and a pattern without one for a single name.

/// A set of patterns.
///
/// They are sorted, and none is left that another covers. So the last that is not after a name is the only one that can stand
/// for the name: what lies between the beginning of a name and the name begins like it, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Patterns(Vec<Pattern>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    text: Box<str>,
    /// Whether it stands for every name that begins with the text.
    is_prefix: bool,
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let prefix = pattern.strip_suffix('*');
        Self {
            text: prefix.unwrap_or(pattern).into(),
            is_prefix: prefix.is_some(),
        }
    }

    fn has(&self, name: &str) -> bool {
        match self.is_prefix {
            true => self.has_all(name),
            false => *self.text == *name,
        }
    }

    fn has_all(&self, prefix: &str) -> bool {
        self.is_prefix && prefix.starts_with(&*self.text)
    }

    fn covers(&self, other: &Self) -> bool {
        match other.is_prefix {
            true => self.has_all(&other.text),
            false => self.has(&other.text),
        }
    }
}

impl Patterns {
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all: Vec<_> = patterns.into_iter().map(Pattern::new).collect();
        // Whatever a prefix covers comes right after it.
        all.sort_by(|a, b| (&a.text, !a.is_prefix).cmp(&(&b.text, !b.is_prefix)));
        all.dedup_by(|pattern, before| before.covers(pattern));
        Self(all)
    }

    /// The only pattern that can stand for this name, or for all names with this prefix.
    fn last_until(&self, name: &str) -> Option<&Pattern> {
        let after = self.0.partition_point(|own| *own.text <= *name);
        self.0.get(after.checked_sub(1)?)
    }

    /// Whether a pattern stands for this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.last_until(name).is_some_and(|own| own.has(name))
    }

    /// Whether a pattern stands for every name with this prefix.
    pub(super) fn has_all(&self, prefix: &str) -> bool {
        self.last_until(prefix)
            .is_some_and(|own| own.has_all(prefix))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether a pattern stands for more than one name.
    pub(super) fn has_prefixes(&self) -> bool {
        self.0.iter().any(|own| own.is_prefix)
    }
}
