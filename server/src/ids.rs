//! Ids that several parts of the server give.

/// Returns a name that is unique for all practical purposes: 128 random bits, as hex digits.
pub(crate) fn random_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}
