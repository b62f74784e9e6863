//! Runs the inputs of a target.

use std::collections::HashSet;
use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread;
use std::time::Instant;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use crate::corpus::{Corpus, from_hex, hex};
use crate::input::{Context, Format};
use crate::shape::Shape;
use crate::watchdog::Watchdog;

/// Inputs of a target of cost 1, if nothing says how many.
const INPUTS: u64 = 50_000;

/// Inputs that are kept in memory to make others from.
const POOL_MAX: usize = 2_000;

/// Something that takes bytes from outside.
#[derive(Debug)]
pub struct Target {
    name: &'static str,
    format: Format,
    cost: u64,
    len_max: usize,
    seeds: Vec<Vec<u8>>,
    words: Vec<Vec<u8>>,
}

impl Target {
    /// A target of this name, which is that of its file in the corpus.
    #[must_use]
    pub fn new(name: &'static str, format: Format) -> Self {
        Self {
            name,
            format,
            cost: 1,
            len_max: 2_000,
            seeds: Vec::new(),
            words: Vec::new(),
        }
    }

    /// Has the target take a part of the inputs only: 1 of so many.
    #[must_use]
    pub fn cost(self, cost: u64) -> Self {
        Self { cost, ..self }
    }

    /// Inputs are cut off at this length.
    #[must_use]
    pub fn len_max(self, len_max: usize) -> Self {
        Self { len_max, ..self }
    }

    /// Adds inputs to begin with, besides those of the corpus.
    #[must_use]
    pub fn seeds(mut self, seeds: impl IntoIterator<Item = Vec<u8>>) -> Self {
        self.seeds.extend(seeds);
        self
    }

    /// Adds words that mutations put into inputs.
    #[must_use]
    pub fn words<W: AsRef<[u8]>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words
            .extend(words.into_iter().map(|word| word.as_ref().to_vec()));
        self
    }

    /// Hands inputs to `check`, each of which must end without a panic.
    ///
    /// # Panics
    /// With the first input that fails, and with what to type to replay it.
    pub fn run(self, mut check: impl FnMut(&[u8]) -> Shape) {
        if let Ok(input) = env::var("SOLOIST_FUZZ_INPUT") {
            let input = from_hex(&input).expect("SOLOIST_FUZZ_INPUT must be hexadecimal");
            check(&input);
            return;
        }
        let seed = number("SOLOIST_FUZZ_SEED").unwrap_or(1);
        let count = number("SOLOIST_FUZZ_INPUTS").unwrap_or(INPUTS);
        let count = (count / self.cost).max(1);
        let report = Report {
            target: self.name,
            seed,
            test: thread::current().name().unwrap_or_default().to_owned(),
        };
        let watchdog = {
            let report = report.clone();
            Watchdog::start(move |number, input| report.of(number, input))
        };
        let corpus = Corpus::read(self.name);
        let mut pool = Pool::default();
        let mut tried = 0;
        let mut try_one = |input: &[u8], pool: &mut Pool| {
            tried += 1;
            watchdog.next(tried, input);
            match catch_unwind(AssertUnwindSafe(|| check(input))) {
                Ok(shape) => pool.add(shape, input),
                Err(_) => panic!("{}", report.of(tried, input)),
            }
        };

        let began = Instant::now();
        for input in corpus.inputs.iter().chain(&self.seeds) {
            try_one(input, &mut pool);
        }
        let known = pool.inputs.len();
        let mut rng = SmallRng::seed_from_u64(seed ^ crate::shape::hash(self.name.as_bytes()));
        let mut input = Vec::new();
        for _ in 0..count {
            self.make(&mut rng, &pool, &mut input);
            try_one(&input, &mut pool);
        }
        let rate = tried as f64 / began.elapsed().as_secs_f64();
        #[expect(clippy::print_stdout, reason = "shown by cargo test -- --nocapture")]
        {
            println!(
                "fuzz {}: {tried} inputs, {rate:.0}/s, {} shapes, {} of them new",
                self.name,
                pool.seen.len(),
                pool.seen.len() - known
            );
        }
        if env::var_os("SOLOIST_FUZZ_KEEP").is_some() {
            corpus.keep(pool.inputs.split_off(known));
        }
    }

    /// Makes an input.
    fn make(&self, rng: &mut SmallRng, pool: &Pool, input: &mut Vec<u8>) {
        input.clear();
        if pool.inputs.is_empty() || rng.random_bool(0.01) {
            let len = rng.random_range(0..self.len_max.min(200));
            input.extend((0..len).map(|_| rng.random::<u8>()));
            return;
        }
        input.extend_from_slice(pool.pick(rng));
        let context = Context {
            words: &self.words,
            other: pool.pick(rng),
        };
        loop {
            match rng.random_bool(0.15) {
                true => crate::mutate::mutate(rng, input, &context),
                false => self.format.mutate(rng, input, &context),
            }
            input.truncate(self.len_max);
            if rng.random_bool(0.5) {
                return;
            }
        }
    }
}

/// The inputs to make others from: the first of each shape.
#[derive(Default)]
struct Pool {
    seen: HashSet<Shape>,
    inputs: Vec<Vec<u8>>,
}

impl Pool {
    fn add(&mut self, shape: Shape, input: &[u8]) {
        if self.inputs.len() < POOL_MAX && self.seen.insert(shape) {
            self.inputs.push(input.to_vec());
        }
    }

    fn pick(&self, rng: &mut SmallRng) -> &[u8] {
        &self.inputs[rng.random_range(0..self.inputs.len())]
    }
}

/// What is told of an input that failed.
#[derive(Clone)]
struct Report {
    target: &'static str,
    seed: u64,
    test: String,
}

impl Report {
    fn of(&self, number: u64, input: &[u8]) -> String {
        let package = env::var("CARGO_PKG_NAME").unwrap_or_default();
        let input = hex(input);
        format!(
            "fuzz {}: input {number} of seed {} failed: {input}\nreplay it: SOLOIST_FUZZ_INPUT={input} cargo test -p {package} {}\n\
             keep it: add it to fuzz/corpus/{}.txt",
            self.target, self.seed, self.test, self.target
        )
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = env::var(variable).ok()?;
    let number = text.replace('_', "").parse();
    Some(number.unwrap_or_else(|_| panic!("{variable} is {text:?}, but must be a number")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_found_and_its_input_told() {
        let run = || {
            Target::new("of_no_file", Format::Bytes)
                .seeds([b"a key".to_vec()])
                .words(["!!"])
                .run(|input| {
                    assert!(!input.windows(2).any(|two| two == b"!!"), "found");
                    Shape::of("sound").with(input.len().min(8))
                });
        };
        let found = catch_unwind(run).unwrap_err();
        let text = found.downcast_ref::<String>().unwrap();
        for part in ["seed", "2121", "SOLOIST_FUZZ_INPUT=", "a_panic_is_found"] {
            assert!(text.contains(part), "{text}");
        }
    }
}
