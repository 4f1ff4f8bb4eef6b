//! `fai best`

use anyhow::Result;
use fai_core::repo::{Direction, Error};
use serde_json::json;

use crate::context::Context;
use crate::experiments::{Scope, document};
use crate::ui::errors::Hinted;

/// Print the commit with the best value of a metric
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai checkout $(fai best accuracy)\n  fai best val_loss --all --filter 'epochs<=10'\n\n\
    Nothing but the id is printed. Of equal values the newest commit wins; NaN never does."
)]
pub struct Args {
    /// The metric, or param
    metric: String,
    /// The highest value is the best
    #[arg(long, conflicts_with = "min")]
    max: bool,
    /// The lowest value is the best
    #[arg(long)]
    min: bool,
    #[command(flatten)]
    scope: Scope,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let repository = context.repository()?;
        let direction = match (self.min, self.max) {
            (true, _) => Direction::Min,
            (_, true) => Direction::Max,
            _ => Direction::guess(&self.metric).ok_or_else(|| {
                let error = Error::Usage(format!(
                    "whether more of {:?} is better cannot be told from its name",
                    self.metric
                ));
                Hinted::new(error, "say --max or --min")
            })?,
        };
        let (among, filter) = (self.scope.among(&repository)?, self.scope.filter()?);
        let best = repository.best_experiment(&among, &filter, &self.metric, direction)?;
        let Some((experiment, value)) = best else {
            let error = Error::NoNumber(self.metric);
            return Err(Hinted::new(error, "`fai exp` shows what there is; --all looks at all branches").into());
        };
        context.out.line(experiment.id.to_string())?;
        let mut found = document(&experiment);
        if let Some(fields) = found.as_object_mut() {
            fields.insert("value".into(), value.to_json());
        }
        let direction = match direction {
            Direction::Min => "min",
            Direction::Max => "max",
        };
        context
            .out
            .document(&json!({ "metric": self.metric, "direction": direction, "best": found }))
    }
}
