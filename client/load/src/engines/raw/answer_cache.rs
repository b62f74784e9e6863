//! Recognises answers that were decoded before.

use crate::plan::settings::Settings;

/// The most keys whose answer is kept: some megabytes.
const KEYS_MAX: u64 = 16_384;

/// The longest answer that is kept, in bytes: ints and short texts.
const ANSWER_BYTES_MAX: usize = 256;

/// The last answer to a Read of each of the first keys, if it was decoded and found to be an entry.
///
/// The same bytes are the same answer, and comparing them costs a tenth of decoding.
pub(crate) struct AnswerCache(Vec<Vec<u8>>);

impl AnswerCache {
    /// Returns an empty cache. It keeps nothing for a workload that depends on answers: there every answer is needed.
    pub(crate) fn new(settings: &Settings) -> Self {
        let kept = match settings.mix.depends_on_answers() {
            true => 0,
            false => settings.keys.min(KEYS_MAX),
        };
        Self((0..kept).map(|_| Vec::new()).collect())
    }

    /// Returns whether this is the last answer that was kept for the key.
    pub(crate) fn contains(&self, key: u64, message: &[u8]) -> bool {
        let kept = self.0.get(key as usize);
        kept.is_some_and(|kept| !kept.is_empty() && kept == message)
    }

    /// Keeps an answer that is an entry.
    pub(crate) fn keep(&mut self, key: u64, message: &[u8]) {
        if let Some(kept) = self.0.get_mut(key as usize)
            && message.len() <= ANSWER_BYTES_MAX
        {
            kept.clear();
            kept.extend_from_slice(message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command_line::resolve::tests::settings;

    #[test]
    fn an_answer_is_recognised_by_its_key_and_all_its_bytes() {
        let mut answers = AnswerCache::new(&settings("--engine raw --keys 5 -n 1").unwrap());
        assert!(!answers.contains(1, b""));
        answers.keep(1, b"one");
        let cases: [(u64, &[u8], bool); 5] = [
            (1, b"one", true),
            (1, b"on", false),
            (1, b"onf", false),
            (2, b"one", false),
            (9, b"one", false),
        ];
        for (key, message, known) in cases {
            assert_eq!(answers.contains(key, message), known, "{key} {message:?}");
        }
        answers.keep(1, b"two");
        assert!(answers.contains(1, b"two") && !answers.contains(1, b"one"));
        let long = [1; ANSWER_BYTES_MAX + 1];
        answers.keep(2, &long);
        assert!(!answers.contains(2, &long));
    }

    #[test]
    fn a_workload_that_depends_on_answers_decodes_all_of_them() {
        let mut answers = AnswerCache::new(&settings("--engine raw --workload f -n 1").unwrap());
        answers.keep(1, b"one");
        assert!(!answers.contains(1, b"one"));
    }
}
