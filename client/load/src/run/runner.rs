//! A server, and the runs against it, one after the other.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::plan::labels::Labels;
use crate::plan::settings::Settings;
use crate::report::live::Work;
use crate::report::model::Report;
use crate::run::barrier::Barrier;
use crate::run::clean::clean;
use crate::run::error::RunError;
use crate::run::measure::measure;
use crate::run::signals::{self, Interrupts};
use crate::run::summary;
use crate::run::target::Target;
use crate::run::verdict::keep_and_verify;
use crate::run::view::View;

/// Does runs against one server.
#[derive(Debug)]
pub(crate) struct Runner {
    /// Of the connection to ask the server about itself. The load has threads of its own.
    runtime: Runtime,
    interrupts: Interrupts,
    target: Target,
}

impl Runner {
    /// Connects to a server or, without an address, starts one.
    ///
    /// # Errors
    /// If the server cannot be reached or is no Soloist, or if the system refuses something.
    pub(crate) fn open(address: Option<&str>, settings: &Settings) -> Result<Self, RunError> {
        let system = |error: io::Error| RunError::Failed(format!("the system refuses: {error}"));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system)?;
        let mut interrupts = Interrupts::new().map_err(system)?;
        let target = runtime.block_on(async {
            tokio::select! {
                target = Target::open(address, settings) => target,
                signal = interrupts.recv() => Err(RunError::Interrupted(signal)),
            }
        })?;
        Ok(Self {
            runtime,
            interrupts,
            target,
        })
    }

    /// Does one run, and returns its report.
    ///
    /// # Errors
    /// If the settings exceed a limit of the server, or the run cannot start, also because of a signal before it. A run
    /// that a signal ends is no error.
    pub(crate) fn run(
        &mut self,
        settings: Settings,
        labels: &Labels,
        view: &mut dyn View,
        barrier: Option<Barrier>,
    ) -> Result<Report, RunError> {
        self.target.check(&settings)?;
        signals::check()?;
        let settings = Arc::new(settings);
        self.interrupts.first = None;
        let (target, interrupts) = (&self.target, &mut self.interrupts);
        let measuring = measure(&settings, target, interrupts, view, barrier);
        let mut measured = self.runtime.block_on(measuring)?;
        let history = measured.history.take();
        let mut report = summary::report(&settings, target, labels, measured);
        if let Some(history) = history {
            let verified =
                history.and_then(|history| keep_and_verify(&labels.history, &history, view.work()));
            let verified = verified
                .map_err(|error| RunError::Failed(format!("cannot verify the run: {error}")))?;
            report.verify = Some(verified);
        }
        Ok(report)
    }

    /// Deletes what runs with these settings have left in the server. Returns how many keys there were. Of a server that this
    /// process has started nothing is left anyway.
    ///
    /// # Errors
    /// If the server refuses it, or does not answer.
    pub(crate) fn clean(&self, settings: &Settings, work: Work) -> Result<u64, RunError> {
        match self.target.is_embedded() {
            true => Ok(0),
            false => self
                .runtime
                .block_on(clean(settings, &self.target, work))
                .map_err(RunError::Failed),
        }
    }

    /// Returns the server.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Disconnects. If this process has started the server, ends it and waits for it.
    ///
    /// # Errors
    /// If the server has failed.
    pub(crate) fn close(self) -> Result<(), RunError> {
        // The tasks of the connection end with the runtime. An embedded server would wait for the connection otherwise.
        drop(self.runtime);
        self.target.close().map_err(RunError::Failed)
    }
}
