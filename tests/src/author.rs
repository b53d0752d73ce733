//! What an author does: with a folder, with what a page of the book says, with `carapace plugin dev`.

use crate::kernel::command;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::Duration;

/// Runs a line that begins with `carapace` in a folder; what it printed.
pub fn line(folder: &Path, state: &Path, line: &str) -> String {
    let mut command = workshop(folder, state);
    let out = command.args(line.split_whitespace().skip(1)).output().unwrap();
    assert!(out.status.success(), "`{line}`: {}", printed(&out));
    printed(&out)
}

/// The lines of a page's shell blocks that call `carapace`, without their comments.
pub fn lines(page: &str) -> Vec<String> {
    let blocks = page.split("```bash\n").skip(1).map(|b| b.split("```").next().unwrap());
    let told = blocks.flat_map(str::lines).filter(|l| l.starts_with("carapace "));
    told.map(|l| l.split(" #").next().unwrap().trim_end().to_owned()).collect()
}

/// The files of a page: each fenced block whose paragraph before begins with a file's name in backquotes.
pub fn files(page: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (before, block) in
        page.split("\n```").collect::<Vec<_>>().chunks(2).filter_map(|c| Some((c.first()?, c.get(1)?)))
    {
        let paragraph = before.rsplit("\n\n").find(|p| !p.trim().is_empty()).unwrap_or_default().trim_start();
        let name = paragraph.strip_prefix('`').and_then(|p| p.split_once('`')).map(|(name, _)| name);
        if let (Some(name), Some((_, content))) = (name.filter(|n| n.contains('.')), block.split_once('\n')) {
            found.push((name.to_owned(), format!("{content}\n")));
        }
    }
    found
}

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_path_buf()
}

/// `carapace` where an author works: with a compiler for components, and the crates that are here already.
pub fn workshop(folder: &Path, state: &Path) -> Command {
    let mut command = command(state, &[]);
    command.current_dir(folder).env("CARGO_NET_OFFLINE", "true").stdin(Stdio::null());
    command.env("CARGO_TARGET_DIR", root().join("components/target"));
    if let Some(tools) = std::env::var_os("CARAPACE_TEST_TOOLS") {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::iter::once(tools.into()).chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(all).unwrap());
    }
    command
}

/// Both streams.
pub fn printed(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// What a command that must succeed printed.
pub fn done(command: &mut Command) -> String {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", printed(&out));
    printed(&out)
}

/// The folder that `plugin new` makes, with the crates' versions that the components are tested with.
pub fn new(state: &Path, beside: &Path, name: &str, kind: &str) -> PathBuf {
    let told = done(workshop(beside, state).args(["plugin", "new", name, "--kind", kind]));
    assert!(told.contains(&format!("cd {name}\n")) && told.contains("carapace plugin dev"), "{told}");
    let folder = beside.join(name);
    std::fs::copy(root().join("components/Cargo.lock"), folder.join("Cargo.lock")).unwrap();
    folder
}

/// `carapace plugin dev`, and what it says.
#[derive(Debug)]
pub struct Dev {
    child: Child,
    said: mpsc::Receiver<String>,
}

impl Dev {
    /// Starts it in a folder.
    pub fn start(folder: &Path, state: &Path, arguments: &[&str]) -> Self {
        let mut command = workshop(folder, state);
        command.args(["plugin", "dev"]).args(arguments).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines().map_while(Result::ok);
        let (tell, said) = mpsc::channel();
        std::thread::spawn(move || lines.for_each(|line| drop(tell.send(line))));
        Self { child, said }
    }

    /// All until a line that has one of these in it.
    pub fn until(&self, texts: &[&str]) -> String {
        let mut all = String::new();
        loop {
            // So that one that says nothing more is named with what it said.
            let line = self.said.recv_timeout(Duration::from_secs(600));
            let line = line.unwrap_or_else(|_| panic!("it never said one of {texts:?}: {all}"));
            all = all + &line + "\n";
            if texts.iter().any(|text| line.contains(text)) {
                return all;
            }
        }
    }

    /// Ctrl-C.
    pub fn interrupt(mut self) -> String {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status().unwrap();
        assert!(kill.success() && self.child.wait().unwrap().success());
        self.said.iter().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Puts a text in the place of another, which must be there.
pub fn edit(file: &Path, from: &str, to: &str) {
    let text = std::fs::read_to_string(file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}
