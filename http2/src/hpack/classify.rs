//! What fields mean to whoever decodes them.

/// Says what a field means. The decoder asks once for each entry of the dynamic table, and once for each field that is in no
/// table.
pub trait Classify {
    /// What a field means. It is copied for each field, so it should be small.
    type Class: Copy;

    /// The class of a field.
    fn class(&self, name: &[u8], value: &[u8]) -> Self::Class;

    /// The class of an entry of the static table, whose index is from 1 to [`STATIC_TABLE_LEN`](super::STATIC_TABLE_LEN).
    fn class_of_static(&self, index: usize) -> Self::Class;
}

/// For decoders whose fields are told apart by their names.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unclassified;

impl Classify for Unclassified {
    type Class = ();

    #[inline]
    fn class(&self, _name: &[u8], _value: &[u8]) {}

    #[inline]
    fn class_of_static(&self, _index: usize) {}
}
