//! Which key: numbers from 0, drawn uniformly or by an exact zipfian distribution.

use std::sync::Arc;

use rand::rngs::SmallRng;
use rand::{Rng, RngExt};

use super::args::KeyDist;

/// Draws key numbers. Cloning is cheap.
#[derive(Clone, Debug)]
pub(crate) enum Keys {
    Uniform { count: u64 },
    Zipfian(Arc<AliasTable>),
}

impl Keys {
    pub(crate) fn new(count: u64, dist: KeyDist) -> Self {
        match dist {
            KeyDist::Uniform => Self::Uniform { count },
            KeyDist::Zipfian { theta } => {
                let weights = (1..=count).map(|rank| (rank as f64).powf(-theta)).collect();
                Self::Zipfian(Arc::new(AliasTable::new(weights)))
            }
        }
    }

    pub(crate) fn draw(&self, rng: &mut SmallRng) -> u64 {
        match self {
            Self::Uniform { count } => rng.random_range(0..*count),
            Self::Zipfian(table) => table.draw(rng),
        }
    }
}

/// Draws from any finite distribution in constant time: a column is drawn uniformly, then either itself or the one
/// that shares it.
///
/// M. D. Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE Transactions on
/// Software Engineering 17(9), 1991. Exact, unlike the approximation by Gray et al. that YCSB uses.
#[derive(Debug)]
pub(crate) struct AliasTable {
    columns: Vec<Column>,
}

#[derive(Debug)]
struct Column {
    /// The part of the column that is its own, from 0 to 1.
    own: f64,
    /// Who has the rest.
    alias: u32,
}

impl AliasTable {
    /// `weights` are positive and finite, and need not add up to anything; 1 to 2^32 of them.
    fn new(weights: Vec<f64>) -> Self {
        let scale = weights.len() as f64 / weights.iter().sum::<f64>();
        let mut columns: Vec<Column> = weights
            .into_iter()
            .map(|weight| Column {
                own: weight * scale,
                alias: 0,
            })
            .collect();

        let numbers = 0..u32::try_from(columns.len()).expect("the flag's limit is below 2^32");
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
        // What rounding left over is a full column.
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

    /// Pearson's test at a significance of 0.1%, with the Wilson-Hilferty approximation of the quantile.
    fn check(count: u64, dist: KeyDist, weight: impl Fn(u64) -> f64) {
        const DRAWS: u32 = 1_000_000;
        let keys = Keys::new(count, dist);
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
    fn one_key_is_drawn_always() {
        let mut rng = SmallRng::seed_from_u64(1);
        for dist in [KeyDist::Uniform, KeyDist::Zipfian { theta: 0.99 }] {
            assert_eq!(Keys::new(1, dist).draw(&mut rng), 0);
        }
    }

    #[test]
    fn the_chi_square_test_has_teeth() {
        let wrong = std::panic::catch_unwind(|| {
            check(1_000, KeyDist::Zipfian { theta: 0.99 }, |key| {
                ((key + 1) as f64).powf(-0.95)
            });
        });
        assert!(wrong.is_err());
    }
}
