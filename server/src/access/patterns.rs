//! Patterns of names: a trailing `*` stands for every ending, and a pattern without one for a single name.

/// A set of patterns.
///
/// They are sorted, and none is left that another covers. So the last that is not after a name is the only one that can stand
/// for the name: what lies between the beginning of a name and the name begins like it, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Patterns {
    /// The heads of all of them, side by side: most searches look at nothing else.
    heads: Vec<Head>,
    all: Vec<Pattern>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    head: Head,
    text: Box<str>,
    /// Whether it stands for every name that begins with the text.
    is_prefix: bool,
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        let prefix = pattern.strip_suffix('*');
        let text = prefix.unwrap_or(pattern);
        Self {
            head: Head::of(text),
            text: text.into(),
            is_prefix: prefix.is_some(),
        }
    }

    /// Whether it stands for this name, whose head is `head`.
    fn has(&self, name: &str, head: Head) -> bool {
        match self.is_prefix {
            true => self.has_all(name),
            false => self.head == head && (head.is_whole() || *self.text == *name),
        }
    }

    fn has_all(&self, prefix: &str) -> bool {
        self.is_prefix && prefix.starts_with(&*self.text)
    }

    fn covers(&self, other: &Self) -> bool {
        match other.is_prefix {
            true => self.has_all(&other.text),
            false => self.has(&other.text, other.head),
        }
    }
}

/// The first bytes of a text, with zeros after a shorter one, and how many they are, up to one more than are there. As one number,
/// because a processor compares numbers without a branch. Heads are in the order of their texts. They decide most comparisons, and all
/// of short texts, without a look at the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Head(u128);

impl Head {
    const LEN_MAX: usize = size_of::<u64>();

    fn of(text: &str) -> Self {
        let text = text.as_bytes();
        let bytes = match text.first_chunk() {
            Some(first) => u64::from_be_bytes(*first),
            None => {
                let bytes = text.iter().rev();
                bytes.fold(0, |head, byte| head >> 8 | u64::from(*byte) << 56)
            }
        };
        let len = text.len().min(Self::LEN_MAX + 1);
        Self(u128::from(bytes) << 64 | len as u128)
    }

    /// Whether there is no more to the text.
    fn is_whole(self) -> bool {
        self.0 as u64 <= Self::LEN_MAX as u64
    }
}

impl Patterns {
    pub(super) fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        let mut all: Vec<_> = patterns.into_iter().map(Pattern::new).collect();
        // Whatever a prefix covers comes right after it.
        all.sort_by(|a, b| (&a.text, !a.is_prefix).cmp(&(&b.text, !b.is_prefix)));
        all.dedup_by(|pattern, before| before.covers(pattern));
        let heads = all.iter().map(|own| own.head).collect();
        Self { heads, all }
    }

    /// The only pattern that can stand for this name, or for all names with this prefix, whose head is `head`.
    fn last_until(&self, name: &str, head: Head) -> Option<&Pattern> {
        let mut after = self.heads.partition_point(|own| *own <= head);
        if !head.is_whole() {
            // The texts with the same head differ behind it.
            let from = self.heads.partition_point(|own| *own < head);
            let same = &self.all[from..after];
            after = from + same.partition_point(|own| *own.text <= *name);
        }
        self.all.get(after.checked_sub(1)?)
    }

    /// Whether a pattern stands for this name.
    pub(super) fn has(&self, name: &str) -> bool {
        let head = Head::of(name);
        self.last_until(name, head)
            .is_some_and(|own| own.has(name, head))
    }

    /// Whether a pattern stands for every name with this prefix.
    pub(super) fn has_all(&self, prefix: &str) -> bool {
        self.last_until(prefix, Head::of(prefix))
            .is_some_and(|own| own.has_all(prefix))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// Whether a pattern stands for more than one name.
    pub(super) fn has_prefixes(&self) -> bool {
        self.all.iter().any(|own| own.is_prefix)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn heads_are_in_the_order_of_texts() {
        let texts = [
            "",
            "\0",
            "a",
            "a\0",
            "a/",
            "aaaaaaa",
            "aaaaaaaa",
            "aaaaaaaa\0",
            "aaaaaaaab",
            "b",
            "é",
            "\u{10ffff}",
        ];
        assert!(texts.is_sorted());
        for one in texts {
            for other in texts {
                let (head, other_head) = (Head::of(one), Head::of(other));
                match head == other_head && !head.is_whole() {
                    // The rest decides.
                    true => assert!(one.len() > 8 && other.len() > 8),
                    false => assert_eq!(head.cmp(&other_head), one.cmp(other), "{one:?} {other:?}"),
                }
            }
        }
        assert_eq!(Head::of("ab").0, 0x6162_0000_0000_0000_0000_0000_0000_0002);
        assert_eq!(
            Head::of("abcdefghi").0,
            0x6162_6364_6566_6768_0000_0000_0000_0009
        );
    }

    /// A text that often ends near the end of a head, and often differs from others only there.
    fn a_text() -> impl Strategy<Value = String> {
        let stem = prop::sample::select(vec![0, 5, 6, 7, 8, 9, 20]);
        (stem, "[ab\0]{0,3}").prop_map(|(len, end)| "a".repeat(len) + &end)
    }

    proptest! {
        #[test]
        fn a_pattern_is_found_if_one_of_the_set_stands_for_the_name(
            patterns in prop::collection::vec((a_text(), any::<bool>()), 0..12),
            names in prop::collection::vec(a_text(), 20),
        ) {
            let texts = patterns.iter().map(|(text, is_prefix)| match is_prefix {
                true => format!("{text}*"),
                false => text.clone(),
            });
            let texts: Vec<_> = texts.collect();
            let set = Patterns::new(texts.iter().map(String::as_str));
            for name in &names {
                let has_all = patterns.iter().any(|(text, is_prefix)| *is_prefix && name.starts_with(text));
                let has = has_all || patterns.iter().any(|(text, _)| text == name);
                prop_assert_eq!(set.has(name), has, "{:?} {:?}", &texts, name);
                prop_assert_eq!(set.has_all(name), has_all, "{:?} {:?}", &texts, name);
            }
        }
    }
}
