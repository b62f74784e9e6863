//! Whether the files that a server reads again could be used.

use std::sync::{Arc, Mutex, PoisonError};

use super::cells::Cell;
use super::server::now_nanos;

/// The files of one kind.
#[derive(Debug)]
pub(crate) struct ReloadCells {
    /// The value of the label `what`.
    pub(crate) what: &'static str,
    /// 1 if the files could be used when they were last looked at.
    pub(crate) success: Cell,
    /// When files that can be used were last read, in nanoseconds since 1970.
    pub(crate) at: Cell,
}

impl ReloadCells {
    /// Notes that the files were read, and are used from now on.
    pub(crate) fn taken(&self) {
        self.success.set(1);
        self.at.set(now_nanos());
    }
}

/// All files that are read again. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reloads(Arc<Mutex<Vec<Arc<ReloadCells>>>>);

impl Reloads {
    /// Adds files of a kind, which were read just now.
    pub(crate) fn add(&self, what: &'static str) -> Arc<ReloadCells> {
        let cells = Arc::new(ReloadCells {
            what,
            success: Cell::default(),
            at: Cell::default(),
        });
        cells.taken();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.push(Arc::clone(&cells));
        cells
    }

    pub(crate) fn all(&self) -> Vec<Arc<ReloadCells>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
