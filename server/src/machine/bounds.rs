//! Addition within bounds.

use super::rejection::Cause;

/// The range that a sum must lie in, and what happens when it does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The least value, included.
    pub min: Option<i64>,
    /// The greatest value, included.
    pub max: Option<i64>,
    /// What to do with a sum outside of the range.
    pub on_overflow: OnOverflow,
}

/// What to do with a sum outside `min..=max`, or outside 64 bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnOverflow {
    /// Refuse the addition.
    #[default]
    Refuse,
    /// Store the bound itself.
    Saturate,
}

impl Bounds {
    /// No bounds except those of 64 bits: a sum outside is refused.
    pub const NONE: Self = Self {
        min: None,
        max: None,
        on_overflow: OnOverflow::Refuse,
    };

    /// Adds `delta` to `value`. 0 changes nothing, whatever the bounds.
    ///
    /// # Errors
    /// [`Cause::BoundReached`] or [`Cause::Overflow`], unless [`OnOverflow::Saturate`] is set. A value that is out of
    /// bounds already may come nearer to the bound. With [`OnOverflow::Saturate`], [`Cause::Overflow`] if the way to the
    /// bound does not fit into 64 bits.
    pub(super) fn add(self, value: i64, delta: i64) -> Result<i64, Cause> {
        if delta == 0 {
            return Ok(value);
        }
        // Every sum of two 64-bit numbers fits into 128 bits.
        let exact = i128::from(value) + i128::from(delta);
        let min = i128::from(self.min.unwrap_or(i64::MIN));
        let max = i128::from(self.max.unwrap_or(i64::MAX));
        match self.on_overflow {
            OnOverflow::Saturate => {
                let stopped = exact.clamp(min, max);
                let stopped = i64::try_from(stopped).expect("both bounds are 64-bit numbers");
                match stopped.checked_sub(value) {
                    Some(_) => Ok(stopped),
                    None => Err(Cause::Overflow { value, delta }),
                }
            }
            OnOverflow::Refuse => {
                let reached = |bound, limit| Cause::BoundReached {
                    bound,
                    limit,
                    value,
                    delta,
                };
                // A sum outside 64 bits is outside the bound on that side too: name the bound, if there is one.
                match (self.min, self.max) {
                    (_, Some(limit)) if exact > max && delta > 0 => Err(reached("max", limit)),
                    (Some(limit), _) if exact < min && delta < 0 => Err(reached("min", limit)),
                    _ => i64::try_from(exact).map_err(|_| Cause::Overflow { value, delta }),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums() {
        const MIN: i64 = i64::MIN;
        const MAX: i64 = i64::MAX;
        let overflow = |value, delta| Err(Cause::Overflow { value, delta });
        let reached = |bound, limit, value, delta| {
            Err(Cause::BoundReached {
                bound,
                limit,
                value,
                delta,
            })
        };
        // Value, delta, min, max; the result with Refuse; the result with Saturate.
        for (value, delta, min, max, refused, saturated) in [
            (1, 2, None, None, Ok(3), 3),
            (1, -3, None, None, Ok(-2), -2),
            (MAX, 1, None, None, overflow(MAX, 1), MAX),
            (MIN, -1, None, None, overflow(MIN, -1), MIN),
            (MAX, MIN, None, None, Ok(-1), -1),
            (
                MAX,
                MAX,
                None,
                Some(MAX),
                reached("max", MAX, MAX, MAX),
                MAX,
            ),
            (MAX, 1, Some(0), None, overflow(MAX, 1), MAX),
            (9, 1, None, Some(10), Ok(10), 10),
            (9, 2, None, Some(10), reached("max", 10, 9, 2), 10),
            (1, -1, Some(0), None, Ok(0), 0),
            (1, -2, Some(0), None, reached("min", 0, 1, -2), 0),
            // The value is out of bounds already: it may come nearer, and it may stay.
            (10, -1, None, Some(5), Ok(9), 5),
            (10, 0, None, Some(5), Ok(10), 10),
            (0, 0, Some(5), None, Ok(0), 0),
            (10, 1, None, Some(5), reached("max", 5, 10, 1), 5),
            (-10, 1, Some(-5), None, Ok(-9), -5),
            (-10, -1, Some(-5), None, reached("min", -5, -10, -1), -5),
            // From above max to below min.
            (10, -20, Some(0), Some(5), reached("min", 0, 10, -20), 0),
        ] {
            let add = |on_overflow| {
                Bounds {
                    min,
                    max,
                    on_overflow,
                }
                .add(value, delta)
            };
            assert_eq!(add(OnOverflow::Refuse), refused, "{value} + {delta}");
            assert_eq!(
                add(OnOverflow::Saturate),
                Ok(saturated),
                "{value} + {delta}"
            );
        }
    }

    #[test]
    fn no_addition_claims_what_was_not_added() {
        for (value, delta, min, max) in [
            (i64::MIN, 1, Some(3), None),
            (i64::MIN, 1, Some(0), None),
            (i64::MAX, -1, None, Some(-2)),
        ] {
            let bounds = Bounds {
                min,
                max,
                on_overflow: OnOverflow::Saturate,
            };
            let refused = Err(Cause::Overflow { value, delta });
            assert_eq!(bounds.add(value, delta), refused, "{value} + {delta}");
        }
    }
}
