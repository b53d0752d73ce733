//! `carapace start` and `carapace stop`.

use super::chat;
use crate::args::StartArgs;
use crate::assembly::{Kernel, StartOptions};
use crate::bundled::Consent;
use crate::client::Client;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::{assets, trust};
use carapace_config::{Config, ConfigHandle, LogFormat, StatePaths};
use carapace_contract::control::ControlRequest;
use secrecy::SecretString;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Serves until stopped; at a terminal with a conversation in front.
pub(crate) async fn run(paths: &StatePaths, config: Arc<ConfigHandle>, args: StartArgs) -> Outcome {
    let talk = std::io::stdin().is_terminal() && std::io::stdout().is_terminal() && !args.json && !args.no_chat;
    logging(paths, &config.current(), talk)?;
    let options = StartOptions {
        bundle: bundle(args.bundle),
        consent: match (args.accept_growth, args.accept_bundled) {
            (true, _) => Consent::Everything,
            (false, true) => Consent::FirstGrants,
            (false, false) => Consent::Ask,
        },
        port: args.port,
    };
    let kernel = Kernel::start(paths, config.clone(), options).await?;
    #[cfg(unix)]
    tokio::spawn(reload_on_hangup(config));
    let base = format!("http://{}", kernel.gateway.addr);
    if args.json {
        println!(
            "{}",
            serde_json::json!({ "ready": true, "http": base, "ws": format!("ws://{}/ws", kernel.gateway.addr) })
        );
    } else {
        println!("Carapace is ready: {base} (WebSocket ws://{}/ws)", kernel.gateway.addr);
        println!("The token of its API is in {}.", paths.gateway_token().display());
        kernel.problems.iter().for_each(|(id, why)| println!("not loaded: {id}: {why}"));
        if let Some(id) = &kernel.stand_in {
            println!(
                "No provider is configured: `{}` answers in its place. `carapace setup` finds a better one.",
                id.name()
            );
        }
        kernel.missing.iter().for_each(|(id, asset)| println!("{}", assets::how_to_bring(id, asset)));
    }
    let stop = kernel.stop.clone();
    let ended = if talk {
        let client = Client::to(&base, read_token(paths)?)?;
        tokio::select! {
            ended = chat::converse(&client, "main", None, paths) => ended,
            () = stop.cancelled() => Ok(()),
            () = terminated() => Ok(()),
        }
    } else {
        tokio::select! {
            () = stop.cancelled() => {}
            () = terminated() => {}
            _ = tokio::signal::ctrl_c() => {}
        }
        Ok(())
    };
    if !args.json {
        // The terminal may be gone.
        let _ = writeln!(std::io::stdout(), "Stopping: running turns finish, or resume after the next start.");
    }
    kernel.shutdown().await;
    ended
}

/// Stops the kernel of this state directory and waits until it is gone.
pub(crate) async fn stop(paths: &StatePaths) -> Outcome {
    let client = Client::needed(paths).await?;
    client.control(&ControlRequest::Shutdown).await?;
    let run_file = paths.root().join("run.json");
    for _ in 0..1_200 {
        if !run_file.exists() {
            println!("Stopped.");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Err(Failure::new(Exit::Failed, "the assistant is still finishing its turns").help("carapace status"))
}

/// The owner's token, as the kernel wrote it.
pub(crate) fn read_token(paths: &StatePaths) -> Outcome<SecretString> {
    let file = paths.gateway_token();
    let token = std::fs::read_to_string(&file).or_fail(format!("cannot read {}", file.display()))?;
    Ok(SecretString::from(token.trim().to_owned()))
}

/// The bundle that is named, else the one beside the binary, if there is one.
pub(crate) fn bundle(named: Option<PathBuf>) -> Option<PathBuf> {
    named.or_else(|| {
        let beside = std::env::current_exe().ok()?.parent()?.join("bundle");
        beside.is_dir().then_some(beside)
    })
}

/// To stderr; beside a conversation to a file, so that it doesn't write over what is typed.
pub(crate) fn logging(paths: &StatePaths, config: &Config, talk: bool) -> Outcome {
    let level = config.log.level.as_str();
    let mut filter = EnvFilter::try_from_env("CARAPACE_LOG").unwrap_or_else(|_| EnvFilter::new(level));
    // These see URLs and headers after the credentials were added: never in detail, whatever the variable says.
    for quiet in
        ["hyper", "hyper_util", "reqwest", "h2", "rustls", "tungstenite", "tokio_tungstenite", "wasmtime", "cranelift"]
    {
        filter = filter.add_directive(format!("{quiet}=warn").parse().or_fail("the log's filter")?);
    }
    let builder = tracing_subscriber::fmt().with_env_filter(filter);
    let json = config.log.format == LogFormat::Json;
    if talk {
        trust::make_state_dir(paths)?;
        let path = paths.root().join("carapace.log");
        let file = std::fs::File::options().create(true).append(true).open(&path).or_fail(path.display())?;
        let builder = builder.with_writer(Arc::new(file)).with_ansi(false);
        if json { builder.json().init() } else { builder.init() }
    } else {
        let builder = builder.with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
        if json { builder.json().init() } else { builder.init() }
    }
    Ok(())
}

/// SIGHUP reads the configuration again; a bad file changes nothing and is told.
#[cfg(unix)]
async fn reload_on_hangup(config: Arc<ConfigHandle>) {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut hangups) = signal(SignalKind::hangup()) else { return };
    while hangups.recv().await.is_some() {
        match config.reload() {
            Ok(true) => tracing::info!("the configuration was read again; agent and budget follow at the next turn"),
            Ok(false) => tracing::info!("the configuration has not changed"),
            Err(error) => tracing::error!(%error, "the configuration in force stays"),
        }
    }
}

#[cfg(unix)]
async fn terminated() {
    match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
        Ok(mut signal) => {
            signal.recv().await;
        }
        // Without a handler the default action still ends the process.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    std::future::pending().await
}
