//! `carapace console`: a program's place at a channel that talks line by line, with stdin and stdout for the program.

use super::chat::visible;
use crate::args::ConsoleArgs;
use crate::assembly::instance_id;
use crate::client::{Client, Talking};
use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_config::StatePaths;
use carapace_contract::lines::{FromProgram, ToProgram};
use std::collections::VecDeque;
use std::io::{BufRead, IsTerminal, Write};
use std::time::Duration;
use tokio::sync::mpsc;

/// Lines that are sent and not taken yet.
const AHEAD: usize = 16;
/// Keys that are remembered: what is written again after the connection broke is not shown again.
const KNOWN: usize = 1_000;
/// Between two looks whether the assistant is back, and two attempts with a line.
const PAUSE: Duration = Duration::from_millis(500);

/// How a connection ended.
enum End {
    /// Everything is said.
    Quiet,
    /// The kernel went, or threw us out; why.
    Lost(String),
}

/// What outlives a connection.
struct Conversation {
    input: mpsc::Receiver<std::io::Result<String>>,
    /// More may come from there.
    open: bool,
    /// Sent, or to be sent, and not taken.
    waiting: VecDeque<(String, String)>,
    known: VecDeque<String>,
    refused: usize,
    json: bool,
}

/// Talks until stdin ends and everything is answered.
pub(crate) async fn run(paths: &StatePaths, args: ConsoleArgs) -> Outcome {
    let path = path(&args)?;
    let mut client = Client::needed(paths).await?;
    let mut conversation = Conversation {
        input: stdin(),
        open: true,
        waiting: VecDeque::new(),
        known: VecDeque::new(),
        refused: 0,
        json: args.output.json,
    };
    if std::io::stdin().is_terminal() {
        eprintln!("Attached as `{}`. Each line is a message; Ctrl-D ends when everything is answered.", args.name);
    }
    let mut talk = client.talk(&path).await?;
    loop {
        let ended = tokio::select! {
            ended = conversation.hold(&mut talk) => ended?,
            _ = tokio::signal::ctrl_c() => return Err(Failure::new(Exit::Cancelled, "stopped")),
        };
        match ended {
            End::Quiet if conversation.refused == 0 => return Ok(()),
            End::Quiet => {
                return Err(Failure::new(Exit::Refused, format!("{} lines were refused", conversation.refused)));
            }
            End::Lost(why) => {
                eprintln!("(the connection ended: {}; it goes on when the assistant is back)", visible(&why))
            }
        }
        tokio::select! {
            back = back(paths, &path) => (client, talk) = back?,
            _ = tokio::signal::ctrl_c() => return Err(Failure::new(Exit::Cancelled, "stopped")),
        }
        tracing::debug!(kernel = client.base, "attached again");
    }
}

/// Waits for the assistant. What it refuses now, it would refuse again.
async fn back(paths: &StatePaths, path: &str) -> Outcome<(Client, Talking)> {
    loop {
        tokio::time::sleep(PAUSE).await;
        let Some(client) = Client::running(paths).await? else { continue };
        match client.talk(path).await {
            Ok(talk) => return Ok((client, talk)),
            Err(e) if e.exit == Exit::Unreachable => {}
            Err(e) => return Err(e),
        }
    }
}

fn path(args: &ConsoleArgs) -> Outcome<String> {
    let channel = instance_id(&args.channel)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if args.name.is_empty() || !args.name.chars().all(plain) {
        let why = format!("`{}` is no name for a program: use A-Z a-z 0-9 . _ -", visible(&args.name));
        return Err(Failure::new(Exit::Usage, why));
    }
    Ok(format!("/api/lines/{}/{}?as={}", channel.name(), channel.id(), args.name))
}

/// Lines of stdin, as they come. A thread of its own: a read cannot be given up.
fn stdin() -> mpsc::Receiver<std::io::Result<String>> {
    let (to, from) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            if to.blocking_send(line).is_err() {
                return;
            }
        }
    });
    from
}

impl Conversation {
    /// Holds it over one connection.
    async fn hold(&mut self, talk: &mut Talking) -> Outcome<End> {
        let mut ended = false;
        let mut again = None;
        for (id, text) in &self.waiting {
            if let Err(e) = talk.say(&FromProgram::Line { id: id.clone(), text: text.clone() }).await {
                return Ok(End::Lost(e.to_string()));
            }
        }
        loop {
            if !self.open && self.waiting.is_empty() && !ended {
                ended = true;
                if let Err(e) = talk.say(&FromProgram::End).await {
                    return Ok(End::Lost(e.to_string()));
                }
            }
            let said = tokio::select! {
                line = self.input.recv(), if self.open && self.waiting.len() < AHEAD => match line.transpose()? {
                    None => {
                        self.open = false;
                        continue;
                    }
                    Some(text) if text.trim().is_empty() => continue,
                    Some(text) => {
                        let id = ulid::Ulid::generate().to_string();
                        self.waiting.push_back((id.clone(), text.clone()));
                        FromProgram::Line { id, text }
                    }
                },
                heard = talk.next() => match heard {
                    Ok(None) => return Ok(End::Quiet),
                    Err(e) => return Ok(End::Lost(e.to_string())),
                    Ok(Some(heard)) => match self.hear(heard)? {
                        Heard::Nothing => continue,
                        Heard::Got(key) => FromProgram::Got { key },
                        Heard::Again(id) => {
                            again.get_or_insert((id, Box::pin(tokio::time::sleep(PAUSE))));
                            continue;
                        }
                    },
                },
                id = after(again.as_mut()) => {
                    again = None;
                    let Some((id, text)) = self.waiting.iter().find(|(waiting, _)| *waiting == id).cloned() else { continue };
                    FromProgram::Line { id, text }
                }
            };
            if let Err(e) = talk.say(&said).await {
                return Ok(End::Lost(e.to_string()));
            }
        }
    }

    fn hear(&mut self, heard: ToProgram) -> Outcome<Heard> {
        match heard {
            ToProgram::Taken { id } => self.waiting.retain(|(waiting, _)| *waiting != id),
            ToProgram::Refused { id, retry: true, .. } => return Ok(Heard::Again(id)),
            ToProgram::Refused { id, code, message, fix, .. } => {
                self.waiting.retain(|(waiting, _)| *waiting != id);
                self.refused += 1;
                let fix = if fix.is_empty() { String::new() } else { format!(" ({fix})") };
                eprintln!("{}", visible(&format!("not taken: {message}{fix} [{code}]")));
            }
            ToProgram::Line { key, text } => {
                if !self.known.contains(&key) {
                    self.print(&key, &text).or_fail("what came could not be printed")?;
                    self.known.push_back(key.clone());
                    if self.known.len() > KNOWN {
                        self.known.pop_front();
                    }
                }
                return Ok(Heard::Got(key));
            }
        }
        Ok(Heard::Nothing)
    }

    fn print(&self, key: &str, text: &str) -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::json!({ "key": key, "text": text }))?;
        } else if out.is_terminal() {
            writeln!(out, "{}", visible(text))?;
        } else {
            writeln!(out, "{text}")?;
        }
        out.flush()
    }
}

/// What follows from something that was heard.
enum Heard {
    Nothing,
    Got(String),
    /// This line may be taken a little later.
    Again(String),
}

async fn after(again: Option<&mut (String, std::pin::Pin<Box<tokio::time::Sleep>>)>) -> String {
    match again {
        Some((id, sleep)) => {
            sleep.await;
            id.clone()
        }
        None => std::future::pending().await,
    }
}
