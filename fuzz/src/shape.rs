//! What an input led to, as far as it tells inputs apart.

/// What an input led to. Of the inputs with one shape, the first is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Shape(pub(crate) u64);

impl Shape {
    /// The shape of a message: of its words, but not of its numbers and of what it quotes.
    #[must_use]
    pub fn of(message: &str) -> Self {
        let mut quoted = false;
        let parts = message.split(|of: char| {
            quoted ^= matches!(of, '"' | '\'' | '`');
            quoted || !of.is_ascii_alphanumeric()
        });
        // A word with a digit is a number, in hexadecimal perhaps.
        let words = parts.filter(|word| word.bytes().all(|byte| byte.is_ascii_alphabetic()));
        Self(words.flat_map(str::bytes).fold(BEGIN, add))
    }

    /// Tells inputs apart that differ in `number`.
    #[must_use]
    pub fn with(self, number: usize) -> Self {
        Self(number.to_le_bytes().into_iter().fold(self.0, add))
    }

    /// Tells inputs apart that differ in another shape.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(other.0.to_le_bytes().into_iter().fold(self.0, add))
    }
}

/// FNV-1a.
const BEGIN: u64 = 0xcbf2_9ce4_8422_2325;

fn add(hash: u64, byte: u8) -> u64 {
    (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
}

pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().copied().fold(BEGIN, add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_quotes_do_not_count() {
        let shape = Shape::of("key is \"a\", 7 bytes");
        assert_eq!(shape, Shape::of("key is \"bc\", 12 bytes"));
        assert_ne!(shape, Shape::of("name is \"a\", 7 bytes"));
        assert_ne!(shape, shape.with(1));
        assert_eq!(Shape::of("crc is 1abc"), Shape::of("crc is d34d"));
    }
}
