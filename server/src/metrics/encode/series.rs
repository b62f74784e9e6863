//! How series are written: families of counters, gauges and histograms.

use std::fmt;

use prometheus_client::encoding::{
    DescriptorEncoder, EncodeCounterValue, EncodeLabelSet, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use crate::metrics::cells::{BOUNDS_SECONDS, BUCKETS, TimesSum, seconds};

/// A label and its value. The crate escapes values, which may be names that clients have chosen.
pub(super) fn label<'a>(name: &'static str, value: &'a str) -> [(&'static str, &'a str); 1] {
    [(name, value)]
}

/// Writes series.
pub(super) struct Series<'a>(DescriptorEncoder<'a>);

/// One family of series: the name in front of the unit and of `_total`, and what it means.
#[derive(Clone, Copy)]
pub(super) struct Family {
    name: &'static str,
    help: &'static str,
    unit: UnitOf,
}

/// The unit at the end of a name.
#[derive(Clone, Copy)]
enum UnitOf {
    None,
    Seconds,
    Bytes,
}

static SECONDS: Unit = Unit::Seconds;
static BYTES: Unit = Unit::Bytes;

pub(super) fn family(name: &'static str, help: &'static str) -> Family {
    let unit = UnitOf::None;
    Family { name, help, unit }
}

impl Family {
    pub(super) fn seconds(self) -> Self {
        let unit = UnitOf::Seconds;
        Self { unit, ..self }
    }

    pub(super) fn bytes(self) -> Self {
        let unit = UnitOf::Bytes;
        Self { unit, ..self }
    }

    fn unit(self) -> Option<&'static Unit> {
        match self.unit {
            UnitOf::None => None,
            UnitOf::Seconds => Some(&SECONDS),
            UnitOf::Bytes => Some(&BYTES),
        }
    }
}

impl<'a> Series<'a> {
    pub(super) fn of(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }
}

impl Series<'_> {
    fn begin(&mut self, family: Family, kind: MetricType) -> Result<MetricEncoder<'_>, fmt::Error> {
        self.0
            .encode_descriptor(family.name, family.help, family.unit(), kind)
    }

    pub(super) fn counter(
        &mut self,
        family: Family,
        value: impl EncodeCounterValue,
    ) -> fmt::Result {
        let mut metric = self.begin(family, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&value, None)
    }

    pub(super) fn counters<L: EncodeLabelSet>(
        &mut self,
        family: Family,
        values: impl IntoIterator<Item = (L, u64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(family, MetricType::Counter)?;
        for (labels, value) in values {
            let mut one = metric.encode_family(&labels)?;
            one.encode_counter::<NoLabelSet, _, u64>(&value, None)?;
        }
        Ok(())
    }

    pub(super) fn gauge(&mut self, family: Family, value: u64) -> fmt::Result {
        self.begin(family, MetricType::Gauge)?
            .encode_gauge(&signed(value))
    }

    pub(super) fn gauge_seconds(&mut self, family: Family, nanos: u64) -> fmt::Result {
        self.begin(family.seconds(), MetricType::Gauge)?
            .encode_gauge(&seconds(nanos))
    }

    pub(super) fn gauges<L: EncodeLabelSet>(
        &mut self,
        family: Family,
        values: impl IntoIterator<Item = (L, f64)>,
    ) -> fmt::Result {
        let mut metric = self.begin(family, MetricType::Gauge)?;
        for (labels, value) in values {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
        Ok(())
    }

    pub(super) fn times(&mut self, family: Family, times: &TimesSum) -> fmt::Result {
        let mut metric = self.begin(family.seconds(), MetricType::Histogram)?;
        encode_times(&mut metric, times)
    }

    pub(super) fn times_of<'a, L: EncodeLabelSet>(
        &mut self,
        family: Family,
        all: impl IntoIterator<Item = (L, &'a TimesSum)>,
    ) -> fmt::Result {
        let mut metric = self.begin(family.seconds(), MetricType::Histogram)?;
        for (labels, times) in all {
            encode_times(&mut metric.encode_family(&labels)?, times)?;
        }
        Ok(())
    }
}

fn encode_times(metric: &mut MetricEncoder<'_>, times: &TimesSum) -> fmt::Result {
    let buckets: [_; BUCKETS] = std::array::from_fn(|n| (BOUNDS_SECONDS[n], times.counts[n]));
    metric.encode_histogram::<NoLabelSet>(times.seconds(), times.count(), &buckets, None)
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
