//! Mutations of messages of protobuf: of a field at any depth, with the lengths around it put right.

use rand::RngExt as _;
use rand::rngs::SmallRng;

use crate::input::Context;
use crate::mutate;

/// A field as it is on the wire: its tag, and what follows the tag, without the length of a length-delimited one.
struct Field<'a> {
    number: u64,
    wire_type: u8,
    payload: std::borrow::Cow<'a, [u8]>,
}

pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// The varint at the front of `bytes`, and the bytes after it.
fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let len = 1 + bytes.iter().take(10).position(|byte| *byte < 0x80)?;
    let (varint, rest) = bytes.split_at(len);
    let value = varint
        .iter()
        .rev()
        .fold(0, |value: u64, byte| value << 7 | u64::from(byte & 0x7f));
    Some((value, rest))
}

/// The fields of a message; none if it is no message.
fn fields(mut message: &[u8]) -> Option<Vec<Field<'_>>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        let (tag, rest) = varint(message)?;
        let wire_type = (tag & 7) as u8;
        let (payload, rest) = match wire_type {
            0 => {
                let (_, after) = varint(rest)?;
                rest.split_at(rest.len() - after.len())
            }
            1 => rest.split_at_checked(8)?,
            2 => {
                let (length, rest) = varint(rest)?;
                rest.split_at_checked(usize::try_from(length).ok()?)?
            }
            5 => rest.split_at_checked(4)?,
            _ => return None,
        };
        if tag >> 3 == 0 {
            return None;
        }
        fields.push(Field {
            number: tag >> 3,
            wire_type,
            payload: payload.into(),
        });
        message = rest;
    }
    Some(fields)
}

fn encode(fields: &[Field<'_>]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        put_varint(&mut out, field.number << 3 | u64::from(field.wire_type));
        if field.wire_type == 2 {
            put_varint(&mut out, field.payload.len() as u64);
        }
        out.extend_from_slice(&field.payload);
    }
    out
}

/// Changes a message in one way: mostly a field of it, at any depth.
pub(crate) fn mutate(rng: &mut SmallRng, message: &[u8], context: &Context<'_>) -> Vec<u8> {
    let parsed = fields(message).filter(|_| rng.random_bool(0.9));
    let Some(mut fields) = parsed else {
        let mut bytes = message.to_vec();
        mutate::mutate(rng, &mut bytes, context);
        return bytes;
    };
    match rng.random_range(0..10) {
        0 => fields.push(new_field(rng)),
        1 => {
            let others = other_fields(context.other);
            let at = rng.random_range(0..=fields.len());
            if let Some(others) = others
                && !others.is_empty()
            {
                let index = rng.random_range(0..others.len());
                fields.extend(others.into_iter().nth(index));
                let last = fields.len() - 1;
                fields.swap(at, last);
            }
        }
        _ if fields.is_empty() => fields.push(new_field(rng)),
        _ => {
            let at = rng.random_range(0..fields.len());
            mutate_field(rng, &mut fields, at, context);
        }
    }
    encode(&fields)
}

fn mutate_field(rng: &mut SmallRng, list: &mut Vec<Field<'_>>, at: usize, context: &Context<'_>) {
    match rng.random_range(0..12) {
        0 => drop(list.remove(at)),
        1 => {
            let Field {
                number,
                wire_type,
                payload,
            } = &list[at];
            let copy = Field {
                number: *number,
                wire_type: *wire_type,
                payload: payload.clone(),
            };
            list.insert(at, copy);
        }
        2 => list[at].number = rng.random_range(1..20),
        3 => {
            let to = rng.random_range(0..list.len());
            list.swap(at, to);
        }
        4 => {
            let new = new_field(rng);
            list[at] = Field {
                number: list[at].number,
                ..new
            };
        }
        _ => {
            let field = &mut list[at];
            let payload = match field.wire_type {
                0 => {
                    let mut bytes = Vec::new();
                    put_varint(&mut bytes, mutate::number(rng));
                    bytes
                }
                2 if fields(&field.payload).is_some_and(|inner| !inner.is_empty())
                    && rng.random_bool(0.8) =>
                {
                    mutate(rng, &field.payload, context)
                }
                2 => {
                    let mut bytes = field.payload.to_vec();
                    mutate::mutate(rng, &mut bytes, context);
                    bytes
                }
                _ => field.payload.iter().map(|_| rng.random()).collect(),
            };
            field.payload = payload.into();
        }
    }
}

/// The fields of another input, behind its selector.
fn other_fields(other: &[u8]) -> Option<Vec<Field<'_>>> {
    fields(other.get(1..)?)
}

fn new_field(rng: &mut SmallRng) -> Field<'static> {
    let wire_type = [0, 0, 2, 2, 2, 1, 5][rng.random_range(0..7)];
    let payload = match wire_type {
        0 => {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, mutate::number(rng));
            bytes
        }
        1 => rng.random::<[u8; 8]>().to_vec(),
        5 => rng.random::<[u8; 4]>().to_vec(),
        _ => (0..rng.random_range(0..6))
            .map(|_| rng.random_range(b' '..=b'~'))
            .collect(),
    };
    Field {
        number: rng.random_range(1..18),
        wire_type,
        payload: payload.into(),
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn a_message_is_encoded_as_it_was_parsed() {
        let message = [0x0a, 2, b'k', b'v', 0x10, 0x80, 1, 0x1d, 1, 2, 3, 4];
        assert_eq!(encode(&fields(&message).unwrap()), message);
        assert!(fields(&message[..3]).is_none());
        assert!(fields(&[0]).is_none());
    }

    #[test]
    fn most_mutants_are_messages() {
        let mut rng = SmallRng::seed_from_u64(1);
        let message = [0x0a, 4, 0x0a, 2, b'k', b'v', 0x10, 7];
        let context = Context {
            words: &[],
            other: &[],
        };
        let mutants = (0..1_000).map(|_| mutate(&mut rng, &message, &context));
        let sound = mutants.filter(|mutant| fields(mutant).is_some()).count();
        assert!(sound > 800, "{sound} of 1,000");
    }
}
