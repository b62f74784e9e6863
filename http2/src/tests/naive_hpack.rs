//! RFC 7541 once more, for comparison: a list of entries, and numbers without a limit.

use super::naive_huffman;
use crate::hpack::STATIC_TABLE;

pub(crate) type Field = (Vec<u8>, Vec<u8>);

/// The dynamic table, the newest entry first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Naive {
    entries: Vec<Field>,
    size_max: usize,
    limit: usize,
    list_max: usize,
}

impl Naive {
    pub(crate) fn new(limit: usize, list_max: usize) -> Self {
        Self {
            entries: Vec::new(),
            size_max: limit,
            limit,
            list_max,
        }
    }

    /// The fields of a block; none if it breaks a rule.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Option<Vec<Field>> {
        let mut rest = block;
        let mut fields = Vec::new();
        let mut is_first = true;
        while let Some(first) = rest.first() {
            let leading_zeros = first.leading_zeros();
            if leading_zeros == 2 {
                let size = usize::try_from(number(&mut rest, 5)?).ok()?;
                if size > self.limit || !is_first {
                    return None;
                }
                self.size_max = size;
                self.shrink();
                continue;
            }
            is_first = false;
            let field = match leading_zeros {
                0 => {
                    let index = number(&mut rest, 7)?;
                    self.known(index)?
                }
                _ => {
                    let bits = if leading_zeros == 1 { 6 } else { 4 };
                    let name = match number(&mut rest, bits)? {
                        0 => text(&mut rest)?,
                        index => self.known(index)?.0,
                    };
                    (name, text(&mut rest)?)
                }
            };
            fields.push(field.clone());
            if fields.iter().map(size).sum::<usize>() > self.list_max {
                return None;
            }
            if leading_zeros == 1 {
                self.entries.insert(0, field);
                self.shrink();
            }
        }
        Some(fields)
    }

    fn shrink(&mut self) {
        while self.entries.iter().map(size).sum::<usize>() > self.size_max {
            self.entries.pop();
        }
    }

    fn known(&self, index: u128) -> Option<Field> {
        let at = usize::try_from(index).ok()?.checked_sub(1)?;
        let bytes =
            |(name, value): &(&str, &str)| (name.as_bytes().into(), value.as_bytes().into());
        match at.checked_sub(STATIC_TABLE.len()) {
            None => STATIC_TABLE.get(at).map(bytes),
            Some(at) => self.entries.get(at).cloned(),
        }
    }
}

fn size((name, value): &Field) -> usize {
    name.len() + value.len() + 32
}

fn number(rest: &mut &[u8], bits: u32) -> Option<u128> {
    let most = (1 << bits) - 1;
    let first = take(rest)? & most;
    if first < most {
        return Some(first.into());
    }
    let mut value = u128::from(most);
    // The decoder takes four bytes more at most, which is 256 MiB.
    for shift in [0, 7, 14, 21] {
        let byte = take(rest)?;
        value += u128::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn text(rest: &mut &[u8]) -> Option<Vec<u8>> {
    let is_coded = rest.first()? & 0x80 != 0;
    let length = usize::try_from(number(rest, 7)?).ok()?;
    let (text, after) = rest.split_at_checked(length)?;
    *rest = after;
    match is_coded {
        true => naive_huffman::decode(text),
        false => Some(text.to_vec()),
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}
