//! Columns of CSV files.

use std::collections::HashMap;
use std::fs;
use std::sync::Arc;

/// The largest file that is read, in bytes: its column stays in memory.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// The columns that templates have asked for. Templates with the same column share it.
#[derive(Default)]
pub(super) struct CsvColumns(HashMap<(String, String), Arc<[String]>>);

impl CsvColumns {
    /// Returns the values of a column. `column` is a name in the first line of the file, or a number, counted from 1.
    ///
    /// # Errors
    /// If there is no such column, or it has no values. The text names the file.
    pub(super) fn column(&mut self, file: &str, column: &str) -> Result<Arc<[String]>, String> {
        let key = (file.to_owned(), column.to_owned());
        if let Some(known) = self.0.get(&key) {
            return Ok(Arc::clone(known));
        }
        let values = read(file, column).map_err(|error| format!("{file}: {error}"))?;
        let values: Arc<[String]> = values.into();
        self.0.insert(key, Arc::clone(&values));
        Ok(values)
    }
}

fn read(file: &str, column: &str) -> Result<Vec<String>, String> {
    let bytes = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if bytes > FILE_BYTES_MAX {
        return Err(format!(
            "the file must have at most {FILE_BYTES_MAX} bytes, not {bytes}"
        ));
    }
    let mut reader = csv::Reader::from_path(file).map_err(|error| error.to_string())?;
    let names = reader.headers().map_err(|error| error.to_string())?.clone();
    let by_name = names.iter().position(|name| name == column);
    let by_number = || {
        let number = column.parse::<usize>().ok();
        number
            .filter(|number| (1..=names.len()).contains(number))
            .map(|number| number - 1)
    };
    let at = by_name.or_else(by_number).ok_or_else(|| {
        let names: Vec<_> = names.iter().collect();
        format!("there is no column {column}; there is {}", names.join(", "))
    })?;
    let mut values = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| error.to_string())?;
        values.push(record.get(at).unwrap_or_default().to_owned());
    }
    match values.is_empty() {
        true => Err("there is no line after the names of the columns".to_owned()),
        false => Ok(values),
    }
}
