//! What a request asks for, in short, to tell whether one that comes again under the same id is the same.

use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::machine::Fingerprint;

/// The first half of the SHA-256 of the encoded content: two contents that differ never have the same, and prost encodes
/// equal ones equally (fields in order, no maps among them). It may be stored, so it must not depend on this build.
pub(crate) fn fingerprint(content: &impl Message) -> Fingerprint {
    let digest = Sha256::digest(content.encode_to_vec());
    let (half, _) = digest
        .split_first_chunk::<16>()
        .expect("SHA-256 has 32 bytes");
    Fingerprint(u128::from_be_bytes(*half))
}
