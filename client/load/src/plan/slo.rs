//! Service level objectives: each is one expression that a run must meet.

use std::fmt;
use std::str::FromStr;

use crate::plan::kind::Kind;

/// An objective, such as `p99<5ms`: a figure of the report, and the bound that it must stay below or above.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slo {
    /// The objective as the user wrote it.
    text: String,
    metric: Metric,
    relation: Relation,
    /// In microseconds for latencies, in operations per second for rates, and from 0 to 1 for shares.
    bound: f64,
}

/// A figure of the report.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Metric {
    /// Response time of one kind of operation; `None`: of all.
    Latency(Option<Kind>, Point),
    /// The share of operations that failed or were dropped.
    ErrorRate,
    /// Completed operations per second.
    Rate,
}

/// A point of a distribution.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Point {
    /// From 0 to 1.
    Quantile(f64),
    Mean,
    Max,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Relation {
    Less,
    AtMost,
    More,
    AtLeast,
}

impl Slo {
    pub(crate) fn metric(&self) -> Metric {
        self.metric
    }

    /// Returns whether a figure, in the unit of its metric, meets the objective. A missing figure never does.
    pub(crate) fn is_met_by(&self, actual: Option<f64>) -> bool {
        actual.is_some_and(|actual| match self.relation {
            Relation::Less => actual < self.bound,
            Relation::AtMost => actual <= self.bound,
            Relation::More => actual > self.bound,
            Relation::AtLeast => actual >= self.bound,
        })
    }
}

impl Metric {
    /// Returns a figure as text, with its unit.
    pub(crate) fn show(self, actual: Option<f64>) -> String {
        let Some(actual) = actual else {
            return "nothing".to_owned();
        };
        match self {
            Self::Latency(..) if actual < 1e3 => format!("{actual:.1}us"),
            Self::Latency(..) if actual < 1e6 => format!("{:.3}ms", actual / 1e3),
            Self::Latency(..) => format!("{:.3}s", actual / 1e6),
            Self::ErrorRate => format!("{:.4}%", actual * 100.0),
            Self::Rate => format!("{actual:.0}/s"),
        }
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The error for a text that is no objective: what it must look like.
const FORM: &str = "must have the form FIGURE<BOUND, with <, <=, > or >=: p99<5ms, read:p99.9<=20ms, mean<1ms, max<1s, \
                    error_rate<0.1% or rps>=10000";

impl FromStr for Slo {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let form = || FORM.to_owned();
        let at = text.find(['<', '>']).ok_or_else(form)?;
        let (metric, rest) = text.split_at(at);
        let (relation, bound) = match rest.as_bytes() {
            [b'<', b'=', ..] => (Relation::AtMost, &rest[2..]),
            [b'<', ..] => (Relation::Less, &rest[1..]),
            [_, b'=', ..] => (Relation::AtLeast, &rest[2..]),
            _ => (Relation::More, &rest[1..]),
        };
        let metric = metric.trim().parse::<Metric>()?;
        let bound = parse_bound(metric, bound.trim()).ok_or_else(form)?;
        Ok(Self {
            text: text.to_owned(),
            metric,
            relation,
            bound,
        })
    }
}

impl FromStr for Metric {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "error_rate" => return Ok(Self::ErrorRate),
            "rps" => return Ok(Self::Rate),
            _ => {}
        }
        let (kind, point) = match text.split_once(':') {
            None => (None, text),
            Some((name, point)) => {
                let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
                let Some(kind) = kind else {
                    let names = Kind::ALL.map(Kind::name).join(", ");
                    return Err(format!("{name:?} must be one of {names}"));
                };
                (Some(kind), point)
            }
        };
        let point = match point {
            "mean" => Point::Mean,
            "max" => Point::Max,
            _ => {
                let percent = point.strip_prefix('p').and_then(|p| p.parse::<f64>().ok());
                let percent = percent.filter(|percent| (0.0..=100.0).contains(percent));
                Point::Quantile(percent.ok_or_else(|| FORM.to_owned())? / 100.0)
            }
        };
        Ok(Self::Latency(kind, point))
    }
}

fn parse_bound(metric: Metric, text: &str) -> Option<f64> {
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic() || c == '%');
    let (number, unit) = text.split_at(unit_at.unwrap_or(text.len()));
    let number = number.trim().parse::<f64>().ok()?;
    let unit = match (metric, unit) {
        (Metric::Latency(..), "ns") => 1e-3,
        (Metric::Latency(..), "us") => 1.0,
        (Metric::Latency(..), "ms") => 1e3,
        (Metric::Latency(..), "s") => 1e6,
        (Metric::ErrorRate, "%") => 1e-2,
        (Metric::ErrorRate | Metric::Rate, "") => 1.0,
        (Metric::Rate, "k") => 1e3,
        (Metric::Rate, "m") => 1e6,
        _ => return None,
    };
    let bound = number * unit;
    (bound >= 0.0 && bound.is_finite()).then_some(bound)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objectives_are_parsed() {
        let cases = [
            (
                "p99<5ms",
                Metric::Latency(None, Point::Quantile(0.99)),
                5e3,
                [true, false, false],
            ),
            (
                "read:p75 <= 20us",
                Metric::Latency(Some(Kind::Read), Point::Quantile(0.75)),
                20.0,
                [true, true, false],
            ),
            (
                "error_rate<0.1%",
                Metric::ErrorRate,
                0.001,
                [true, false, false],
            ),
            ("rps>=10k", Metric::Rate, 10_000.0, [false, true, true]),
            (
                "write:max>1s",
                Metric::Latency(Some(Kind::Write), Point::Max),
                1e6,
                [false, false, true],
            ),
        ];
        for (text, metric, bound, met) in cases {
            let slo: Slo = text.parse().unwrap();
            assert_eq!(slo.metric(), metric, "{text}");
            let by = [bound * 0.9, bound, bound * 1.1].map(|actual| slo.is_met_by(Some(actual)));
            assert_eq!(by, met, "{text}");
            assert!(!slo.is_met_by(None), "{text}");
            assert_eq!(slo.to_string(), text);
        }
    }

    #[test]
    fn the_form_of_an_objective_is_explained() {
        for (text, part) in [
            ("p99", "FIGURE<BOUND"),
            ("p101<5ms", "FIGURE<BOUND"),
            ("p99<5", "FIGURE<BOUND"),
            ("p99<-5ms", "FIGURE<BOUND"),
            ("rps>1ms", "FIGURE<BOUND"),
            ("error_rate<1ms", "FIGURE<BOUND"),
            ("readings:p99<5ms", "must be one of read, write"),
        ] {
            let error = text.parse::<Slo>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
