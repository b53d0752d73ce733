//! The built component, in another process: `carapace plugin test-host`, one for all tests of this process.

use super::FakeHost;
use super::protocol::{Answered, Ask, Call, Greeting, Outcome, VERSION};
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

/// The package that is tested; without it the tests run the code of their own process.
pub(crate) const COMPONENT: &str = "CARAPACE_TEST_COMPONENT";
/// The `carapace` that runs it.
pub(crate) const HOST: &str = "CARAPACE_TEST_HOST";

/// One test's way to the host.
#[derive(Debug)]
pub(crate) struct Remote {
    test: u64,
    host: &'static Mutex<Connection>,
}

#[derive(Debug)]
struct Connection {
    /// Ends when its input does, which is when this process does.
    _child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Remote {
    /// The host that the environment names, if it names one.
    ///
    /// # Errors
    /// It cannot be used for a component of that name; the text says why and what to do.
    #[allow(clippy::disallowed_methods, reason = "a test has an environment")]
    pub(crate) fn from_environment(name: &str) -> Result<Option<Self>, String> {
        static CONNECTED: OnceLock<Result<(String, Mutex<Connection>), String>> = OnceLock::new();
        static TESTS: AtomicU64 = AtomicU64::new(1);
        let (component, host) = match (std::env::var(COMPONENT), std::env::var(HOST)) {
            (Err(_), Err(_)) => return Ok(None),
            (Ok(component), Ok(host)) => (component, host),
            _ => return Err(format!("{COMPONENT} and {HOST} belong together; `carapace plugin test` sets both")),
        };
        let connected = CONNECTED.get_or_init(|| {
            let (named, connection) = Connection::open(&component, &host)?;
            Ok((named, Mutex::new(connection)))
        });
        let (named, host) = connected.as_ref().map_err(Clone::clone)?;
        if named != name {
            return Err(format!("{COMPONENT} is `{named}`, but this test is one of `{name}`"));
        }
        Ok(Some(Self { test: TESTS.fetch_add(1, Relaxed), host }))
    }

    /// Makes a call with the fakes as they are, and leaves them as the component did.
    ///
    /// # Errors
    /// The host is gone, or says what no host of this version says.
    pub(crate) fn call(&self, fake: &mut FakeHost, call: Call) -> Result<Outcome, String> {
        let mut host = self.host.lock().unwrap_or_else(PoisonError::into_inner);
        host.say(&Ask::Call { test: self.test, call: Box::new(call), fake: Box::new(fake.clone()) })?;
        let answered: Answered =
            serde_json::from_str(&host.hear()?).map_err(|e| format!("the test host's answer cannot be read: {e}"))?;
        *fake = *answered.fake;
        Ok(answered.outcome)
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        // If it fails, the host is gone, and the instance with it.
        let _ = self.host.lock().unwrap_or_else(PoisonError::into_inner).say(&Ask::Over { test: self.test });
    }
}

impl Connection {
    #[allow(clippy::disallowed_methods, reason = "a test starts its host")]
    fn open(component: &str, host: &str) -> Result<(String, Self), String> {
        let mut command = Command::new(host);
        command.args(["plugin", "test-host", component]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().map_err(|e| format!("{HOST}: cannot start {host}: {e}"))?;
        let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(format!("{HOST}: {host} has no input or output"));
        };
        let mut this = Self { _child: child, input, output: BufReader::new(output) };
        let named = greeted(&this.hear()?)?;
        Ok((named, this))
    }

    fn say(&mut self, ask: &Ask) -> Result<(), String> {
        let gone = |e: &dyn std::fmt::Display| format!("the test host cannot be written to: {e}");
        let mut line = serde_json::to_vec(ask).map_err(|e| gone(&e))?;
        line.push(b'\n');
        self.input.write_all(&line).and_then(|()| self.input.flush()).map_err(|e| gone(&e))
    }

    fn hear(&mut self) -> Result<String, String> {
        let mut line = String::new();
        match self.output.read_line(&mut line) {
            Ok(0) => Err("the test host ended; what it said stands above".to_owned()),
            Ok(_) => Ok(line),
            Err(e) => Err(format!("the test host cannot be read: {e}")),
        }
    }
}

/// The component that a first line names.
fn greeted(line: &str) -> Result<String, String> {
    let said: serde_json::Value = serde_json::from_str(line)
        .map_err(|_| format!("{HOST}: this is no test host; it says `{}`", line.trim_end()))?;
    let version = said.get("protocol").and_then(serde_json::Value::as_u64);
    if version != Some(u64::from(VERSION)) {
        let version = version.map_or("none".to_owned(), |v| v.to_string());
        return Err(format!(
            "carapace and carapace-sdk are not of one version: the host's test protocol is {version}, the crate's {VERSION}; \
             update the older of the two"
        ));
    }
    let greeting: Greeting =
        serde_json::from_value(said).map_err(|e| format!("{HOST}: the host's greeting cannot be read: {e}"))?;
    greeting.component.map_err(|why| format!("{COMPONENT}: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_of_another_version_is_named_with_both_versions() {
        let error = greeted("{\"protocol\":7,\"something\":\"new\"}\n").unwrap_err();
        assert!(error.contains("protocol is 7, the crate's 3"), "{error}");
        assert!(greeted("{}").unwrap_err().contains("protocol is none"));
        assert!(greeted("usage: carapace …\n").unwrap_err().contains("no test host; it says `usage"));
    }

    #[test]
    fn a_greeting_names_the_component_or_why_there_is_none() {
        let greet = |component: Result<&str, &str>| {
            let component = component.map(str::to_owned).map_err(str::to_owned);
            greeted(&serde_json::to_string(&Greeting { protocol: VERSION, component, fake: None }).unwrap())
        };
        assert_eq!(greet(Ok("dice")).unwrap(), "dice");
        assert!(greet(Err("no manifest")).unwrap_err().ends_with("no manifest"));
    }
}
