//! One target and the runs against it, one after the other.

use std::io;
use std::sync::Arc;

use tokio::runtime::{Builder, Runtime};

use crate::plan::labels::Labels;
use crate::plan::settings::Settings;
use crate::report::model::Report;
use crate::run::barrier::Barrier;
use crate::run::error::RunError;
use crate::run::measure::measure;
use crate::run::signals::Interrupts;
use crate::run::summary::{self};
use crate::run::target::Target;
use crate::run::verdict::keep_and_verify;
use crate::run::view::View;

/// A server to drive, and what it takes to.
#[derive(Debug)]
pub(crate) struct Runner {
    runtime: Runtime,
    interrupts: Interrupts,
    target: Target,
}

impl Runner {
    /// Connects to a server, or starts one.
    pub(crate) fn open(address: Option<&str>, settings: &Settings) -> Result<Self, RunError> {
        let system = |error: io::Error| RunError::Target(format!("the system refuses: {error}"));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(system)?;
        let (interrupts, target) = runtime.block_on(async {
            let interrupts = Interrupts::new().map_err(system)?;
            let target = Target::open(address, settings)
                .await
                .map_err(RunError::Target)?;
            Ok((interrupts, target))
        })?;
        Ok(Self {
            runtime,
            interrupts,
            target,
        })
    }

    /// Runs once, and reports.
    pub(crate) fn run(
        &mut self,
        settings: Settings,
        labels: &Labels,
        view: &mut dyn View,
        barrier: Option<Barrier>,
    ) -> Result<Report, RunError> {
        settings
            .check(&self.target.limits)
            .map_err(RunError::Arguments)?;
        let settings = Arc::new(settings);
        let (target, interrupts) = (&self.target, &mut self.interrupts);
        self.runtime.block_on(async {
            let mut measured = measure(&settings, target, interrupts, view, barrier).await?;
            let history = measured.history.take();
            let mut report = summary::report(&settings, target, labels, measured);
            if let Some(history) = history {
                let verified =
                    history.and_then(|history| keep_and_verify(&labels.history, &history));
                let verified = verified
                    .map_err(|error| RunError::Target(format!("cannot verify the run: {error}")))?;
                report.verify = Some(verified);
            }
            Ok(report)
        })
    }

    /// What is driven.
    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Ends the server, if it is ours.
    pub(crate) fn close(self) -> Result<(), RunError> {
        // With the runtime goes our own connection, which an embedded server would wait for.
        drop(self.runtime);
        self.target.close().map_err(RunError::Target)
    }
}
