//! HPACK: header blocks to fields and back.
//!
//! - `decoder` reads blocks. Its dynamic table, `table`, keeps with each entry what the entry means (a [`Classify`] says so), so
//!   that an indexed field is a look-up and nothing is compared.
//! - `encoder` writes blocks with the dynamic table of the peer.
//! - `primitives` are integers and strings, `static_table` is the table that everybody knows.
//!
//! There is no crate for it: those that only do HPACK have had no release since 2024 at the latest, and they panic on a truncated
//! block (`httlib-hpack`) or build their Huffman table again for each string (`loona-hpack`).
//!
//! Source: RFC 7541.

mod classify;
mod decoder;
mod encoder;
mod error;
mod primitives;
mod static_table;
mod table;

pub use classify::{Classify, Unclassified};
pub use decoder::Decoder;
pub use encoder::{Encoder, HeaderField, Validity};
pub use error::HpackError;
pub use primitives::{put_integer, put_string};
#[cfg(test)]
pub(crate) use static_table::STATIC_TABLE;
pub use static_table::{STATIC_TABLE_LEN, static_entry};
pub(crate) use static_table::{static_index, static_name_index};
pub(crate) use table::ENTRY_OVERHEAD;
