//! The text that Prometheus reads, in its own format 0.0.4.
//!
//! `prometheus-client`, which the Prometheus project keeps, writes OpenMetrics, in which a gauge `soloist_connections` could not
//! stand beside a counter `soloist_connections_total`. Its lines are the same but for those that describe counters.

mod cluster;
mod lists;
mod series;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text};
use prometheus_client::registry::Registry;

use super::snapshot::Snapshot;
use series::Series;

/// The content-type of the text.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Encodes all series of a snapshot.
pub(crate) fn encode(snapshot: Snapshot) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Scrape(snapshot)));
    let mut encoded = String::new();
    text::encode(&mut encoded, &registry).expect("writing to a string never fails");
    in_prometheus_format(&encoded)
}

/// Turns OpenMetrics into the format of Prometheus: the name of a counter ends in `_total` where it is described, too.
fn in_prometheus_format(encoded: &str) -> String {
    let mut text = String::with_capacity(encoded.len());
    let mut help = "";
    for line in encoded.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            // The next line tells whether this is a counter.
            help = rest.split_once(' ').map_or("", |(_, help)| help);
        } else if let Some((name, kind)) = line
            .strip_prefix("# TYPE ")
            .and_then(|rest| rest.split_once(' '))
        {
            let suffix = if kind == "counter" { "_total" } else { "" };
            text.push_str(&format!(
                "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}\n"
            ));
        } else if !line.starts_with('#') {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// The series of one scrape.
#[derive(Debug)]
struct Scrape(Snapshot);

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut series = Series::of(encoder);
        let snapshot = &self.0;
        series.calls(snapshot)?;
        series.owner(&snapshot.owner)?;
        series.store(snapshot)?;
        if let Some(journal) = &snapshot.journal {
            series.journal(journal, &snapshot.owner)?;
        }
        if let Some(cluster) = &snapshot.cluster {
            series.cluster(cluster, snapshot.journal.as_ref())?;
        }
        series.server(snapshot)?;
        series.process(snapshot)
    }
}
#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::metrics::calls::{CODES, METHODS};
    use crate::metrics::cells::{BUCKETS, TimesSum};
    use crate::metrics::cluster::{ClusterShown, EtcdShown, TakeoverShown};
    use crate::metrics::snapshot::{JournalSum, KeysInState, MethodSum};

    fn lines_with(snapshot: Snapshot, name: &str) -> Vec<String> {
        let text = encode(snapshot);
        let lines = text.lines().filter(|line| line.contains(name));
        lines.map(str::to_owned).collect()
    }

    #[test]
    fn each_kind_of_series_is_encoded_as_prometheus_reads_it() {
        let mut snapshot = Snapshot {
            connections: 3,
            ..Snapshot::default()
        };
        snapshot.server.connections_total = 7;
        assert_eq!(
            lines_with(snapshot, "soloist_connections"),
            [
                "# HELP soloist_connections Connections of gRPC clients that are open.",
                "# TYPE soloist_connections gauge",
                "soloist_connections 3",
                "# HELP soloist_connections_total Connections of gRPC clients that were accepted.",
                "# TYPE soloist_connections_total counter",
                "soloist_connections_total 7",
            ]
        );

        let mut counts = [0; BUCKETS];
        (counts[0], counts[2], counts[BUCKETS - 1]) = (1, 2, 4);
        let handling = TimesSum {
            counts,
            nanos: 1_500_000_000,
        };
        let snapshot = Snapshot {
            calls: vec![MethodSum {
                row: &METHODS[0],
                started: 7,
                handled: [0; CODES.len()],
                handling,
            }],
            ..Snapshot::default()
        };
        let lines = lines_with(snapshot, "grpc_server_handling_seconds");
        let labels = r#"grpc_service="soloist.v1.State",grpc_method="Read",grpc_type="unary""#;
        assert_eq!(lines[1], "# TYPE grpc_server_handling_seconds histogram");
        assert_eq!(
            lines[2],
            format!("grpc_server_handling_seconds_sum{{{labels}}} 1.5")
        );
        assert_eq!(
            lines[3],
            format!("grpc_server_handling_seconds_count{{{labels}}} 7")
        );
        for (line, bucket) in [
            (4, r#"{le="0.00005",LABELS} 1"#),
            (6, r#"{le="0.00025",LABELS} 3"#),
            (BUCKETS + 3, r#"{le="+Inf",LABELS} 7"#),
        ] {
            let bucket = bucket.replace("LABELS", labels);
            assert!(lines[line].ends_with(&bucket), "{}", lines[line]);
        }
        assert_eq!(lines.len(), BUCKETS + 4);
    }

    #[test]
    fn the_series_of_a_cluster_are_documented() {
        let families = |cluster: Option<ClusterShown>| {
            let text = encode(Snapshot {
                cluster,
                journal: Some(JournalSum::default()),
                ..Snapshot::default()
            });
            let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
            types.map(str::to_owned).collect::<BTreeSet<_>>()
        };
        let owner = ClusterShown {
            lag_nanos: Some(1),
            takeover: Some(TakeoverShown::default()),
            etcd: Some(EtcdShown::default()),
            ..ClusterShown::default()
        };
        let exported = &families(Some(owner)) - &families(None);
        let manual = include_str!("../../../docs/metrics.md");
        let (_, section) = manual.split_once("### The cluster\n").unwrap();
        let (section, _) = section.split_once("\n### ").unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| `"));
        let documented: BTreeSet<_> = rows
            .map(|row| {
                let mut cells = row.split('|').skip(1).map(str::trim);
                let name = cells.next().unwrap().trim_matches('`');
                format!("{name} {}", cells.next().unwrap())
            })
            .collect();
        assert_eq!(exported, documented);
    }

    #[test]
    fn names_that_clients_choose_are_escaped() {
        let snapshot = Snapshot {
            keys_in_state: vec![KeysInState {
                machine: r#"a"b\c"#.into(),
                state: "é".into(),
                keys: 2,
            }],
            ..Snapshot::default()
        };
        let lines = lines_with(snapshot, "soloist_keys_in_state{");
        assert_eq!(
            lines,
            [r#"soloist_keys_in_state{machine="a\"b\\c",state="é"} 2.0"#]
        );
    }
}
