//! Delays of responses.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::pace::arrivals::exponential;

/// A distribution of delays. Each delay is drawn independently.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Delay {
    /// No delay, and no timer.
    None,
    /// Always the same delay.
    Fixed(Duration),
    /// Uniform from `min` to `max`.
    Uniform {
        /// The shortest.
        min: Duration,
        /// The longest; `min` if it is less.
        max: Duration,
    },
    /// Exponential, like the service times of an M/M/1 queue.
    Exponential {
        /// The mean, which is also the standard deviation. 99% are below 4.6 times the mean.
        mean: Duration,
    },
    /// One of two delays, like a server that is fast except for pauses.
    Bimodal {
        /// The usual delay.
        usual: Duration,
        /// The rare delay.
        rare: Duration,
        /// The share of rare delays, from 0 to 1.
        rare_share: f64,
    },
}

impl Delay {
    /// Draws a delay.
    pub(crate) fn draw(&self, rng: &mut SmallRng) -> Duration {
        match *self {
            Self::None => Duration::ZERO,
            Self::Fixed(delay) => delay,
            Self::Uniform { min, max } => {
                min + max.saturating_sub(min).mul_f64(rng.random::<f64>())
            }
            Self::Exponential { mean } => mean.mul_f64(exponential(rng)),
            Self::Bimodal {
                usual,
                rare,
                rare_share,
            } => match rng.random::<f64>() < rare_share {
                true => rare,
                false => usual,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const COUNT: usize = 20_000;

    /// Returns the share of draws that are at most `limit`.
    fn share_within(delay: Delay, limit: Duration) -> f64 {
        let mut rng = SmallRng::seed_from_u64(7);
        let within = (0..COUNT).filter(|_| delay.draw(&mut rng) <= limit);
        within.count() as f64 / COUNT as f64
    }

    #[test]
    fn draws_follow_the_distribution() {
        let uniform = Delay::Uniform {
            min: 2 * MS,
            max: 6 * MS,
        };
        let exponential = Delay::Exponential { mean: 10 * MS };
        let bimodal = Delay::Bimodal {
            usual: MS,
            rare: 20 * MS,
            rare_share: 0.01,
        };
        let ln_2 = std::f64::consts::LN_2;
        let cases = [
            (Delay::None, Duration::ZERO, 1.0),
            (Delay::Fixed(3 * MS), 3 * MS, 1.0),
            (Delay::Fixed(3 * MS), 3 * MS - Duration::from_nanos(1), 0.0),
            (uniform, 2 * MS - Duration::from_nanos(1), 0.0),
            (uniform, 3 * MS, 0.25),
            (uniform, 5 * MS, 0.75),
            (uniform, 6 * MS, 1.0),
            (exponential, (10 * MS).mul_f64(ln_2), 0.5),
            (exponential, 10 * MS, 1.0 - (-1.0f64).exp()),
            (exponential, 46 * MS, 1.0 - (-4.6f64).exp()),
            (bimodal, MS - Duration::from_nanos(1), 0.0),
            (bimodal, MS, 0.99),
            (bimodal, 20 * MS, 1.0),
        ];
        for (delay, limit, expected) in cases {
            let share = share_within(delay, limit);
            // Within four standard errors of a share, which are 0 where the share is certain. The seed is fixed.
            let error = (expected * (1.0 - expected) / COUNT as f64).sqrt();
            assert!(
                (share - expected).abs() <= 4.0 * error,
                "{delay:?}: {share} within {limit:?}, not {expected}"
            );
        }
    }

    #[test]
    fn a_uniform_delay_with_max_below_min_is_min() {
        let delay = Delay::Uniform {
            min: 6 * MS,
            max: 2 * MS,
        };
        assert_eq!(delay.draw(&mut SmallRng::seed_from_u64(1)), 6 * MS);
    }
}
