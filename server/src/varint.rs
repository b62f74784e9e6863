//! Numbers in as few bytes as they need: seven bits in each, the lowest first, and the highest bit set in all but the last.
//!
//! Source: the protobuf documentation, "Encoding", "Base 128 Varints".

/// Writes a number.
#[inline]
pub(crate) fn put(buf: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        buf.push(value as u8 | 0x80);
        value >>= 7;
    }
    buf.push(value as u8);
}

/// Reads a number off the front of `bytes`. None if there is none.
#[inline]
pub(crate) fn take(bytes: &mut &[u8]) -> Option<u64> {
    // Nearly all have one byte.
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
    // The tenth byte has the last bit, and nothing more.
    let (byte, rest) = bytes.split_first()?;
    (*byte < 2).then(|| (value | u64::from(*byte) << 63, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back() {
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
