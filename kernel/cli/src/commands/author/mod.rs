//! `carapace plugin …` for those who write components.

mod build;
mod check;
mod dev;
mod folder;
mod logs;
mod new;
mod record;
mod sdk;
mod test;
pub(crate) mod top;

use crate::args::AuthorCommand;
use crate::failure::Outcome;
use carapace_config::{ConfigHandle, StatePaths};
use std::sync::Arc;

/// What needs no configuration: it looks at files only.
pub(crate) fn offline(paths: &StatePaths, command: AuthorCommand) -> Result<Outcome, AuthorCommand> {
    Ok(match command {
        AuthorCommand::New(args) => new::run(&args),
        AuthorCommand::Build(args) => build::run(&args),
        AuthorCommand::Check(args) => check::run(&args),
        AuthorCommand::Test { folder, component, arguments } => test::run(&folder, component.as_deref(), &arguments),
        AuthorCommand::TestHost { file, measure } => test::host(&file, measure.as_deref()),
        AuthorCommand::Replay { file, component, output } => {
            crate::on_runtime(record::replay(paths, &file, component.as_deref(), output.json))
        }
        other => return Err(other),
    })
}

/// What talks to the running assistant.
pub(crate) async fn online(paths: &StatePaths, config: Arc<ConfigHandle>, command: AuthorCommand) -> Outcome {
    match command {
        AuthorCommand::Dev(args) => dev::run(paths, config, args).await,
        AuthorCommand::Logs(args) => logs::run(paths, &args).await,
        AuthorCommand::Record(args) => record::record(paths, &args).await,
        _ => Ok(()),
    }
}

/// Whether an error is printed as JSON.
pub(crate) fn wants_json(command: &AuthorCommand) -> bool {
    match command {
        AuthorCommand::Check(args) => args.output.json,
        AuthorCommand::Logs(args) => args.output.json,
        AuthorCommand::Replay { output, .. } => output.json,
        _ => false,
    }
}
