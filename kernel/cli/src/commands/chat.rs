//! `carapace chat`: one message, or a conversation.

use super::start;
use crate::args::ChatArgs;
use crate::assembly::{Kernel, StartOptions};
use crate::bundled::Consent;
use crate::client::{Answer, Client, Shown};
use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_config::{ConfigHandle, StatePaths};
use reedline::{DefaultPrompt, DefaultPromptSegment, FileBackedHistory, Reedline, Signal};
use serde_json::{Value, json};
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

/// Lines of history that are kept.
const HISTORY: usize = 1_000;
/// How often is looked whether the terminal is still there.
const LOOK: Duration = Duration::from_secs(1);

/// Talks to the running kernel, or to one of its own.
pub(crate) async fn run(paths: &StatePaths, config: Arc<ConfigHandle>, args: ChatArgs) -> Outcome {
    if let Some(client) = Client::running(paths).await? {
        return talk(&client, &args, paths).await;
    }
    start::logging(paths, &config.current(), true)?;
    let options = StartOptions {
        bundle: start::bundle(args.start.bundle.clone()),
        consent: if args.start.accept_bundled { Consent::FirstGrants } else { Consent::Ask },
        // Its own, for this conversation: the configured port stays free for `carapace start`.
        port: Some(0),
    };
    let kernel = Kernel::start(paths, config, options).await?;
    let client = Client::to(&format!("http://{}", kernel.gateway.addr), start::read_token(paths)?)?;
    let ended = talk(&client, &args, paths).await;
    kernel.shutdown().await;
    ended
}

async fn talk(client: &Client, args: &ChatArgs, paths: &StatePaths) -> Outcome {
    match &args.message {
        Some(message) if args.json => one_json(client, args, message).await,
        Some(message) => one(client, &args.session, args.model.as_deref(), message).await,
        None => converse(client, &args.session, args.model.as_deref(), paths).await,
    }
}

/// One message, streamed to stdout; Ctrl-C stops the turn.
async fn one(client: &Client, session: &str, model: Option<&str>, message: &str) -> Outcome {
    let mut out = std::io::stdout();
    let turn = client.turn(session, model, message, |shown| match shown {
        Shown::Text(text) => {
            // A closed pipe ends the program at the next write; nothing to add here.
            let _ = out.write_all(visible(&text).as_bytes()).and_then(|()| out.flush());
        }
        Shown::Tool(event) => eprintln!("{}", tool_line(&event)),
    });
    let answer = until_interrupt(turn).await;
    println!();
    let answer = answer?;
    if answer.finish == "length" {
        eprintln!("(the answer reached its length limit: agent.maxOutputTokens, or the model's own)");
    }
    Ok(())
}

async fn one_json(client: &Client, args: &ChatArgs, message: &str) -> Outcome {
    let turn = client.turn(&args.session, args.model.as_deref(), message, |shown| match shown {
        Shown::Text(text) => println!("{}", json!({ "type": "text", "delta": text })),
        Shown::Tool(event) => println!("{event}"),
    });
    let Answer { text, model, finish, usage } = until_interrupt(turn).await?;
    println!("{}", json!({ "type": "completed", "text": text, "model": model, "finish": finish, "usage": usage }));
    Ok(())
}

async fn until_interrupt(turn: impl Future<Output = Outcome<Answer>>) -> Outcome<Answer> {
    tokio::select! {
        answer = turn => answer,
        // Dropping the turn closes its connection, and that stops the run.
        _ = tokio::signal::ctrl_c() => Err(Failure::new(Exit::Cancelled, "stopped")),
    }
}

/// A conversation: line by line, with history at a terminal.
pub(crate) async fn converse(client: &Client, session: &str, model: Option<&str>, paths: &StatePaths) -> Outcome {
    if !std::io::stdin().is_terminal() {
        for line in std::io::stdin().lock().lines() {
            let line = line?;
            if !line.trim().is_empty() {
                one(client, session, model, &line).await?;
            }
        }
        return Ok(());
    }
    println!("Talking as session `{session}`. /help shows what there is; Ctrl-C stops an answer, Ctrl-D ends.");
    let mut session = session.to_owned();
    let history = FileBackedHistory::with_file(HISTORY, paths.root().join("chat-history"));
    let history = history.or_fail("cannot open the history of what was typed")?;
    let mut editor = Some(Reedline::create().with_history(Box::new(history)));
    let _terminal = Terminal;
    let prompt = DefaultPrompt::new(DefaultPromptSegment::Basic("you".to_owned()), DefaultPromptSegment::Empty);
    loop {
        let (mut line, at) = (editor.take(), prompt.clone());
        let read = tokio::task::spawn_blocking(move || {
            let signal = line.as_mut().map(|l| l.read_line(&at));
            (line, signal)
        });
        let (line, signal) = tokio::select! {
            read = read => read.or_fail("the terminal")?,
            // As if they had typed the end.
            () = hung_up() => return Ok(()),
        };
        editor = line;
        match signal {
            Some(Ok(Signal::Success(text))) => match text.trim() {
                "" => {}
                "/quit" | "/exit" => return Ok(()),
                "/help" => println!("/new  a new session\n/session KEY  another session\n/quit  end"),
                "/new" => {
                    session = format!("chat-{}", ulid::Ulid::generate());
                    println!("Session `{session}`.");
                }
                other => match other.strip_prefix("/session ") {
                    Some(key) => key.trim().clone_into(&mut session),
                    None => match one(client, &session, model, other).await {
                        Ok(()) => {}
                        Err(failure) if failure.exit == Exit::Cancelled => println!("(stopped)"),
                        Err(failure) => eprintln!("{:?}", miette::Report::new(failure)),
                    },
                },
            },
            Some(Ok(Signal::CtrlC)) => {}
            Some(Ok(_)) | None => return Ok(()),
            Some(Err(e)) => return Err(e.into()),
        }
    }
}

/// The terminal, which is read key by key: left as it was found, also when somebody else ends the conversation.
struct Terminal;

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// The terminal is gone: its window was closed, or a connection broke. Whoever reads it is told nothing, again and again.
async fn hung_up() {
    while std::io::stdin().is_terminal() {
        tokio::time::sleep(LOOK).await;
    }
}

/// A model's text must not drive the terminal.
pub(crate) fn visible(text: &str) -> String {
    text.chars().filter(|c| !c.is_control() || matches!(c, '\n' | '\t')).collect()
}

fn tool_line(event: &Value) -> String {
    let name = visible(event["name"].as_str().unwrap_or("?"));
    match event["type"].as_str() {
        Some("tool-call") => format!("  → {name} {}", visible(&event["arguments"].to_string())),
        Some("tool-result") => {
            let content: String = visible(event["content"].as_str().unwrap_or_default()).chars().take(200).collect();
            format!("  ← {name}{} {content}", if event["is_error"] == true { " failed:" } else { "" })
        }
        _ => format!("  · {name}"),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_model_cannot_drive_the_terminal() {
        assert_eq!(super::visible("a\u{1b}[2Jb\n\u{7}c"), "a[2Jb\nc");
    }
}
