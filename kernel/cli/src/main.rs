//! The `carapace` binary: reads arguments, wires the rooms, prints for people.

#![allow(clippy::disallowed_methods, reason = "the binary owns the command line's files and hands the environment on")]

mod args;
mod assembly;
mod assets;
mod bundled;
mod client;
mod commands;
mod desk;
mod doctor;
mod failure;
mod hidden;
mod installed;
mod network;
mod owner;
mod question;
mod records;
mod setup;
mod sources;
mod trust;

use args::{
    AssetsCommand, AuditCommand, ChannelsCommand, Cli, Command, ConfigCommand, EventsCommand, OutboxCommand,
    PairingCommand, PluginCommand, PublisherCommand, RegistryCommand, RequestsCommand, SecretsCommand,
};
use carapace_config::{ConfigHandle, Env, StatePaths, SystemEnv};
use clap::Parser;
use commands::{
    assets as assets_command, audit, author, channels, chat, config, console, grant, packages, plugin, publisher,
    registry, release, requests, secrets, start, status, sync,
};
use failure::{Exit, Failure, Outcome};
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    // The compile worker is this executable in a cage; it must not do anything else first.
    let mut arguments = std::env::args_os();
    arguments.next();
    if arguments.next().is_some_and(|a| a == carapace_runtime::WORKER_ARGUMENT) {
        return carapace_runtime::worker_main(arguments);
    }
    // Commands in help texts are there to be copied: no line is broken inside them.
    let _ = miette::set_hook(Box::new(|_| Box::new(miette::MietteHandlerOpts::new().wrap_lines(false).build())));
    end_with_the_reader();
    let cli = Cli::parse();
    let as_json = wants_json(&cli.command);
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let exit = failure.exit;
            if as_json {
                println!("{}", failure.json());
            } else {
                eprintln!("{:?}", miette::Report::new(failure));
            }
            ExitCode::from(exit as u8)
        }
    }
}

/// Whoever reads what is printed has had enough (`carapace status | head`): the command ends without a word, as others do.
fn end_with_the_reader() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let told =
            panic.payload_as_str().is_some_and(|text| text.starts_with("failed printing to stdout: Broken pipe"));
        if told && std::thread::current().name() == Some("main") {
            std::process::exit(0);
        }
        report(panic);
    }));
}

/// The directories: from the command line, else from the environment, else the platform's.
struct Given<'a>(&'a Cli);

impl Env for Given<'_> {
    fn var(&self, name: &str) -> Option<String> {
        let given = match name {
            "CARAPACE_STATE_DIR" => &self.0.state_dir,
            "CARAPACE_CONFIG_PATH" => &self.0.config,
            _ => &None,
        };
        given.as_ref().map(|p| p.display().to_string()).or_else(|| SystemEnv.var(name))
    }
}

fn run(cli: Cli) -> Outcome {
    let paths = StatePaths::resolve(&Given(&cli)).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
    let command = match cli.command {
        Command::Plugin(PluginCommand::Author(command)) => match author::offline(&paths, command) {
            Ok(outcome) => return outcome,
            Err(command) => Command::Plugin(PluginCommand::Author(command)),
        },
        // A channel is enabled and disabled as any component is.
        Command::Channels(ChannelsCommand::Enable { instance }) => Command::Plugin(PluginCommand::Enable { instance }),
        Command::Channels(ChannelsCommand::Disable { instance }) => {
            Command::Plugin(PluginCommand::Disable { instance })
        }
        other => other,
    };
    match command {
        // These look at files only; they work with a broken configuration and without a runtime.
        Command::Plugin(PluginCommand::Sign { files, bundle, key }) => {
            plugin::sign(&paths, &files, bundle.as_deref(), key.as_deref())
        }
        Command::Plugin(PluginCommand::Keygen { out }) => plugin::keygen(&out),
        Command::Plugin(PluginCommand::Inspect { file, output }) => plugin::inspect(&paths, &file, output.json),
        Command::Plugin(PluginCommand::Verify { file, signature, output }) => {
            plugin::verify(&paths, &file, signature.as_deref(), output.json)
        }
        Command::Plugin(PluginCommand::RotateKey(how)) => publisher::make_rotation(&how),
        Command::Plugin(PluginCommand::DenyList {
            key,
            list_version,
            expires_days,
            digest,
            publisher,
            signer,
            keyless,
            out,
        }) => {
            let signers = publisher::Signers { keys: &signer, keyless: &keyless };
            let list = publisher::deny_content(list_version, expires_days, &digest, &publisher, &signers)?;
            publisher::make_deny_list(&list, &key, &out)
        }
        Command::Publisher(PublisherCommand::List(output)) => publisher::list(&paths, output.json),
        Command::Publisher(PublisherCommand::Add { id, key, keyless }) => match key {
            Some(key) => publisher::add(&paths, &id, &key),
            None => publisher::add_rule(&paths, &id, &keyless),
        },
        Command::Publisher(PublisherCommand::Remove { id }) => publisher::remove(&paths, &id),
        Command::Publisher(PublisherCommand::Rotate { file }) => publisher::rotate(&paths, &file),
        Command::Publisher(PublisherCommand::PinDenyKey { key }) => publisher::pin_deny_key(&paths, &key),
        Command::Publisher(PublisherCommand::Deny { file }) => publisher::deny(&paths, &file),
        Command::Publisher(PublisherCommand::PinRootKey { key }) => publisher::pin_root_key(&paths, &key),
        Command::Publisher(PublisherCommand::TrustedRoot { file }) => publisher::trusted_root(&paths, &file),
        Command::Plugin(PluginCommand::TrustedRoot { file, key, root_version, out }) => {
            publisher::make_trusted_root(&file, root_version, &key, &out)
        }
        Command::VerifyRelease(args) => release::verify(&paths, &args),
        Command::Registry(command) => on_runtime(registry::run(&paths, command)),
        Command::Channels(command) => on_runtime(channels::channels(&paths, command)),
        Command::Pairing(command) => on_runtime(channels::pairing(&paths, command)),
        Command::Outbox(command) => on_runtime(channels::outbox(&paths, command)),
        Command::Events(command) => on_runtime(channels::events(&paths, command)),
        Command::Plugin(PluginCommand::Search { words, reading, output }) => {
            on_runtime(registry::search(&paths, &words, &reading.into(), output.json))
        }
        Command::Plugin(PluginCommand::Outdated { reading, output }) => {
            on_runtime(registry::outdated(&paths, &reading.into(), output.json))
        }
        Command::Plugin(PluginCommand::Publish { file, signature, to }) => {
            on_runtime(registry::publish(&file, signature.as_deref(), &to))
        }
        Command::Config(ConfigCommand::Path) => {
            println!("{}", paths.config().display());
            Ok(())
        }
        Command::Config(ConfigCommand::Schema) => {
            plugin::print_json(&carapace_config::Config::json_schema());
            Ok(())
        }
        Command::Config(ConfigCommand::Check(output)) => config::check(&paths, output.json),
        // A configuration that is not valid is one of its findings.
        Command::Doctor(args) => on_runtime(doctor::run(&paths, args)),
        other => {
            let handle = ConfigHandle::load(paths.config(), Arc::new(SystemEnv))
                .map_err(|e| Failure::new(Exit::Usage, e.to_string()).help("carapace config check"))?;
            on_runtime(with_runtime(other, paths, Arc::new(handle)))
        }
    }
}

fn on_runtime<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let outcome = runtime.block_on(work);
    // A thread that waits for somebody to type is not waited for.
    runtime.shutdown_background();
    outcome
}

async fn with_runtime(command: Command, paths: StatePaths, config: Arc<ConfigHandle>) -> Outcome {
    match command {
        Command::Setup(args) => setup::run(&paths, config, args).await,
        Command::Start(args) => start::run(&paths, config, args).await,
        Command::Chat(args) => chat::run(&paths, config, args).await,
        Command::Console(args) => console::run(&paths, args).await,
        Command::Stop => start::stop(&paths).await,
        Command::Status(output) => status::run(&paths, output.json).await,
        Command::Top(args) => author::top::run(&paths, &args).await,
        Command::Plugin(PluginCommand::Author(command)) => author::online(&paths, config, command).await,
        Command::Plugin(PluginCommand::Revoke(args)) => grant::revoke(&paths, config, &args).await,
        Command::Plugin(PluginCommand::Grant(args)) => grant::run(&paths, config, &args).await,
        Command::Plugin(PluginCommand::Install { source, bring, instance, publisher }) => {
            let instance = instance.map(|id| {
                id.parse().map_err(|e: carapace_contract::NameError| Failure::new(Exit::Usage, e.to_string()))
            });
            let what = packages::Bring::Install { instance: instance.transpose()?, publisher };
            packages::bring(&paths, config, &source, &bring, what).await
        }
        Command::Plugin(PluginCommand::Update { name, source, bring }) => {
            let component = packages::component_id(&name)?;
            let source = source.unwrap_or_else(|| component.to_string());
            packages::bring(&paths, config, &source, &bring, packages::Bring::Update(component)).await
        }
        Command::Plugin(PluginCommand::Sync(args)) => sync::run(&paths, config, &args).await,
        Command::Plugin(PluginCommand::Requests(args)) => requests::run(&paths, config, args.command).await,
        Command::Plugin(PluginCommand::Rollback(args)) => packages::rollback(&paths, config, &args).await,
        Command::Plugin(PluginCommand::Enable { instance }) => packages::enable(&paths, config, &instance, true).await,
        Command::Plugin(PluginCommand::Disable { instance }) => {
            packages::enable(&paths, config, &instance, false).await
        }
        Command::Plugin(PluginCommand::Uninstall { name, keep_data, delete_data, yes }) => {
            let data = (keep_data || delete_data).then_some(delete_data);
            packages::uninstall(&paths, config, &name, data, yes).await
        }
        Command::Plugin(PluginCommand::Grants { instance, output }) => {
            packages::grants(&paths, config, instance.as_deref(), output.json).await
        }
        Command::Plugin(PluginCommand::Why { instance, output }) => {
            packages::why(&paths, config, &instance, output.json).await
        }
        Command::Plugin(_) => {
            status::plugins(&paths, matches!(command, Command::Plugin(PluginCommand::List(o)) if o.json)).await
        }
        Command::Secrets(SecretsCommand::Set { name, instance, generate }) => {
            secrets::set(&paths, config, &name, &instance, generate).await
        }
        Command::Secrets(SecretsCommand::List(output)) => secrets::list(&paths, config, output.json).await,
        Command::Secrets(SecretsCommand::Rm { name, instance }) => {
            secrets::remove(&paths, config, &name, &instance).await
        }
        Command::Assets(AssetsCommand::List(output)) => assets_command::list(&paths, config, output.json).await,
        Command::Assets(AssetsCommand::Add { file }) => assets_command::add(&paths, config, &file).await,
        Command::Assets(AssetsCommand::Fetch { name, from }) => {
            assets_command::fetch(&paths, config, name.as_deref(), from.as_ref()).await
        }
        Command::Assets(AssetsCommand::Rm { name }) => assets_command::remove(&paths, config, &name).await,
        Command::Audit(AuditCommand::Verify(output)) => audit::verify(&paths, config, output.json).await,
        Command::Doctor(_)
        | Command::Publisher(_)
        | Command::Registry(_)
        | Command::Channels(_)
        | Command::Pairing(_)
        | Command::Outbox(_)
        | Command::Events(_)
        | Command::Config(_)
        | Command::VerifyRelease(_) => Ok(()),
    }
}

fn wants_json(command: &Command) -> bool {
    match command {
        Command::Setup(a) => a.json,
        Command::Start(a) => a.json,
        Command::Chat(a) => a.json,
        Command::Console(a) => a.output.json,
        Command::VerifyRelease(a) => a.output.json,
        Command::Doctor(a) => a.json,
        Command::Top(a) => a.output.json,
        Command::Plugin(PluginCommand::Author(command)) => author::wants_json(command),
        Command::Plugin(PluginCommand::Install { bring, .. } | PluginCommand::Update { bring, .. }) => bring.json,
        Command::Plugin(PluginCommand::Requests(args::RequestsArgs {
            command: Some(RequestsCommand::Approve { bring, .. }),
        })) => bring.json,
        Command::Status(o)
        | Command::Plugin(PluginCommand::Requests(args::RequestsArgs { command: Some(RequestsCommand::List(o)) }))
        | Command::Plugin(PluginCommand::List(o))
        | Command::Plugin(
            PluginCommand::Rollback(args::RollbackArgs { output: o, .. })
            | PluginCommand::Search { output: o, .. }
            | PluginCommand::Outdated { output: o, .. }
            | PluginCommand::Grants { output: o, .. }
            | PluginCommand::Why { output: o, .. },
        )
        | Command::Plugin(PluginCommand::Inspect { output: o, .. } | PluginCommand::Verify { output: o, .. })
        | Command::Publisher(PublisherCommand::List(o))
        | Command::Registry(RegistryCommand::List(o))
        | Command::Channels(
            ChannelsCommand::List(o)
            | ChannelsCommand::Status { output: o, .. }
            | ChannelsCommand::Test { output: o, .. },
        )
        | Command::Pairing(PairingCommand::List(o))
        | Command::Outbox(OutboxCommand::List { output: o, .. })
        | Command::Events(EventsCommand::List(o))
        | Command::Secrets(SecretsCommand::List(o))
        | Command::Assets(AssetsCommand::List(o))
        | Command::Config(ConfigCommand::Check(o))
        | Command::Audit(AuditCommand::Verify(o)) => o.json,
        _ => false,
    }
}
