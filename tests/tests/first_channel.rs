//! What the tutorial on channels tells an author to do, done from its own text: up to people who are answered, and one who is not.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test reads what authors read, runs what they run, and stops at the first thing that is not as it should be"
)]

use carapace_tests::author::{files, line, root};
use carapace_tests::{Kernel, KernelOptions, owner, peer, peers};
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(120);

/// The lines of a page's blocks of these languages, in order, each with its language.
fn steps<'a>(page: &'a str, languages: &[&str]) -> Vec<(&'a str, &'a str)> {
    let (mut found, mut open) = (Vec::new(), None);
    for line in page.lines() {
        match (line.strip_prefix("```"), open) {
            (Some(language), None) => open = Some(language),
            (Some(_), Some(_)) => open = None,
            (None, Some(language)) if languages.contains(&language) => found.push((language, line)),
            (None, _) => {}
        }
    }
    found
}

/// The page's chat service.
struct Chat {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Chat {
    fn start(folder: &Path, line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let mut command = Command::new(words.next().unwrap());
        command.current_dir(folder).args(words).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| e.to_string())?;
        let lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line))));
        Ok(Self { child, said })
    }

    fn types(&mut self, line: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{line}").unwrap();
    }

    /// The next message that it shows.
    fn shows(&self, kernel: &Kernel) -> String {
        self.said
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|e| panic!("nothing came ({e}); the kernel's log:\n{}", kernel.log()))
    }
}

impl Drop for Chat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tutorial_leads_from_nothing_to_a_conversation_on_a_chat_service_of_ones_own() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let page =
        std::fs::read_to_string(root().join("docs/src/authors/first-channel.md")).unwrap().replace("8077", &port);
    let answer = json!([{ "match": {}, "response": { "content": "That I know." } }]);
    let model = peer!("aimock", peers::aimock(&answer, &[]));
    let kernel = Kernel::start(KernelOptions::openai(&format!("{}/v1", model.base)));
    let (beside, state) = (tempfile::tempdir().unwrap(), kernel.state());
    let folder = beside.path().join("my-chat");
    let (mut chat, mut code, mut ran) = (None, String::new(), 0);
    for (language, step) in steps(&page, &["bash", "text"]) {
        let step = step.replace("CODE", &code);
        ran += 1;
        match (language, step.as_str()) {
            ("bash", "cd my-chat") => assert!(folder.is_dir()),
            ("bash", new) if new.starts_with("carapace plugin new") => {
                line(beside.path(), state, new);
                std::fs::copy(root().join("components/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
                let written = files(&page);
                assert_eq!(
                    written.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(),
                    ["server.py", "carapace.toml"]
                );
                written.iter().for_each(|(name, text)| std::fs::write(folder.join(name), text).unwrap());
                // What the page shows of the code is the code.
                let code = std::fs::read_to_string(folder.join("src/lib.rs")).unwrap();
                let shown: Vec<&str> =
                    page.split("```rust\n").skip(1).map(|b| b.split("```").next().unwrap()).collect();
                assert!(shown.len() >= 4, "{shown:?}");
                shown.iter().for_each(|block| assert!(code.contains(block), "not in the template:\n{block}"));
            }
            ("bash", server) if server.starts_with("python3") => {
                chat = Some(peer!("python3", Chat::start(&folder, server)))
            }
            ("bash", test) if test.starts_with("carapace plugin test") => {
                let printed = line(&folder, state, test);
                assert_eq!(printed.matches("in_a_group_it_knows_when_it_is_meant ... ok").count(), 2, "{printed}");
            }
            ("bash", dev) if dev.starts_with("carapace plugin dev") => {
                // Without a terminal the author's yes is an option.
                let printed = line(&folder, state, &format!("{dev} --yes"));
                assert!(
                    printed.contains("speaks with people as your assistant") && printed.contains("running after"),
                    "{printed}"
                );
            }
            ("bash", set) if set.starts_with("carapace secrets set") => {
                let words: Vec<&str> = set.split_whitespace().skip(1).collect();
                let token = page.split("The token is `").nth(1).unwrap().split('`').next().unwrap();
                assert!(owner::with_input(state, &words, token).status.success());
            }
            ("bash", list) if list.starts_with("carapace channels list") => {
                line(&folder, state, list);
                runs(&kernel).await;
            }
            ("bash", other) => {
                let printed = line(&folder, state, other);
                assert!(printed.contains("ann"), "`{other}`: {printed}");
            }
            (_, typed) => {
                let chat: &mut Chat = chat.as_mut().expect("the page starts its server first");
                chat.types(typed);
                if typed.contains("Nobody asked you") {
                    continue;
                }
                let shown = chat.shows(&kernel);
                let (room, text) = shown.split_once(" <- ").unwrap();
                assert_eq!(room, typed.split(' ').next().unwrap());
                if code.is_empty() {
                    let pending: Value = kernel.cli_json(&["pairing", "list", "--json"]);
                    code = pending["pending"][0]["code"].as_str().unwrap().to_owned();
                    assert!(text.contains(&code), "{text}");
                    assert!(peers::asked(&model).await.is_empty(), "a stranger's words reached the model");
                } else {
                    assert_eq!(text, "That I know.");
                }
            }
        }
    }
    assert!(ran >= 12, "{ran}");
    // What named nobody was no turn.
    let asked = peers::asked(&model).await;
    assert_eq!(asked.len(), 2);
    assert!(asked.iter().all(|a| !a["body"].to_string().contains("Nobody asked you")));
    assert!(chat.unwrap().said.try_recv().is_err());
}

async fn runs(kernel: &Kernel) {
    let begin = Instant::now();
    loop {
        let channels = kernel.cli_json(&["channels", "list", "--json"]);
        let is = |c: &Value| c["instance"] == "local/my-chat/main" && c["state"] == "running";
        if channels.as_array().unwrap().iter().any(is) {
            return;
        }
        assert!(begin.elapsed() < PATIENCE, "{channels}\n{}", kernel.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
