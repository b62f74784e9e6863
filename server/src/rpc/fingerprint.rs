//! Fingerprints of requests: they tell whether a request with a known request id has the same content as before.

use prost::Message;
use sha2::{Digest as _, Sha256};

use crate::machine::Fingerprint;

/// The first half of the SHA-256 of the encoded content. Different contents have different fingerprints, for all practical
/// purposes. Equal contents have equal ones, because prost encodes fields in order, and the contents have no maps.
///
/// Fingerprints are stored, so this must never change.
pub(crate) fn fingerprint(content: &impl Message) -> Fingerprint {
    let digest = Sha256::digest(content.encode_to_vec());
    let (half, _) = digest
        .split_first_chunk::<16>()
        .expect("SHA-256 has 32 bytes");
    Fingerprint(u128::from_be_bytes(*half))
}
