//! The real binary.

use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// The `carapace` binary: `CARAPACE_BIN`, else the one of the same build.
pub fn binary() -> PathBuf {
    if let Some(bin) = std::env::var_os("CARAPACE_BIN") {
        return bin.into();
    }
    let exe = std::env::current_exe().unwrap();
    let profile_dir = exe.ancestors().find(|p| p.join("carapace").is_file()).map(Path::to_path_buf);
    profile_dir.expect("no `carapace` binary beside the tests: run `cargo xtask test`").join("carapace")
}

/// The unsigned component bundle that `cargo xtask test` built.
pub fn bundle() -> PathBuf {
    match std::env::var_os("CARAPACE_TEST_BUNDLE") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/bundle"),
    }
}

/// Unsigned packages of the components that are different for engines without relaxed SIMD; `cargo xtask test` built them, too.
pub fn plain_bundle() -> PathBuf {
    match std::env::var_os("CARAPACE_TEST_PLAIN") {
        Some(dir) => dir.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/plain"),
    }
}

/// How to start a kernel.
#[derive(Debug, Clone, Default)]
pub struct KernelOptions {
    /// `carapace.json5`, as text.
    pub config: Option<String>,
    /// Environment.
    pub env: Vec<(String, String)>,
    /// A signed bundle to use instead of a private, signed copy of the built one.
    pub bundle: Option<PathBuf>,
    /// Further packages beside the built ones, by name; signed with them.
    pub packages: Vec<(String, Vec<u8>)>,
    /// Whether the built-in model is in the bundle. Where a test means that nobody answers, it would.
    pub built_in: bool,
    /// Files in the bundle's `assets`.
    pub assets: Vec<PathBuf>,
    /// Further arguments of `carapace start`.
    pub args: Vec<String>,
}

impl KernelOptions {
    /// With `OPENAI_BASE_URL` pointing at `base`.
    pub fn openai(base: &str) -> Self {
        Self::default().with_env("OPENAI_BASE_URL", base)
    }
    /// With `ANTHROPIC_BASE_URL` pointing at `base`.
    pub fn anthropic(base: &str) -> Self {
        Self::default().with_env("ANTHROPIC_BASE_URL", base)
    }
    /// With `OLLAMA_BASE_URL` pointing at `base`.
    pub fn ollama(base: &str) -> Self {
        Self::default().with_env("OLLAMA_BASE_URL", base)
    }
    /// With nothing but the built-in model, and its weights where they are given.
    pub fn built_in(weights: Option<&Path>) -> Self {
        Self { built_in: true, assets: weights.map(Path::to_path_buf).into_iter().collect(), ..Self::default() }
    }
    /// Adds a variable.
    #[must_use]
    pub fn with_env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
    /// Adds a package to the bundle.
    #[must_use]
    pub fn with_package(mut self, name: &str, bytes: Vec<u8>) -> Self {
        self.packages.push((name.into(), bytes));
        self
    }
    /// Sets the configuration file's text.
    #[must_use]
    pub fn with_config(mut self, text: &str) -> Self {
        self.config = Some(text.into());
        self
    }
}

/// A running kernel; stopped when dropped.
#[derive(Debug)]
pub struct Kernel {
    child: Option<Child>,
    /// `http://127.0.0.1:<port>`
    pub base: String,
    /// The owner's token.
    pub token: String,
    state: TempDir,
    options: KernelOptions,
}

impl Kernel {
    /// Starts with a fresh state directory and waits until it is ready.
    pub fn start(options: KernelOptions) -> Self {
        let state = tempfile::Builder::new().prefix("carapace-e2e-").tempdir().unwrap();
        Self::start_in(state, options)
    }

    /// Starts on an existing state directory.
    pub fn start_in(state: TempDir, options: KernelOptions) -> Self {
        let mut kernel = Self { child: None, base: String::new(), token: String::new(), state, options };
        kernel.spawn();
        kernel
    }

    /// `carapace start`, which may not be ready yet.
    fn launch(&self) -> Child {
        if let Some(text) = &self.options.config {
            std::fs::write(self.state().join("carapace.json5"), text).unwrap();
        }
        let bundle = self.options.bundle.clone().unwrap_or_else(|| private_bundle(self.state(), &self.options));
        let log = std::fs::File::options().create(true).append(true).open(self.log_path()).unwrap();
        command(self.state(), &self.options.env)
            .arg("start")
            .args(["--accept-bundled", "--json", "--port", "0"])
            .arg("--bundle")
            .arg(bundle)
            .args(&self.options.args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap()
    }

    fn spawn(&mut self) {
        let mut child = self.launch();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let ready = lines.find_map(|line| {
            let value: Value = serde_json::from_str(&line.ok()?).ok()?;
            (value["ready"] == true).then_some(value)
        });
        let Some(ready) = ready else {
            let status = child.wait().unwrap();
            panic!("carapace did not get ready ({status}); its log:\n{}", self.log());
        };
        // Keep reading, so that the kernel never blocks on its own output.
        std::thread::spawn(move || lines.for_each(drop));
        self.base = ready["http"].as_str().unwrap().trim_end_matches('/').to_owned();
        self.token = std::fs::read_to_string(self.state().join("gateway.token")).unwrap().trim().to_owned();
        self.child = Some(child);
    }

    /// The state directory.
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    fn log_path(&self) -> PathBuf {
        self.state().join("e2e.log")
    }

    /// What it wrote to stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// kill -9.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Starts again on the same state directory.
    pub fn restart(&mut self) {
        self.kill();
        self.spawn();
    }

    /// kill -9, a start, and kill -9 again after so long, whether it got ready or not. Nothing runs then.
    pub fn die_starting(&mut self, after: Duration) {
        self.kill();
        let mut child = self.launch();
        std::thread::sleep(after);
        let _ = child.kill();
        let _ = child.wait();
    }

    /// Stops it politely and gives the state directory back.
    pub fn stop(mut self) -> TempDir {
        let out = self.cli(&["stop"]);
        assert!(out.status.success(), "stop failed: {}", String::from_utf8_lossy(&out.stderr));
        if let Some(mut child) = self.child.take() {
            child.wait().unwrap();
        }
        std::mem::replace(&mut self.state, tempfile::tempdir().unwrap())
    }

    /// Runs a CLI command against this kernel's state directory.
    pub fn cli(&self, args: &[&str]) -> Output {
        command(self.state(), &self.options.env).args(args).stdin(Stdio::null()).output().unwrap()
    }

    /// The same, parsed from JSON; panics with the output if it failed.
    pub fn cli_json(&self, args: &[&str]) -> Value {
        let out = self.cli(args);
        assert!(
            out.status.success(),
            "{args:?} failed: {}{}",
            String::from_utf8_lossy(&out.stdout),
            String::from_utf8_lossy(&out.stderr)
        );
        serde_json::from_slice(&out.stdout).unwrap()
    }

    /// An HTTP client with the owner's token.
    pub fn http(&self) -> reqwest::Client {
        let mut headers = reqwest::header::HeaderMap::new();
        headers.insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        client(headers)
    }

    /// One chat completion, not streamed; the whole JSON answer.
    pub async fn ask(&self, session: &str, text: &str) -> Value {
        self.http()
            .post(format!("{}/v1/chat/completions", self.base))
            .header("x-carapace-session-key", session)
            .json(&serde_json::json!({"messages": [{"role": "user", "content": text}]}))
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    /// The answer's text of [`Kernel::ask`]; panics with the whole answer if there is none.
    pub async fn say(&self, session: &str, text: &str) -> String {
        let answer = self.ask(session, text).await;
        answer["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_else(|| panic!("no answer: {answer}\n{}", self.log()))
            .to_owned()
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A copy of the built bundle, without the built-in model, and of `packages` beside it, in the state directory and signed by its
/// local publisher.
pub fn signed_bundle(state: &Path, packages: &[(String, Vec<u8>)]) -> PathBuf {
    private_bundle(state, &KernelOptions { packages: packages.to_vec(), ..KernelOptions::default() })
}

/// The same as these options have it.
pub fn private_bundle(state: &Path, options: &KernelOptions) -> PathBuf {
    let dir = state.join("bundle");
    if dir.is_dir() {
        return dir;
    }
    let built = bundle();
    assert!(built.is_dir(), "no components in {}: run `cargo xtask components`", built.display());
    std::fs::create_dir(&dir).unwrap();
    for file in std::fs::read_dir(built).unwrap().map(|e| e.unwrap().path()) {
        let left_out = !options.built_in && file.file_stem().is_some_and(|name| name == "local");
        if file.extension().is_some_and(|x| x == "wasm") && !left_out {
            std::fs::copy(&file, dir.join(file.file_name().unwrap())).unwrap();
        }
    }
    for file in &options.assets {
        std::fs::create_dir_all(dir.join("assets")).unwrap();
        std::fs::copy(file, dir.join("assets").join(file.file_name().unwrap())).unwrap();
    }
    for (name, bytes) in &options.packages {
        std::fs::write(dir.join(format!("{name}.wasm")), bytes).unwrap();
    }
    let out = command(state, &[]).args(["plugin", "sign", "--bundle"]).arg(&dir).output().unwrap();
    assert!(out.status.success(), "the bundle was not signed: {}", String::from_utf8_lossy(&out.stderr));
    dir
}

/// `carapace` with nothing of the tester's environment but what a shell has.
pub fn command(state: &Path, env: &[(String, String)]) -> Command {
    let mut c = Command::new(binary());
    c.env_clear().env("CARAPACE_STATE_DIR", state).env("CARAPACE_PASSWORD", "correct horse battery staple");
    for name in ["PATH", "HOME", "TMPDIR", "LANG"] {
        if let Some(value) = std::env::var_os(name) {
            c.env(name, value);
        }
    }
    c.envs(env.iter().cloned());
    c
}

/// A client without proxies and with a deadline, so that a hanging test ends.
pub fn client(headers: reqwest::header::HeaderMap) -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().default_headers(headers).no_proxy().timeout(Duration::from_secs(120)).build().unwrap()
}
