//! The JSON form of reports: its published schema, and its reader.

use std::fmt;

use serde::Deserialize;
use serde_json::Value;

use crate::report::model::{Report, SCHEMA};

/// The JSON Schema (2020-12) of [`Report`].
pub(crate) const SCHEMA_TEXT: &str = include_str!("schema.json");

/// The most reports in a file. A comparison takes tens of runs, not thousands.
const REPORTS_MAX: usize = 1_000;

/// Why a file cannot be used as reports.
#[derive(Debug, PartialEq)]
pub(crate) enum ReadError {
    /// Not JSON, or not the fields of a report.
    Json(String),
    /// A report of another schema.
    Schema(String),
    Empty,
    TooMany(usize),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => write!(f, "not a report: {error}"),
            Self::Schema(schema) => write!(
                f,
                "the report has the schema {schema:?}, and this version reads {SCHEMA:?} only"
            ),
            Self::Empty => write!(f, "the list of reports is empty"),
            Self::TooMany(reports) => {
                write!(
                    f,
                    "{reports} reports in one file, at most {REPORTS_MAX} are allowed"
                )
            }
        }
    }
}

impl std::error::Error for ReadError {}

impl Report {
    /// Returns the report as JSON, on several lines.
    pub(crate) fn to_json(&self) -> String {
        let mut json = serde_json::to_string_pretty(self).expect("a report is a tree of values");
        json.push('\n');
        json
    }
}

/// Reads one report, or a list of reports.
pub(crate) fn read(json: &str) -> Result<Vec<Report>, ReadError> {
    let value: Value =
        serde_json::from_str(json).map_err(|error| ReadError::Json(error.to_string()))?;
    let reports = match value {
        Value::Array(reports) => reports,
        report => vec![report],
    };
    match reports.len() {
        0 => Err(ReadError::Empty),
        1..=REPORTS_MAX => reports.into_iter().map(report).collect(),
        many => Err(ReadError::TooMany(many)),
    }
}

fn report(value: Value) -> Result<Report, ReadError> {
    // First the schema: a report of another schema may have other fields.
    match value.get("schema") {
        Some(Value::String(schema)) if schema == SCHEMA => {}
        Some(Value::String(schema)) => return Err(ReadError::Schema(schema.clone())),
        _ => return Err(ReadError::Json("the field `schema` is missing".to_owned())),
    }
    Report::deserialize(value).map_err(|error| ReadError::Json(error.to_string()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::report::sample;

    fn check(report: &Value) -> Result<(), String> {
        let schema: Value = serde_json::from_str(SCHEMA_TEXT).unwrap();
        jsonschema::draft202012::meta::validate(&schema).unwrap();
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        validator
            .validate(report)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn reports_conform_to_the_schema() {
        for report in [sample::report(), sample::empty_report()] {
            check(&serde_json::to_value(report).unwrap()).unwrap();
        }
    }

    /// Removes each field in turn, at any depth, and adds an unknown one.
    #[test]
    fn missing_and_unknown_fields_are_found() {
        let mut report = sample::report();
        report.intervals.truncate(1);
        let whole = serde_json::to_value(report).unwrap();
        let paths = objects(&whole, String::new());
        assert!(paths.len() > 20, "{paths:?}");
        for path in paths {
            let fields: Vec<_> = whole
                .pointer(&path)
                .unwrap()
                .as_object()
                .unwrap()
                .keys()
                .cloned()
                .collect();
            // In these maps every name is valid.
            if [
                "settings",
                "tags",
                "failed",
                "failure_messages",
                "refused",
                "kinds",
                "latency",
                "outcomes",
                "dropped_by_reason",
            ]
            .iter()
            .any(|map| path.ends_with(map))
            {
                continue;
            }
            for field in fields.iter().filter(|field| *field != "percentiles") {
                let mut broken = whole.clone();
                broken
                    .pointer_mut(&path)
                    .unwrap()
                    .as_object_mut()
                    .unwrap()
                    .remove(field);
                assert!(check(&broken).is_err(), "{path}/{field} may be missing");
            }
            let mut broken = whole.clone();
            broken.pointer_mut(&path).unwrap()["surprise"] = json!(1);
            assert!(check(&broken).is_err(), "{path} may have an unknown field");
        }
    }

    fn objects(value: &Value, path: String) -> Vec<String> {
        match value {
            Value::Object(fields) => {
                let inner = fields
                    .iter()
                    .flat_map(|(name, value)| objects(value, format!("{path}/{name}")));
                let inner: Vec<_> = inner.collect();
                [vec![path], inner].concat()
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items
                    .flat_map(|(index, item)| objects(item, format!("{path}/{index}")))
                    .collect()
            }
            _ => Vec::new(),
        }
    }

    #[test]
    fn wrong_values_are_found() {
        let cases = [
            ("/schema", json!("soloist-load/1")),
            ("/completed", json!(-1)),
            ("/started_at", json!("yesterday")),
            ("/latency/all/response/p99_us", json!("5ms")),
            ("/latency/all/response/percentiles/0", json!([99.5])),
            ("/phases/0/phase", json!("sleep")),
            ("/intervals/0/seconds", json!(-1.0)),
            ("/failed/UNAVAILABLE", json!(1.5)),
            ("/verify/verdict", json!("maybe")),
        ];
        let whole = serde_json::to_value(sample::report()).unwrap();
        for (path, value) in cases {
            let mut broken = whole.clone();
            *broken.pointer_mut(path).unwrap() = value;
            assert!(check(&broken).is_err(), "{path}");
        }
    }

    #[test]
    fn reports_are_read_back() {
        let reports = vec![sample::report(), sample::empty_report()];
        assert_eq!(read(&reports[0].to_json()).unwrap(), reports[..1]);
        assert_eq!(
            read(&serde_json::to_string(&reports).unwrap()).unwrap(),
            reports
        );
    }

    #[test]
    fn other_files_are_refused() {
        let old = sample::report()
            .to_json()
            .replace("soloist-load/2", "soloist-load/1");
        let cases = [
            ("", "not a report: EOF"),
            ("{}", "not a report: the field `schema` is missing"),
            ("[]", "the list of reports is empty"),
            (
                r#"{"schema":"soloist-load/2"}"#,
                "not a report: missing field",
            ),
            (
                &old,
                r#"the report has the schema "soloist-load/1", and this version reads "soloist-load/2" only"#,
            ),
        ];
        for (json, expected) in cases {
            let error = read(json).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let many = format!("[{}]", vec!["{}"; 1_001].join(","));
        assert_eq!(read(&many), Err(ReadError::TooMany(1_001)));
    }
}
