//! Checks keys, names and prefixes.

use soloist::v1::error::Reason;

use super::path::{BadArgument, Path};
use crate::config::{Limits, NAME_BYTES_MAX};
use crate::machine::{Key, Name};

/// Whether `text` is a valid key. [`key`] also tells what is wrong with it.
pub(crate) fn is_key(text: &str, limits: &Limits) -> bool {
    is_name(text, limits.max_key_bytes)
}

/// Whether `text` is a valid name of at most `bytes_max` bytes. [`checked_name`] also tells what is wrong with it.
pub(crate) fn is_name(text: &str, bytes_max: usize) -> bool {
    let plain = |byte: &u8| (b' '..0x7f).contains(byte);
    !text.is_empty()
        && text.len() <= bytes_max
        && !text.starts_with('$')
        // Printable ASCII is checked first, because most names are, and it is quicker than decoding characters.
        && (text.as_bytes().iter().all(plain) || !text.contains(char::is_control))
}

/// Checks a key.
pub(super) fn key(path: &Path<'_>, key: String, limits: &Limits) -> Result<Key, BadArgument> {
    checked_name(path, Reason::BadKey, key, limits.max_key_bytes)
}

/// Checks the name of a session, machine or state.
pub(super) fn name(path: &Path<'_>, reason: Reason, name: String) -> Result<Name, BadArgument> {
    checked_name(path, reason, name, NAME_BYTES_MAX)
}

/// Checks a name of at most `bytes_max` bytes.
pub(super) fn checked_name(
    path: &Path<'_>,
    reason: Reason,
    name: String,
    bytes_max: usize,
) -> Result<Name, BadArgument> {
    if is_name(&name, bytes_max) {
        return Ok(Name::from(name));
    }
    let bad = |problem| path.bad(reason, problem);
    if name.is_empty() {
        return Err(BadArgument {
            limit: Some("1".into()),
            actual: Some("0".into()),
            ..bad("is empty, but must have at least 1 byte".to_owned())
        });
    }
    if name.len() > bytes_max {
        return Err(path.over_limit(reason, "bytes", bytes_max, name.len()));
    }
    if name.starts_with('$') {
        return Err(bad(format!(
            "is {name:?}, but names that begin with $ are reserved"
        )));
    }
    let (at, char) = name
        .char_indices()
        .find(|(_, char)| char.is_control())
        .expect("a name that breaks no other rule has a control character");
    Err(bad(format!(
        "has the control character U+{:04X} at byte {at}",
        char as u32
    )))
}

/// Checks a prefix of keys. The rules are those of a key, except that a prefix may be empty.
pub(super) fn check_prefix(
    path: &Path<'_>,
    reason: Reason,
    prefix: &str,
    limits: &Limits,
) -> Result<(), BadArgument> {
    if prefix.is_empty() || is_name(prefix, limits.max_key_bytes) {
        return Ok(());
    }
    checked_name(path, reason, prefix.to_owned(), limits.max_key_bytes).map(|_| ())
}
