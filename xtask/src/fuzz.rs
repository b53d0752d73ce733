//! `cargo xtask fuzz`: the seeds are written from what the repository holds anyway, then each target runs for a while.

use crate::cargo::{program, root, run, target_dir, which};
use crate::step::Steps;
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The longest input that is tried, bytes: parsers do not get more interesting with size.
const LONGEST: usize = 64 << 10;

/// Runs every target; the answer says how many.
pub(crate) fn run_all(steps: &mut Steps, seconds: u32) -> Result<String> {
    if which("rustup").is_none() || which("cargo-fuzz").is_none() {
        bail!(
            "fuzzing needs nightly Rust and cargo-fuzz. Install them, then repeat the command:\n  \
             rustup toolchain install nightly --profile minimal\n  cargo install cargo-fuzz --locked"
        );
    }
    let targets = targets(&root().join("fuzz/fuzz_targets"))?;
    steps.run("write seeds", || seeds(&targets))?;
    steps.run("build the targets", || run(cargo_fuzz().arg("build")))?;
    let mut broken = Vec::new();
    for target in &targets {
        let outcome = steps.run(&format!("fuzz {target}"), || {
            let limits = [format!("-max_total_time={seconds}"), format!("-max_len={LONGEST}")];
            run(cargo_fuzz().args(["run", target.as_str(), "--"]).args(limits))
        });
        if outcome.is_err() {
            broken.push(target.as_str());
        }
    }
    if !broken.is_empty() {
        bail!("an input broke {}; it is kept in fuzz/artifacts", broken.join(", "));
    }
    Ok(format!("{} targets, {seconds} s each, nothing broke", targets.len()))
}

fn cargo_fuzz() -> Command {
    let mut command = program("rustup");
    command.args(["run", "nightly", "cargo", "fuzz"]);
    for (name, _) in std::env::vars_os() {
        // What this toolchain's cargo told this program must not reach the other's.
        let text = name.to_string_lossy();
        let kept = ["CARGO_HOME", "CARGO_TERM_", "CARGO_HTTP_", "CARGO_NET_", "CARGO_REGISTR", "CARGO_SOURCE_"];
        if (text.starts_with("CARGO") || text.starts_with("RUSTC")) && !kept.iter().any(|k| text.starts_with(k)) {
            command.env_remove(&name);
        }
    }
    command.env_remove("RUSTUP_TOOLCHAIN");
    command
}

fn targets(folder: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut names: Vec<String> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|x| x == "rs"))
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    if names.is_empty() {
        bail!("no target in {}", folder.display());
    }
    Ok(names)
}

/// Writes each target's seeds into `fuzz/corpus`; a target without seeds is an error, so that a new one gets some.
fn seeds(targets: &[String]) -> Result<()> {
    for target in targets {
        let seeds = seeds_of(target)?;
        if seeds.is_empty() {
            bail!("no seeds for the target `{target}`; add some to xtask/src/fuzz.rs");
        }
        let folder = root().join("fuzz/corpus").join(target);
        std::fs::create_dir_all(&folder)?;
        for (n, seed) in seeds.iter().enumerate() {
            std::fs::write(folder.join(format!("seed-{n}")), seed)?;
        }
    }
    Ok(())
}

fn seeds_of(target: &str) -> Result<Vec<Vec<u8>>> {
    let texts = |list: &[&str]| list.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>();
    Ok(match target {
        "manifest" => manifests()?,
        "config" => texts(&CONFIGS),
        "bundle" => {
            let mut seeds = texts(&BUNDLES);
            seeds.extend(built("json")?);
            seeds
        }
        "package" => {
            let mut seeds = texts(&["\0asm\x01\0\0\0", "\0asm\x0d\0\x01\0"]);
            seeds.extend(built("wasm")?);
            seeds
        }
        // The first byte says what it is: a bundle and a package, a package, a statement, or the manifest of a small component.
        "verify" => {
            let mut seeds: Vec<Vec<u8>> = BUNDLES.iter().map(|b| pair(b.as_bytes(), b"\0asm\x0d\0\x01\0")).collect();
            for file in built_files("wasm")? {
                let package = std::fs::read(&file)?;
                let bundle = std::fs::read(file.with_extension("sigstore.json")).unwrap_or_default();
                seeds.extend([pair(&bundle, &package), [&[1], package.as_slice()].concat()]);
            }
            seeds.push([&[2], STATEMENT.as_bytes()].concat());
            seeds.push([&[3], SMALL.as_bytes()].concat());
            seeds.extend(manifests()?.iter().map(|text| [&[3], text.as_slice()].concat()));
            seeds
        }
        // The first byte says how long the pieces are.
        "sse" => STREAMS.iter().flat_map(|s| [0, 3, 255].map(|size| [&[size], s.as_bytes()].concat())).collect(),
        "ws_frame" => texts(&FRAMES),
        _ => Vec::new(),
    })
}

/// A seed of `verify`: a bundle and a package.
fn pair(bundle: &[u8], package: &[u8]) -> Vec<u8> {
    let length = u16::try_from(bundle.len()).unwrap_or(u16::MAX).to_le_bytes();
    [&[0], length.as_slice(), bundle, package].concat()
}

/// The manifests of the bundled components.
fn manifests() -> Result<Vec<Vec<u8>>> {
    let mut found = Vec::new();
    let mut folders: Vec<PathBuf> = vec![root().join("components")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder)?.flatten() {
            let path = entry.path();
            if path.is_dir() && entry.file_name() != "target" {
                folders.push(path);
            } else if entry.file_name() == "carapace.toml" {
                found.push(std::fs::read(path)?);
            }
        }
    }
    Ok(found)
}

/// What `cargo xtask components` left, if it ran.
fn built(extension: &str) -> Result<Vec<Vec<u8>>> {
    built_files(extension)?.into_iter().map(|p| Ok(std::fs::read(p)?)).collect()
}

fn built_files(extension: &str) -> Result<Vec<PathBuf>> {
    let Ok(entries) = std::fs::read_dir(target_dir()?.join("bundle")) else { return Ok(Vec::new()) };
    Ok(entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|x| x == extension)).collect())
}

const CONFIGS: [&str; 3] = [
    "{}",
    "{ agent: { route: ['openai/gpt-5-mini'], maxTurns: 4 }, gateway: { port: 0, bind: '127.0.0.1' }, budget: { dailyUsd: 1.5 } }",
    "{ instances: { 'openai:vllm': { component: 'local/openai', endpoints: { api: 'http://127.0.0.1:8000/v1' }, \
     limits: { memory: '64MiB' }, config: { a: [1, 2], b: '${HOME}' } } }, limits: { ceiling: { handles: 3 } } } // end",
];

const BUNDLES: [&str; 2] = [
    "{}",
    r#"{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"aGludA=="}},
    "dsseEnvelope":{"payload":"e30=","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"c2ln","keyid":""}]}}"#,
];

/// About an empty file.
const STATEMENT: &str = r#"{"_type":"https://in-toto.io/Statement/v1","subject":[{"name":"any.wasm","digest":
    {"sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}}],
    "predicateType":"https://carapace.dev/attestation/package/v1","predicate":{"name":"any","version":"1.0.0","contract":"0.1"}}"#;

/// What the small component of `verify` really is.
const SMALL: &str = "[component]\nname = \"any\"\nversion = \"1.0.0\"\ncontract = \"0.1\"\ndescription = \"x\"\n[kv]\n\
    [[tool]]\nname = \"any\"\nuses = [\"kv\"]\n";

const STREAMS: [&str; 4] = [
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"}}]}\n\ndata: [DONE]\n\n",
    "\u{feff}event: error\r\nretry: 5\r\n: note\r\ndata: one\r\ndata: two\r\n\r\n",
    "data\n\ndata\ndata\n\ndata:",
    "id: 1\rdata:  x\r\rdata: grün 日本\n",
];

const FRAMES: [&str; 4] = [
    r#"{"type":"req","id":"1","method":"health"}"#,
    r#"{"type":"req","id":"2","method":"chat.send","params":{"sessionKey":"main","message":"hi","idempotencyKey":"k"}}"#,
    r#"{"type":"req","id":"3","method":"connect","params":{"minProtocol":4,"maxProtocol":4,"client":{"id":"cli"},"auth":{"token":"t"}}}"#,
    r#"{"type":"res","id":"4","ok":true,"payload":[[[[{}]]]]}"#,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_target_has_seeds() {
        let targets = targets(&root().join("fuzz/fuzz_targets")).unwrap();
        assert!(targets.len() >= 7, "{targets:?}");
        for target in targets {
            assert!(!seeds_of(&target).unwrap().is_empty(), "{target}");
        }
    }
}
