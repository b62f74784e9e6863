//! Results of Reads that found ints, put together from pieces of up to eight bytes.
//!
//! A piece is made in a register, and stored by one instruction where it belongs. To encode a result byte by byte and then copy it takes
//! longer: a wide load of bytes that were just stored one by one cannot be served by store forwarding, so it waits until they are
//! in the cache.

/// Numbers below this have seven bytes at most as a varint, so that a tag fits in front.
const SHORT: u64 = 1 << 49;

/// Bytes of a message, at most eight: the first is the lowest of `bits`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    bits: u64,
    len: usize,
}

impl Piece {
    const ABSENT: Self = Self { bits: 0, len: 0 };

    /// These bytes.
    #[inline(always)]
    pub(super) fn of<const N: usize>(bytes: [u8; N]) -> Self {
        let mut all = [0; 8];
        all[..N].copy_from_slice(&bytes);
        Self {
            bits: u64::from_le_bytes(all),
            len: N,
        }
    }

    /// An int64 field, which is left out if it is 0. `None` if it is too long for a piece.
    #[inline(always)]
    pub(super) fn int(field: u8, int: i64) -> Option<Self> {
        match int {
            0 => Some(Self::ABSENT),
            int => Self::present_int(field, int),
        }
    }

    /// An int64 field, also if it is 0.
    #[inline(always)]
    pub(super) fn present_int(field: u8, int: i64) -> Option<Self> {
        let value = int.cast_unsigned();
        if value >= SHORT {
            return None;
        }
        let bits = value.checked_ilog2().unwrap_or(0) as usize + 1;
        let len = bits.div_ceil(7);
        // Seven bits go to each byte: halves move apart, then quarters, then eighths.
        let spread = (value & 0x0fff_ffff) | (value & !0x0fff_ffff) << 4;
        let spread = (spread & 0x0000_3fff_0000_3fff) | (spread & 0x0fff_c000_0fff_c000) << 2;
        let spread = (spread & 0x007f_007f_007f_007f) | (spread & 0x3f80_3f80_3f80_3f80) << 1;
        // The highest bit of each byte but the last.
        let more = 0x0080_8080_8080_8080 & ((1 << (8 * (len - 1))) - 1);
        Some(Self {
            bits: (spread | more) << 8 | u64::from(field << 3),
            len: len + 1,
        })
    }

    #[inline(always)]
    pub(super) fn len(self) -> usize {
        self.len
    }
}

/// Appends pieces.
#[inline(always)]
pub(super) fn append<const N: usize>(buf: &mut Vec<u8>, pieces: [Piece; N]) {
    /// As many as a Read's result has.
    const PIECES_MAX: usize = 5;
    const { assert!(N <= PIECES_MAX) };
    let start = buf.len();
    // Whole pieces are stored, so there must be room behind the last.
    buf.extend_from_slice(&[0; 8 * PIECES_MAX]);
    let room = &mut buf[start..];
    let mut at = 0;
    for Piece { bits, len } in pieces {
        room[at..at + 8].copy_from_slice(&bits.to_le_bytes());
        at += len;
    }
    buf.truncate(start + at);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn appended<const N: usize>(pieces: [Piece; N]) -> Vec<u8> {
        let mut buf = vec![7];
        append(&mut buf, pieces);
        buf.split_off(1)
    }

    #[test]
    fn ints_are_encoded_as_prost_does() {
        let powers = (0..64).map(|shift| 1_u64 << shift);
        let numbers = powers.flat_map(|power| [power - 1, power, power + 1, power | power >> 3]);
        for number in numbers.chain([u64::MAX]) {
            let int = number.cast_signed();
            let piece = Piece::present_int(5, int);
            if number >= SHORT {
                assert_eq!((piece, Piece::int(5, int)), (None, None));
                continue;
            }
            let mut expected = Vec::new();
            prost::encoding::int64::encode(5, &int, &mut expected);
            assert_eq!(piece.unwrap().len(), expected.len());
            assert_eq!(appended([piece.unwrap()]), expected, "{number}");
            if number > 0 {
                assert_eq!(Piece::int(5, int), piece);
            }
        }
        assert_eq!(Piece::int(5, 0), Some(Piece::ABSENT));
    }

    #[test]
    fn pieces_follow_each_other() {
        let long = Piece::present_int(1, i64::try_from(SHORT - 1).unwrap()).unwrap();
        assert_eq!(long.len(), 8);
        let all = appended([Piece::of([1, 2, 3]), Piece::ABSENT, long, long, long]);
        assert_eq!(all.len(), 3 + 3 * 8);
        assert_eq!(&all[..3], [1, 2, 3]);
        assert_eq!(all[3..11], all[19..]);
    }
}
