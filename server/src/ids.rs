//! Names that nobody else has.

/// A name that nobody else has: 128 random bits.
pub(crate) fn random_name() -> String {
    format!("{:032x}", rand::random::<u128>())
}
