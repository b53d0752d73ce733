//! A process that serves on loopback until it is dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

/// A peer; killed when dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    /// `http://127.0.0.1:<port>`
    pub base: String,
}

impl Server {
    /// Starts `command` and reads its stdout (or stderr) until `find` gives the base URL.
    pub fn start(mut command: Command, find: impl Fn(&str) -> Option<String>) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let base = lines.by_ref().map_while(Result::ok).find_map(|l| find(&l));
        let Some(base) = base else {
            let status = child.wait().unwrap();
            panic!("{command:?} ended before it served: {status}");
        };
        std::thread::spawn(move || lines.for_each(drop));
        Self { child, base: base.trim_end_matches('/').to_owned() }
    }
}

impl Server {
    /// The process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
