//! The SDK and the templates of this program's version, which it carries.

/// Files by their path in the repository.
const EMBEDDED: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/embedded.rs"));

/// The files of a template, by their path in it.
pub(crate) fn template(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let folder = format!("sdk/templates/{name}/");
    EMBEDDED.iter().filter_map(move |(path, text)| Some((path.strip_prefix(&folder)?, *text)))
}

/// The SDK for TypeScript, by its files' paths in it.
pub(crate) fn package() -> impl Iterator<Item = (&'static str, &'static str)> {
    // What packages of an older contract were built against is not for new ones.
    EMBEDDED
        .iter()
        .filter_map(|(path, text)| Some((path.strip_prefix("sdk/typescript/")?, *text)))
        .filter(|(path, _)| !path.starts_with("wit/v"))
}

/// The SDK as a workspace of its own, by its files' paths: the crate is in `sdk/rust`.
pub(crate) fn workspace() -> Vec<(String, String)> {
    let mut files = Vec::new();
    for (path, text) in EMBEDDED {
        if *path == "components/Cargo.toml" {
            files.push(("Cargo.toml".to_owned(), root(text)));
        } else if path.starts_with("sdk/rust/") {
            let levels = path.strip_suffix("Cargo.toml").map(|folder| "../".repeat(folder.matches('/').count()));
            let text = match levels {
                Some(up) => manifest(text, up.trim_end_matches('/')),
                None => (*text).to_owned(),
            };
            files.push(((*path).to_owned(), text));
        }
    }
    files
}

/// The components' workspace with nothing but the SDK and what it is built with.
fn root(text: &str) -> String {
    let manifests: Vec<String> = EMBEDDED
        .iter()
        .filter(|(path, _)| path.starts_with("sdk/rust/") && path.ends_with("Cargo.toml"))
        .map(|(_, text)| manifest(text, ""))
        .collect();
    let is_used = |name: &str| {
        let (dotted, inline) = (format!("{name}.workspace"), format!("{name} = {{ workspace"));
        manifests.iter().any(|text| text.lines().any(|l| l.starts_with(&dotted) || l.starts_with(&inline)))
    };
    let mut section = "";
    let mut lines = vec!["# The SDK of the carapace that made this folder, as a workspace of its own.".to_owned()];
    for line in text.lines().take_while(|line| !line.starts_with("[profile")).filter(|line| !line.starts_with('#')) {
        if line.starts_with('[') {
            section = line;
        }
        let name = line.split([' ', '.']).next().unwrap_or_default();
        if section == "[workspace.dependencies]" && line.contains('=') && !is_used(name) {
            continue;
        }
        lines.push(if line.starts_with("members = ") {
            "members = [\"sdk/rust\", \"sdk/rust/macros\"]".to_owned()
        } else {
            line.replace("\"../sdk/", "\"sdk/")
        });
    }
    lines.join("\n").trim_end().to_owned() + "\n"
}

/// A crate of it. What its own tests need is left out.
fn manifest(text: &str, up: &str) -> String {
    let mut lines = Vec::new();
    let mut skipping = false;
    for line in text.lines() {
        if line.starts_with('[') {
            skipping = line == "[dev-dependencies]";
        }
        if line.starts_with("workspace = \"") {
            lines.push(format!("workspace = {up:?}"));
        } else if !skipping {
            lines.push(line.to_owned());
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sdk_for_typescript_is_whole_and_has_the_contract() {
        let paths: Vec<&str> = package().map(|(path, _)| path).collect();
        for needed in [
            "package.json",
            "tsconfig.json",
            "bin/carapace-sdk.mjs",
            "src/index.ts",
            "src/testing/wire.ts",
            "wit/channel.wit",
        ] {
            assert!(paths.contains(&needed), "{needed}");
        }
        assert!(!paths.iter().any(|p| p.contains("node_modules") || p.starts_with("wit/v0")), "{paths:?}");
    }

    #[test]
    fn the_sdk_stands_alone() {
        let files = workspace();
        let text = |path: &str| files.iter().find(|(p, _)| p == path).unwrap_or_else(|| panic!("no {path}")).1.clone();
        assert!(text("Cargo.toml").contains("members = [\"sdk/rust\", \"sdk/rust/macros\"]"));
        assert!(
            text("Cargo.toml").contains("\nwit-bindgen = ") && text("Cargo.toml").contains("[workspace.lints.rust]")
        );
        for gone in ["llama", "[profile", "proptest", "jiff"] {
            assert!(!text("Cargo.toml").contains(gone), "{gone}");
        }
        assert!(text("sdk/rust/Cargo.toml").contains("workspace = \"../..\""));
        assert!(text("sdk/rust/Cargo.toml").contains("[lints]\nworkspace = true"));
        assert!(text("sdk/rust/macros/Cargo.toml").contains("workspace = \"../../..\""));
        assert!(!text("sdk/rust/Cargo.toml").contains("proptest"));
        assert!(text("sdk/rust/wit/imports.wit").contains("interface kv"));
        assert!(text("sdk/rust/src/lib.rs").contains("pub mod kv;"));
        // Nothing leads out of it.
        for (path, text) in &files {
            assert!(!path.ends_with("Cargo.toml") || !text.contains("components"), "{path}: {text}");
        }
    }

    #[test]
    fn each_template_has_what_a_crate_needs() {
        for kind in ["tool", "provider"] {
            let paths: Vec<&str> = template(kind).map(|(path, _)| path).collect();
            for file in ["Cargo.toml", "carapace.toml", "src/lib.rs", ".cargo/config.toml", "clippy.toml", ".gitignore"]
            {
                assert!(paths.contains(&file), "{kind}: {file}");
            }
        }
    }
}
