//! Who may do what: the access file, and the decisions that follow from it. Nothing here waits or reads anything.
//!
//! An [`Access`] is a whole access file. [`Access::identify`] finds the [`Identity`] of a caller by its [`Credential`], and the
//! identity says what it may do.

mod certificate;
mod file;
#[cfg(test)]
mod fuzz_tests;
mod identity;
mod patterns;
#[cfg(test)]
mod tests;
mod token;

pub use certificate::{CertificateName, certificate_names};
pub use file::{Access, AccessError, Credential};
pub use identity::{Identity, Needs};
pub use token::{Token, TokenHash};
