//! Keys, names and prefixes.

use soloist::v1::error::Reason;

use super::path::{BadArgument, Path};
use crate::config::{Limits, NAME_BYTES_MAX};
use crate::machine::{Key, Name};

/// Whether `text` may be a key; [`key`] tells why not.
pub(crate) fn is_key(text: &str, limits: &Limits) -> bool {
    is_name(text, limits.max_key_bytes)
}

/// Whether `text` may be a name of up to so many bytes; [`checked_name`] tells why not.
pub(crate) fn is_name(text: &str, bytes_max: usize) -> bool {
    let plain = |byte: &u8| (b' '..0x7f).contains(byte);
    !text.is_empty()
        && text.len() <= bytes_max
        && !text.starts_with('$')
        // Most names are ASCII, which is quicker to look through.
        && (text.as_bytes().iter().all(plain) || !text.contains(char::is_control))
}

pub(super) fn key(path: &Path<'_>, key: String, limits: &Limits) -> Result<Key, BadArgument> {
    checked_name(path, Reason::BadKey, key, limits.max_key_bytes)
}

/// The name of a session, machine or state.
pub(super) fn name(path: &Path<'_>, reason: Reason, name: String) -> Result<Name, BadArgument> {
    checked_name(path, reason, name, NAME_BYTES_MAX)
}

/// A name of up to so many bytes.
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
        .expect("nothing else is wrong with it");
    Err(bad(format!(
        "has the control character U+{:04X} at byte {at}",
        char as u32
    )))
}

/// Checks what names begin with: the same rules as for a key, but it may be empty.
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
