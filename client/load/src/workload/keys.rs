//! The keys: numbers from 0, drawn from a distribution without approximation.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use crate::plan::choices::KeyDist;

use crate::plan::choices::Part;

/// Draws the numbers of keys. Clones share the keys: a key that one of them adds can be drawn by all.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    /// How many keys there are before the run.
    count: u64,
    /// How many keys there are now.
    present: Arc<AtomicU64>,
    part: Part,
    dist: Dist,
    /// The next key of the sequential distribution. Each clone has its own.
    position: u64,
}

#[derive(Clone, Debug)]
enum Dist {
    Uniform,
    Zipfian(Arc<AliasTable>),
    Latest(Arc<AliasTable>),
    Sequential,
}

impl Keys {
    /// `count` keys are there before the run. `part` decides which numbers the added keys get, so that no two agents
    /// add the same key.
    pub(crate) fn new(count: u64, dist: KeyDist, part: Part) -> Self {
        let zipfian = |theta: f64| {
            let weights = (1..=count).map(|rank| (rank as f64).powf(-theta)).collect();
            Arc::new(AliasTable::new(weights))
        };
        Self {
            count,
            present: Arc::new(AtomicU64::new(count)),
            dist: match dist {
                KeyDist::Uniform => Dist::Uniform,
                KeyDist::Zipfian { theta } => Dist::Zipfian(zipfian(theta)),
                KeyDist::Latest { theta } => Dist::Latest(zipfian(theta)),
                KeyDist::Sequential => Dist::Sequential,
            },
            position: 0,
            part,
        }
    }

    /// Returns how many keys there are before the run.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// Makes the sequential distribution begin at this fraction of the keys, from 0 to 1.
    pub(crate) fn begin_at(&mut self, fraction: f64) {
        self.position = (self.count as f64 * fraction) as u64;
    }

    /// Returns the number of the key for the next operation.
    pub(crate) fn draw(&mut self, rng: &mut SmallRng) -> u64 {
        match &self.dist {
            Dist::Uniform => rng.random_range(0..self.count),
            Dist::Zipfian(table) => table.draw(rng),
            Dist::Latest(table) => {
                let newest = self.present.load(Ordering::Relaxed) - 1;
                self.numbered(newest - table.draw(rng))
            }
            Dist::Sequential => {
                let number = self.position % self.count;
                self.position = number + 1;
                number
            }
        }
    }

    /// Adds a key, and returns its number. No other worker or agent adds the same.
    pub(crate) fn add(&self) -> u64 {
        self.numbered(self.present.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the number of the `number`th key that this process knows. All agents share the keys that are there before
    /// the run; of the keys after those, each agent has every `part.of`th.
    fn numbered(&self, number: u64) -> u64 {
        match number.checked_sub(self.count) {
            None => number,
            Some(added) => self.count + added * self.part.of + self.part.index,
        }
    }
}

/// Draws from any finite distribution in constant time: it draws a column uniformly, and then one of the two numbers that
/// share the column.
///
/// M. D. Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE Transactions on
/// Software Engineering 17(9), 1991. It is exact, unlike the approximation by Gray et al. that YCSB uses.
#[derive(Debug)]
pub(crate) struct AliasTable {
    columns: Vec<Column>,
}

/// A column has the number of its place, and shares the rest with another number.
#[derive(Debug)]
struct Column {
    /// The part of the column that its own number has, from 0 to 1.
    own: f64,
    /// The number that has the rest.
    alias: u32,
}

impl AliasTable {
    /// Takes 1 to 2^32 weights, positive and finite. They need not add up to 1.
    fn new(weights: Vec<f64>) -> Self {
        let scale = weights.len() as f64 / weights.iter().sum::<f64>();
        let mut columns: Vec<Column> = weights
            .into_iter()
            .map(|weight| Column {
                own: weight * scale,
                alias: 0,
            })
            .collect();

        let numbers = 0..u32::try_from(columns.len()).expect("--keys is below 2^32");
        let (mut small, mut large): (Vec<u32>, Vec<u32>) =
            numbers.partition(|&column| columns[column as usize].own < 1.0);
        while let (Some(&poor), Some(&rich)) = (small.last(), large.last()) {
            small.pop();
            columns[poor as usize].alias = rich;
            let rest = columns[rich as usize].own + columns[poor as usize].own - 1.0;
            columns[rich as usize].own = rest;
            if rest < 1.0 {
                large.pop();
                small.push(rich);
            }
        }
        // Columns that are left over are full but for rounding errors.
        for column in small.into_iter().chain(large) {
            columns[column as usize].own = 1.0;
        }
        Self { columns }
    }

    fn draw(&self, rng: &mut impl Rng) -> u64 {
        let number = rng.random_range(0..self.columns.len());
        let column = &self.columns[number];
        match rng.random::<f64>() < column.own {
            true => number as u64,
            false => u64::from(column.alias),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const ALONE: Part = Part { index: 0, of: 1 };

    /// Pearson's test at a significance of 0.1%, with the Wilson-Hilferty approximation of the quantile.
    fn check(count: u64, dist: KeyDist, weight: impl Fn(u64) -> f64) {
        const DRAWS: u32 = 1_000_000;
        let mut keys = Keys::new(count, dist, ALONE);
        let mut rng = SmallRng::seed_from_u64(7);
        let mut observed = vec![0u32; count as usize];
        for _ in 0..DRAWS {
            observed[keys.draw(&mut rng) as usize] += 1;
        }

        let total: f64 = (0..count).map(&weight).sum();
        let chi_square: f64 = observed
            .iter()
            .zip(0..)
            .map(|(&observed, key)| {
                let expected = f64::from(DRAWS) * weight(key) / total;
                (f64::from(observed) - expected).powi(2) / expected
            })
            .sum();
        let freedom = (count - 1) as f64;
        let spread = 2.0 / (9.0 * freedom);
        let critical = freedom * (1.0 - spread + 3.09 * spread.sqrt()).powi(3);
        assert!(
            chi_square < critical,
            "{dist} over {count} keys: {chi_square} is not below {critical}"
        );
    }

    #[test]
    fn uniform_is_uniform() {
        check(5, KeyDist::Uniform, |_| 1.0);
        check(1_000, KeyDist::Uniform, |_| 1.0);
    }

    #[test]
    fn zipfian_is_exact() {
        for (count, theta) in [
            (5, 0.99),
            (1_000, 0.99),
            (1_000, 0.5),
            (100, 1.3),
            (10, 0.0),
        ] {
            check(count, KeyDist::Zipfian { theta }, |key| {
                ((key + 1) as f64).powf(-theta)
            });
        }
    }

    #[test]
    fn the_latest_keys_are_drawn_most_and_new_ones_at_once() {
        let mut keys = Keys::new(10, KeyDist::Latest { theta: 0.99 }, ALONE);
        let mut rng = SmallRng::seed_from_u64(1);
        for newest in [10, 11, 12] {
            assert_eq!(keys.add(), newest);
            let mut drawn = [0; 13];
            for _ in 0..10_000 {
                drawn[keys.draw(&mut rng) as usize] += 1;
            }
            let most = (0..13).max_by_key(|&number| drawn[number]);
            assert_eq!(most, Some(newest as usize));
            assert_eq!(drawn[newest as usize - 10], 0);
        }
    }

    #[test]
    fn no_two_agents_add_the_same_key() {
        let added = |index| {
            let part = Part { index, of: 2 };
            let keys = Keys::new(10, KeyDist::Uniform, part);
            [keys.add(), keys.add()]
        };
        assert_eq!((added(0), added(1)), ([10, 12], [11, 13]));
    }

    #[test]
    fn the_sequential_distribution_draws_every_key() {
        let mut keys = Keys::new(5, KeyDist::Sequential, ALONE);
        keys.begin_at(0.5);
        let mut rng = SmallRng::seed_from_u64(1);
        let drawn: Vec<u64> = (0..6).map(|_| keys.draw(&mut rng)).collect();
        assert_eq!(drawn, [2, 3, 4, 0, 1, 2]);
    }

    #[test]
    fn a_single_key_is_drawn_always() {
        let mut rng = SmallRng::seed_from_u64(1);
        for dist in [
            KeyDist::Uniform,
            KeyDist::Zipfian { theta: 0.99 },
            KeyDist::Latest { theta: 0.99 },
            KeyDist::Sequential,
        ] {
            assert_eq!(Keys::new(1, dist, ALONE).draw(&mut rng), 0);
        }
    }

    #[test]
    fn the_chi_square_test_finds_a_slightly_wrong_distribution() {
        let wrong = std::panic::catch_unwind(|| {
            check(1_000, KeyDist::Zipfian { theta: 0.99 }, |key| {
                ((key + 1) as f64).powf(-0.95)
            });
        });
        assert!(wrong.is_err());
    }
}
