//! A tool `gadget` that comes, changes and goes, and what the owner sees of it.

use crate::components::{manifest, pack, tool};
use crate::{Kernel, owner};
use carapace_contract::Digest;
use serde_json::Value;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Output;

/// Its instance.
pub const ID: &str = "local/gadget/main";

/// A tool `gadget` of that version that does what the fixture does.
pub fn gadget(version: &str, fields: &str, uses: &str, more: &str) -> Vec<u8> {
    let text = manifest("gadget", version, &format!("[[tool]]\nname = \"gadget\"\nuses = [{uses}]\n{more}"));
    pack(&tool(fields, &["gadget"]), &text)
}

/// A signed file of it, beside the state directory.
pub fn file(state: &Path, dir: &Path, name: &str, package: &[u8]) -> (String, String) {
    let file = dir.join(format!("{name}.wasm"));
    std::fs::write(&file, package).unwrap();
    owner::done(state, &["plugin", "sign", file.to_str().unwrap()]);
    (file.to_str().unwrap().to_owned(), Digest::of(package).to_string())
}

/// Everything that a command printed.
pub fn all(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

/// The gadget as `plugin list` shows it.
pub fn listed(state: &Path) -> Option<Value> {
    let list: Value = serde_json::from_str(&owner::done(state, &["plugin", "list", "--json"])).unwrap();
    list.as_array().unwrap().iter().find(|i| i["instance"] == ID).cloned()
}

/// The gadget's version.
pub fn version(state: &Path) -> String {
    listed(state).unwrap()["version"].as_str().unwrap().to_owned()
}

/// Asks the model to call the tool, in a session of its own.
pub async fn call(kernel: &Kernel, session: &str) -> (String, bool) {
    let turn = kernel.turn(session, "carapace", "Please call <gadget>.").await;
    let (content, is_error) = turn.result();
    (content.to_owned(), is_error)
}

/// Asks as the command line does.
pub async fn control(kernel: &Kernel, request: Value) -> (u16, Value) {
    let answer = kernel.http().post(format!("{}/api/control", kernel.base)).json(&request).send().await.unwrap();
    (answer.status().as_u16(), answer.json::<Value>().await.unwrap())
}

/// A staged package, as long as it is held.
#[derive(Debug)]
pub struct Staged {
    /// By what the kernel finds it.
    pub id: String,
    /// Its signature.
    pub signature: PathBuf,
    _in_use: File,
}

/// Stages a signed file, as the command line does before it asks.
pub fn stage(state: &Path, path: &str, digest: &str) -> Staged {
    let id: String = digest.trim_start_matches("sha256:").chars().take(32).collect();
    let dir = state.join("packages/staging").join(&id);
    std::fs::create_dir_all(&dir).unwrap();
    let in_use = File::create(dir.join("in-use")).unwrap();
    in_use.lock().unwrap();
    let signature = dir.join("package.sigstore.json");
    std::fs::copy(path, dir.join("package.wasm")).unwrap();
    std::fs::copy(Path::new(path).with_extension("sigstore.json"), &signature).unwrap();
    Staged { id, signature, _in_use: in_use }
}

/// A kernel with a scripted model that calls `gadget`, and that model.
#[macro_export]
macro_rules! gadget_kernel {
    () => {{
        let model = $crate::peer!("aimock", $crate::peers::aimock(&$crate::turns::script(&["gadget"]), &[]));
        ($crate::Kernel::start($crate::KernelOptions::openai(&format!("{}/v1", model.base))), model)
    }};
}
