//! The arguments of `soloist-load call`.

use clap::Parser;

use crate::command_line::args::RunArgs;

/// A run that calls a method: the flags of a run, and the method.
#[derive(Clone, Debug, Parser)]
pub(crate) struct CallArgs {
    #[command(flatten)]
    pub(crate) run: RunArgs,
    /// The method to call, as package.Service/Method.
    #[arg(value_name = "package.Service/Method")]
    pub(crate) method: Option<String>,
}

impl CallArgs {
    /// Returns the flags of the run, with the method among them.
    ///
    /// # Errors
    /// If there is no method, or there are two.
    pub(crate) fn run(&self) -> Result<RunArgs, String> {
        let mut run = self.run.clone();
        run.call.call = match (&self.method, &self.run.call.call) {
            (Some(method), None) | (None, Some(method)) => Some(method.clone()),
            (Some(method), Some(flag)) => {
                return Err(format!("two methods, {method} and --call {flag}: name one"));
            }
            (None, None) => {
                let form = "soloist-load call HOST:PORT package.Service/Method -d '{}'";
                return Err(format!("no method to call: {form}"));
            }
        };
        Ok(run)
    }
}
