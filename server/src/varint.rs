//! Varints: numbers in as few bytes as they need. Each byte has seven bits of the number, the lowest first; the highest
//! bit of a byte is set if more bytes follow.
//!
//! Source: the protobuf documentation, "Encoding", "Base 128 Varints".

/// Appends a number.
#[inline]
pub(crate) fn put(buf: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buf.push(value as u8 | 0x80);
        value >>= 7;
    }
    buf.push(value as u8);
}

/// Reads a number from the front of `bytes`, and advances `bytes` past it. `None` if there is no valid number.
#[inline(always)]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    // The fast path: nearly all numbers have one byte.
    match bytes.split_first()? {
        (byte, rest) if *byte < 0x80 => {
            *bytes = rest;
            Some(u64::from(*byte))
        }
        _ => {
            let (value, rest) = long(bytes)?;
            *bytes = rest;
            Some(value)
        }
    }
}

#[cold]
fn long(mut bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for shift in (0..63).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some((value, bytes));
        }
    }
    // The tenth byte can hold only the last bit of a u64.
    let (byte, rest) = bytes.split_first()?;
    (*byte < 2).then(|| (value | u64::from(*byte) << 63, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_written() {
        for value in [
            0,
            1,
            127,
            128,
            300,
            1 << 35,
            i64::MAX as u64,
            u64::MAX - 1,
            u64::MAX,
        ] {
            let mut bytes = Vec::new();
            put(&mut bytes, value);
            bytes.push(7);
            let mut rest = bytes.as_slice();
            assert_eq!((take(&mut rest), rest), (Some(value), [7].as_slice()));
        }
        for none in [[].as_slice(), &[0x80], &[0xff; 9], &[0xff; 10]] {
            assert_eq!(take(&mut &*none), None, "{none:?}");
        }
    }
}
