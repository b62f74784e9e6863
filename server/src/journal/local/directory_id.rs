//! The number that a data directory and each of its files carry.

use std::fmt;

use crate::journal::stored::{Header, StoreMeta};

/// Names a data directory. It is drawn when a store is created, written to every file, and never changed: so files of two
/// stores are told apart, whatever happened to them. Clients never see it; they see the `store_id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DirectoryId([u8; Self::LEN]);

impl DirectoryId {
    pub(crate) const LEN: usize = 16;

    /// A new random number.
    pub(crate) fn random() -> Self {
        Self(rand::random())
    }

    /// Reads the number; `None` if these are not [`LEN`](Self::LEN) bytes, as in a file that the first servers wrote.
    pub(crate) fn of_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; Self::LEN] {
        &self.0
    }
}

impl fmt::Display for DirectoryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Eight digits suffice for people.
        self.0[..4]
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl StoreMeta {
    /// The number of the directory; `None` if the first servers wrote the directory.
    pub(crate) fn directory(&self) -> Option<DirectoryId> {
        DirectoryId::of_bytes(&self.directory_id)
    }
}

impl Header {
    /// The number of the directory of a snapshot; `None` if the first servers wrote the snapshot, or it is of no directory.
    pub(crate) fn directory(&self) -> Option<DirectoryId> {
        DirectoryId::of_bytes(&self.directory_id)
    }
}
