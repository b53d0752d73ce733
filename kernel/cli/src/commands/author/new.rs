//! `carapace plugin new`: the folder of a new component.

use super::sdk;
use crate::args::{Kind, Language, NewArgs};
use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_contract::Name;
use carapace_contract::manifest::Manifest;
use std::path::{Component, Path, PathBuf};

/// Where the SDK lies in a new folder.
const VENDOR: &str = "vendor/carapace";
/// Where the templates have it.
const IN_TEMPLATE: &str = "../carapace/sdk/rust";

/// Names that Rust keeps for itself.
const RESERVED: [&str; 52] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue", "core", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "std", "struct",
    "super", "test", "trait", "true", "try", "type", "unsafe", "use", "virtual", "where", "while",
];

pub(crate) fn run(args: &NewArgs) -> Outcome {
    let Language::Rust = args.lang;
    let template = match args.kind {
        Kind::Tool => "tool",
        Kind::Provider => "provider",
        Kind::Channel => "channel",
    };
    let given = args.name.clone().unwrap_or_else(|| format!("my-{template}"));
    let name = checked(&given)?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
    let folder = std::path::absolute(&folder).or_fail(folder.display())?;
    empty(&folder)?;
    let (sdk_path, mut files) = match &args.sdk {
        Some(path) => (given_sdk(path, &folder)?, Vec::new()),
        None => {
            let vendored = sdk::workspace().into_iter().map(|(path, text)| (format!("{VENDOR}/{path}"), text));
            (format!("{VENDOR}/sdk/rust"), vendored.collect())
        }
    };
    for (path, text) in sdk::template(template) {
        files.push((path.to_owned(), named(text, template, &name).replace(IN_TEMPLATE, &sdk_path)));
    }
    // What was made is good, or nothing is made.
    if let Some((_, manifest)) = files.iter().find(|(path, _)| path == "carapace.toml") {
        Manifest::parse(manifest)
            .map_err(|e| Failure::new(Exit::Usage, e.to_string()).help("another, shorter name"))?;
    }
    for (path, text) in &files {
        let path = folder.join(path);
        let parent = path.parent().unwrap_or(&folder);
        std::fs::create_dir_all(parent).or_fail(format!("cannot create {}", parent.display()))?;
        std::fs::write(&path, text).or_fail(format!("cannot write {}", path.display()))?;
    }
    println!(
        "{} is a component in Rust, with tests. What it may do stands in carapace.toml. Next:\n",
        folder.display()
    );
    println!("  cd {}", args.dir.as_deref().unwrap_or(Path::new(name.as_str())).display());
    println!("  carapace plugin test");
    println!("  carapace plugin dev");
    Ok(())
}

/// A component's name that is also one of a crate.
fn checked(given: &str) -> Outcome<Name> {
    let usage = |text: String| Failure::new(Exit::Usage, text).help("carapace plugin new --kind tool my-tool");
    let name: Name = given.parse().map_err(|e: carapace_contract::NameError| usage(e.to_string()))?;
    let snake = given.replace('-', "_");
    if !given.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(usage(format!("`{given}` cannot be the name of a crate: it begins with a letter")));
    }
    if RESERVED.contains(&snake.as_str()) || given == "carapace-sdk" {
        return Err(usage(format!("`{given}` cannot be the name of a crate: Rust, or the SDK, has it already")));
    }
    Ok(name)
}

/// Nothing that is there is overwritten.
fn empty(folder: &Path) -> Outcome {
    let there = std::fs::symlink_metadata(folder).is_ok();
    if there && std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_some()) {
        return Err(Failure::new(Exit::Usage, format!("{} is there already", folder.display()))
            .help("another name, or another folder with --dir DIR"));
    }
    Ok(())
}

/// The SDK that was named, seen from the new folder.
fn given_sdk(path: &Path, folder: &Path) -> Outcome<String> {
    let manifest = path.join("Cargo.toml");
    let is_it = std::fs::read_to_string(&manifest).is_ok_and(|text| text.contains("name = \"carapace-sdk\""));
    if !is_it {
        return Err(Failure::new(Exit::Usage, format!("{} is not the SDK", path.display())).help(
            "--sdk DIR names the folder sdk/rust of Carapace's sources; without it, the SDK comes out of this program",
        ));
    }
    let sdk = path.canonicalize().or_fail(path.display())?;
    // The folder is not there yet, but one above it is.
    let above = folder.ancestors().find_map(|a| Some((a, a.canonicalize().ok()?)));
    let folder = match above {
        Some((above, real)) => real.join(folder.strip_prefix(above).unwrap_or(Path::new(""))),
        None => folder.to_path_buf(),
    };
    Ok(relative(&folder, &sdk).display().to_string().replace('\\', "/"))
}

/// A path as seen from a folder; both absolute.
fn relative(from: &Path, to: &Path) -> PathBuf {
    let (mut from, mut to_rest) = (from.components().peekable(), to.components().peekable());
    if matches!((from.peek(), to_rest.peek()), (Some(Component::Prefix(a)), Some(Component::Prefix(b))) if a != b) {
        return to.to_path_buf();
    }
    while from.peek().is_some() && from.peek() == to_rest.peek() {
        from.next();
        to_rest.next();
    }
    from.map(|_| Component::ParentDir).chain(to_rest).collect()
}

/// The template's text with the component's name in place of its own.
fn named(text: &str, template: &str, name: &Name) -> String {
    let camel = |kebab: &str| -> String {
        let word =
            |w: &str| w.chars().take(1).flat_map(char::to_uppercase).chain(w.chars().skip(1)).collect::<String>();
        kebab.split('-').map(word).collect()
    };
    let (old, new) = (format!("my-{template}"), name.as_str());
    text.replace(&old, new).replace(&old.replace('-', "_"), &new.replace('-', "_")).replace(&camel(&old), &camel(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_component_and_of_a_crate() {
        for good in ["dice", "my-tool", "a1"] {
            assert_eq!(checked(good).unwrap().as_str(), good);
        }
        for bad in ["", "Dice", "my_tool", "-a", "1st", "test", "async", "carapace-sdk", "../x"] {
            assert!(checked(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_path_is_seen_from_the_new_folder() {
        let seen = |from: &str, to: &str| relative(Path::new(from), Path::new(to)).display().to_string();
        assert_eq!(seen("/home/a/dice", "/home/a/carapace/sdk/rust"), "../carapace/sdk/rust");
        assert_eq!(seen("/x", "/x/sdk"), "sdk");
        assert_eq!(seen("/a/b/c", "/d"), "../../../d");
    }

    #[test]
    fn the_templates_name_goes_everywhere() {
        let text = "name = \"my-tool\"\nstruct MyTool; \"my_tool_find\"";
        let named = named(text, "tool", &"rain-radar".parse().unwrap());
        assert_eq!(named, "name = \"rain-radar\"\nstruct RainRadar; \"rain_radar_find\"");
    }

    #[test]
    fn what_a_template_becomes_is_a_good_manifest_that_names_no_template() {
        for kind in ["tool", "provider", "channel"] {
            for (path, text) in sdk::template(kind) {
                let text = named(text, kind, &"rain-radar".parse().unwrap());
                assert!(
                    !text.to_lowercase().contains(&format!("my{kind}")) && !text.contains(&format!("my-{kind}")),
                    "{path}"
                );
                if path == "carapace.toml" {
                    assert_eq!(Manifest::parse(&text).unwrap().component.name.as_str(), "rain-radar");
                }
            }
        }
    }
}
