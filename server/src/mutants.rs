//! Faults that can be put in one at a time, to see whether the tests find them: `.ci/mutants` does. They are compiled in
//! only with the feature `mutants`, and chosen by the environment variable `SOLOIST_MUTANT`.

/// Whether this fault is put in.
#[cfg(not(feature = "mutants"))]
#[inline]
pub(crate) const fn mutant(_name: &str) -> bool {
    false
}

/// Whether this fault is put in.
#[cfg(feature = "mutants")]
pub(crate) fn mutant(name: &str) -> bool {
    use std::sync::OnceLock;
    static CHOSEN: OnceLock<Option<String>> = OnceLock::new();
    let chosen = CHOSEN.get_or_init(|| std::env::var("SOLOIST_MUTANT").ok());
    chosen.as_deref() == Some(name)
}
