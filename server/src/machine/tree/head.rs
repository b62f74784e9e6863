//! Heads: four bytes of a key as a number.
//!
//! Keys lie far apart in memory, and few of them are in a cache. So a node keeps a head of each key side by side: the four
//! bytes behind the prefix that all keys of the node have in common. A search compares heads, and looks at a key itself only
//! where the heads are equal, which is mostly one key. Source: the "poor man's normalized keys" of G. Graefe and P. Larson,
//! "B-tree indexes and CPU caches", ICDE 2001.

/// The head of what is left of a key behind the common prefix: its first four bytes, as a number in the same order as the
/// bytes. A shorter rest is filled up with zeros. No key has the head `u32::MAX`, as no text has the byte 255.
#[inline]
pub(super) fn head(rest: &[u8]) -> u32 {
    if let Some(head) = rest.first_chunk() {
        return u32::from_be_bytes(*head);
    }
    // Byte by byte: to copy up to three bytes is a call of a function.
    let byte = |at: usize| u32::from(rest.get(at).copied().unwrap_or_default());
    byte(0) << 24 | byte(1) << 16 | byte(2) << 8
}

/// Reads a head of each line of the processor's caches that they take: a line has 16.
#[inline]
pub(super) fn touch(heads: &[u32]) -> u32 {
    heads.iter().step_by(16).fold(0, |sum, head| sum ^ head)
}

/// How many bytes two keys have in common at their beginning.
pub(super) fn common_len(one: &[u8], other: &[u8]) -> usize {
    one.iter().zip(other).take_while(|(a, b)| a == b).count()
}
