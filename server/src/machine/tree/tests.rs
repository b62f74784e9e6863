//! The tree against the standard library's, and the shape of its nodes.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use proptest::collection::vec;
use proptest::prelude::*;

use super::node::{FANOUT, UNDERFULL};
use super::record::Form;
use super::*;
use crate::machine::value::{Attached, Value};

impl Tree {
    /// All entries, by key.
    pub(in crate::machine) fn all(&self) -> BTreeMap<Key, Entry> {
        let all = self.range(Bound::Unbounded);
        all.map(|(key, entry)| (key.clone(), entry.to_entry()))
            .collect()
    }

    pub(in crate::machine) fn remove_key(&mut self, key: &str) {
        self.remove(self.cursor(key));
    }

    /// Asserts that keys are in order, and that each is where a search looks for it.
    pub(in crate::machine) fn assert_consistent(&self) {
        let mut last: Option<Key> = None;
        let mut count = 0;
        self.root.assert_consistent(usize::MAX);
        assert!(self.root.len() > 0);
        for (at, branch) in self.root.items().iter().enumerate() {
            branch.assert_consistent(FANOUT);
            assert!(branch.len() > 0);
            // The first branch may have keys smaller than its separator: `last` is none there.
            let first = &self.root.keys()[at];
            assert!(
                last.as_ref().is_none_or(|last| last < first),
                "{last:?} {first:?}"
            );
            for (at, leaf) in branch.items().iter().enumerate() {
                leaf.assert_consistent();
                let first = if at == 0 { first } else { &branch.keys()[at] };
                assert!(
                    last.as_ref().is_none_or(|last| last < first),
                    "{last:?} {first:?}"
                );
                let keys: Vec<_> = leaf.entries_from(0).map(|(key, _)| key).collect();
                assert!(
                    last.is_none() || keys.iter().all(|key| first <= key),
                    "{first:?} {keys:?}"
                );
                count += keys.len();
                last = keys.into_iter().next_back().or(last);
            }
        }
        assert_eq!((self.len(), self.last_key()), (count, last));
    }

    /// How many keys each leaf has.
    fn leaves(&self) -> Vec<usize> {
        let leaves = self.root.items().iter().flat_map(Node::items);
        leaves.map(|leaf| leaf.len()).collect()
    }

    /// The bytes that leaves take, as far as they ask for them.
    fn leaf_bytes(&self) -> usize {
        let leaves = self.root.items().iter().flat_map(Node::items);
        leaves.map(|leaf| leaf.byte_len()).sum()
    }
}

impl Leaf {
    /// What the leaf and its buffer take.
    fn byte_len(&self) -> usize {
        size_of::<Self>() + self.buffer_len()
    }
}

impl<T> Node<T> {
    /// Asserts that each key is found, and that a key between two of them is not.
    fn assert_consistent(&self, max: usize) {
        let keys = self.keys();
        assert!(keys.len() <= max && keys.len() == self.len());
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
        for (at, key) in keys.iter().enumerate() {
            assert_eq!(self.find(key.as_str().as_bytes()), Ok(at), "{keys:?}");
            let behind = format!("{key}\0");
            if keys.get(at + 1).is_none_or(|next| next.as_str() != behind) {
                assert_eq!(self.find(behind.as_bytes()), Err(at + 1), "{keys:?}");
            }
        }
    }
}

fn entry(value: Value, revision: i64, create_revision: i64) -> Entry {
    Entry {
        value,
        revision,
        create_revision,
        attached: None,
    }
}

fn int(int: i64) -> Entry {
    entry(Value::Int(int), 1, 1)
}

fn any_entry() -> impl Strategy<Value = Entry> {
    // Around every length and number at which the packed form changes.
    let length = prop_oneof![0..4_usize, 250..260_usize];
    let value = prop_oneof![
        any::<i64>().prop_map(Value::Int),
        length
            .clone()
            .prop_map(|n| Value::Text("é".repeat(n / 2).into())),
        length.prop_map(|n| Value::Bytes(vec![0xff; n].into())),
    ];
    let around = |n: u32| (1_i64 << n) - 2..(1_i64 << n) + 2;
    let revision = prop_oneof![1..9_i64, around(32), around(33), around(62)];
    let age = prop_oneof![Just(0), 0..4_i64, around(32), Just(i64::MAX)];
    let attached = proptest::option::weighted(0.2, Just(Arc::new(Attached::default())));
    (value, revision, age, attached).prop_map(|(value, revision, age, attached)| Entry {
        attached,
        ..entry(value, revision, revision - age.min(revision - 1))
    })
}

#[derive(Clone, Debug)]
enum Step {
    Insert(Entry),
    Remove,
    Range { excluded: bool },
}

fn any_step() -> impl Strategy<Value = (Key, Step)> {
    let key = prop_oneof![
        8 => "[ab\0]{0,6}",
        1 => Just("k".repeat(127)),
        1 => Just("k".repeat(128)),
        1 => Just("é".repeat(500)),
    ];
    let step = prop_oneof![
        3 => any_entry().prop_map(Step::Insert),
        1 => Just(Step::Remove),
        1 => any::<bool>().prop_map(|excluded| Step::Range { excluded }),
    ];
    (key.prop_map(Key::from), step)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn it_holds_what_the_standard_tree_holds(steps in vec(any_step(), 1..60)) {
        let (mut tree, mut expected) = (Tree::new(), BTreeMap::new());
        for (key, step) in steps {
            let text = key.as_str();
            match step {
                Step::Insert(entry) => {
                    tree.insert(&key, entry.clone());
                    expected.insert(key.clone(), entry);
                }
                Step::Remove => {
                    tree.remove_key(text);
                    expected.remove(text);
                }
                Step::Range { excluded } => {
                    let from = if excluded { Bound::Excluded(text) } else { Bound::Included(text) };
                    let range = tree.range(from).map(|(key, entry)| (key.clone(), entry.to_entry()));
                    let expected = expected.range::<str, _>((from, Bound::Unbounded));
                    let expected = expected.map(|(key, entry)| (key.clone(), entry.clone()));
                    prop_assert_eq!(range.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
                }
            }
            tree.assert_consistent();
            tree.warm_now(std::iter::repeat_n(key.as_str(), 40));
            prop_assert_eq!(tree.get(key.as_str()).map(EntryRef::to_entry), expected.get(&key).cloned());
        }
        prop_assert_eq!(tree.all(), expected);
    }
}

/// The numbers below `count` in an order that looks random.
fn scattered(count: usize) -> impl Iterator<Item = usize> {
    // A prime: each number comes once, unless `count` is a multiple of it.
    (0..count).map(move |n| n * 7_919 % count)
}

#[test]
fn many_keys_come_and_go() {
    const COUNT: usize = 4 * FANOUT * FANOUT;
    for order in ["in order", "scattered", "backwards"] {
        let numbers = || -> Box<dyn Iterator<Item = usize>> {
            match order {
                "in order" => Box::new(0..COUNT),
                "backwards" => Box::new((0..COUNT).rev()),
                _ => Box::new(scattered(COUNT)),
            }
        };
        let key = |n: usize| Key::from(format!("{n:05}"));
        let mut tree = Tree::new();
        for (step, n) in numbers().enumerate() {
            tree.insert(&key(n), int(n as i64));
            if step % 1_000 == 0 {
                tree.assert_consistent();
            }
        }
        tree.assert_consistent();
        assert_eq!(tree.len(), COUNT);
        for (step, n) in numbers().enumerate() {
            assert_eq!(
                tree.get(key(n).as_str()).unwrap().value,
                Value::Int(n as i64)
            );
            // Every hundredth key stays.
            if n % 100 > 0 {
                tree.remove_key(key(n).as_str());
            }
            if step % 1_000 == 0 {
                tree.assert_consistent();
            }
        }
        tree.assert_consistent();
        let left = tree.all().into_values().map(|entry| entry.value);
        let expected = (0..COUNT).step_by(100).map(|n| Value::Int(n as i64));
        assert!(left.eq(expected), "{order}");
        // Of two neighbours, at least one has more keys than are merged.
        let leaves = tree.leaves().len();
        assert!(
            leaves <= 1 + 2 * tree.len() / UNDERFULL,
            "{leaves}, {order}"
        );
        for n in (0..COUNT).step_by(100) {
            tree.remove_key(key(n).as_str());
            tree.assert_consistent();
        }
        assert_eq!(tree.leaves(), [0], "{order}");
        tree.insert(&key(7), int(7));
        tree.assert_consistent();
    }
}

#[test]
fn leaves_are_full_after_keys_in_order() {
    let mut tree = Tree::new();
    for n in 0..2 * FANOUT * FANOUT {
        tree.insert(&Key::from(format!("{n:05}")), int(1));
    }
    assert_eq!(tree.leaves(), vec![FANOUT; 2 * FANOUT]);
    assert_eq!(tree.root.len(), 2);
}

/// Values of all kinds and lengths, lifetimes and removals, on keys whose common prefixes come and go.
#[test]
fn many_keys_change_and_move() {
    const COUNT: usize = 10 * FANOUT;
    let prefixes = ["", "k", "key of a long name ", "é", &"x".repeat(300)];
    let (mut tree, mut expected) = (Tree::new(), BTreeMap::new());
    for (step, n) in (0..12).flat_map(|_| scattered(COUNT)).enumerate() {
        let key = Key::from(format!("{}{n:04}", prefixes[n % prefixes.len()]));
        let len = step * 31 % 300;
        let changed = match step * 13 % 11 {
            0..=2 => None,
            3..=5 => Some(entry(Value::Text("é".repeat(len / 2).into()), 9, 8)),
            6 | 7 => Some(entry(Value::Bytes(vec![7; len].into()), 1 << 33, 1)),
            8 => Some(Entry {
                attached: Some(Arc::default()),
                ..int(step as i64)
            }),
            _ => Some(int(step as i64)),
        };
        match changed {
            Some(changed) => {
                tree.insert(&key, changed.clone());
                expected.insert(key, changed);
            }
            None => {
                tree.remove_key(key.as_str());
                expected.remove(&key);
            }
        }
        if step % 100 == 0 {
            tree.assert_consistent();
            assert_eq!(tree.all(), expected);
        }
    }
    tree.assert_consistent();
    assert_eq!(tree.all(), expected);
}

#[test]
fn a_key_takes_few_bytes() {
    // A server has millions of keys: these bytes are most of its memory.
    let value = || Value::Text("x".repeat(100).into());
    let bytes_of = |order: &mut dyn Iterator<Item = usize>| {
        let mut tree = Tree::new();
        for n in order {
            // Each is written twice.
            for create_revision in [9, 8] {
                let entry = entry(value(), 9, create_revision);
                tree.insert(&Key::from(format!("key-{n:012}")), entry);
            }
        }
        tree.leaf_bytes() / tree.len() - 116
    };
    const COUNT: usize = 100 * FANOUT;
    let (in_order, others) = (bytes_of(&mut (0..COUNT)), bytes_of(&mut scattered(COUNT)));
    assert!(in_order <= 24, "{in_order}");
    assert!(others <= 48, "{others}");

    let len = |entry: Entry| Form::of((&entry).into()).len;
    assert_eq!(len(int(1)), 12);
    assert_eq!(len(entry(value(), 9, 8)), 109);
    // Stored whole.
    assert_eq!(len(entry(Value::Text("x".repeat(257).into()), 9, 8)), 1);
}

#[test]
fn what_is_removed_takes_no_bytes() {
    let mut tree = Tree::new();
    let key = |n: usize| Key::from(format!("{n:05}"));
    let insert = |tree: &mut Tree, n, len| {
        let text = Value::Text("x".repeat(len).into());
        tree.insert(&key(n), entry(text, 1, 1));
    };
    for n in 0..FANOUT {
        insert(&mut tree, n, 200);
    }
    let before = tree.leaf_bytes();
    for len in (0..200).rev() {
        insert(&mut tree, 7, len);
        insert(&mut tree, 8, 200 - len);
    }
    assert!(tree.leaf_bytes() <= before * 5 / 4);
    for n in 2..FANOUT {
        tree.remove_key(key(n).as_str());
    }
    tree.assert_consistent();
    assert!(tree.leaf_bytes() <= size_of::<Leaf>() + 2 * 512);
    for n in 0..2 {
        tree.remove_key(key(n).as_str());
    }
    assert_eq!(tree.leaf_bytes(), size_of::<Leaf>());
}
