//! `carapace plugin new`: the folder of a new component.

use super::sdk;
use crate::args::{Kind, Language, NewArgs};
use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_contract::Name;
use carapace_contract::manifest::Manifest;
use std::path::{Component, Path, PathBuf};

/// An SDK: in a new folder, in this repository, and in the templates, which name it as if the repository lay beside them.
struct Sdk {
    /// Where it lies in a new folder, if it comes out of this program.
    vendored: &'static str,
    /// The files of it that a new folder gets.
    files: fn() -> Vec<(String, String)>,
    /// How a template names it.
    in_template: &'static str,
    /// Its folder in Carapace's sources.
    source: &'static str,
    /// A file of that folder, and a line that says so.
    known_by: (&'static str, &'static str),
}

fn sdk_of(language: Language) -> Sdk {
    match language {
        Language::Rust => Sdk {
            vendored: "vendor/carapace/sdk/rust",
            files: || {
                sdk::workspace().into_iter().map(|(path, text)| (format!("vendor/carapace/{path}"), text)).collect()
            },
            in_template: "../carapace/sdk/rust",
            source: "sdk/rust",
            known_by: ("Cargo.toml", "name = \"carapace-sdk\""),
        },
        Language::TypeScript => Sdk {
            vendored: "vendor/carapace-sdk",
            files: || {
                sdk::package().map(|(path, text)| (format!("vendor/carapace-sdk/{path}"), text.to_owned())).collect()
            },
            in_template: "../carapace/sdk/typescript",
            source: "sdk/typescript",
            known_by: ("package.json", "\"name\": \"carapace-sdk\""),
        },
    }
}

/// Names that Rust keeps for itself.
const RESERVED: [&str; 52] = [
    "abstract", "alloc", "as", "async", "await", "become", "box", "break", "const", "continue", "core", "crate", "do",
    "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl", "in", "let", "loop", "macro",
    "match", "mod", "move", "mut", "override", "priv", "pub", "ref", "return", "self", "static", "std", "struct",
    "super", "test", "trait", "true", "try", "type", "unsafe", "use", "virtual", "where", "while",
];

pub(crate) fn run(args: &NewArgs) -> Outcome {
    let kind = match args.kind {
        Kind::Tool => "tool",
        Kind::Provider => "provider",
        Kind::Channel => "channel",
    };
    let given = args.name.clone().unwrap_or_else(|| format!("my-{kind}"));
    let name = checked(&given, args.lang)?;
    let folder = args.dir.clone().unwrap_or_else(|| PathBuf::from(name.as_str()));
    let folder = std::path::absolute(&folder).or_fail(folder.display())?;
    empty(&folder)?;
    let sdk = sdk_of(args.lang);
    let (sdk_path, mut files) = match &args.sdk {
        Some(path) => (given_sdk(&sdk, path, &folder)?, Vec::new()),
        None => (sdk.vendored.to_owned(), (sdk.files)()),
    };
    for (path, text) in sdk::template(&template(kind, args.lang)) {
        files.push((path.to_owned(), named(text, kind, &name).replace(sdk.in_template, &sdk_path)));
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
    let (language, first) = match args.lang {
        Language::Rust => ("Rust", None),
        Language::TypeScript => ("TypeScript", Some("npm install")),
    };
    println!(
        "{} is a component in {language}, with tests. What it may do stands in carapace.toml. Next:\n",
        folder.display()
    );
    println!("  cd {}", args.dir.as_deref().unwrap_or(Path::new(name.as_str())).display());
    first.iter().for_each(|line| println!("  {line}"));
    println!("  carapace plugin test");
    println!("  carapace plugin dev");
    Ok(())
}

/// The name of a template's folder.
fn template(kind: &str, language: Language) -> String {
    match language {
        Language::Rust => kind.to_owned(),
        Language::TypeScript => format!("{kind}-ts"),
    }
}

/// A component's name that is also one of a crate, or of a package of npm's.
fn checked(given: &str, language: Language) -> Outcome<Name> {
    let usage = |text: String| Failure::new(Exit::Usage, text).help("carapace plugin new --kind tool my-tool");
    let name: Name = given.parse().map_err(|e: carapace_contract::NameError| usage(e.to_string()))?;
    if given == "carapace-sdk" {
        return Err(usage(format!("`{given}` is the SDK's own name")));
    }
    if language != Language::Rust {
        return Ok(name);
    }
    let snake = given.replace('-', "_");
    if !given.starts_with(|c: char| c.is_ascii_lowercase()) {
        return Err(usage(format!("`{given}` cannot be the name of a crate: it begins with a letter")));
    }
    if RESERVED.contains(&snake.as_str()) {
        return Err(usage(format!("`{given}` cannot be the name of a crate: Rust has it already")));
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
fn given_sdk(sdk: &Sdk, path: &Path, folder: &Path) -> Outcome<String> {
    let (file, line) = sdk.known_by;
    let is_it = std::fs::read_to_string(path.join(file)).is_ok_and(|text| text.contains(line));
    if !is_it {
        return Err(Failure::new(Exit::Usage, format!("{} is not the SDK", path.display())).help(format!(
            "--sdk DIR names the folder {} of Carapace's sources; without it, the SDK comes out of this program",
            sdk.source
        )));
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
fn named(text: &str, kind: &str, name: &Name) -> String {
    let camel = |kebab: &str| -> String {
        let word =
            |w: &str| w.chars().take(1).flat_map(char::to_uppercase).chain(w.chars().skip(1)).collect::<String>();
        kebab.split('-').map(word).collect()
    };
    let (old, new) = (format!("my-{kind}"), name.as_str());
    text.replace(&old, new).replace(&old.replace('-', "_"), &new.replace('-', "_")).replace(&camel(&old), &camel(new))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_of_a_component_and_of_a_crate() {
        for good in ["dice", "my-tool", "a1"] {
            assert_eq!(checked(good, Language::Rust).unwrap().as_str(), good);
        }
        for bad in ["", "Dice", "my_tool", "-a", "1st", "test", "async", "carapace-sdk", "../x"] {
            assert!(checked(bad, Language::Rust).is_err(), "{bad}");
        }
        for good in ["1st", "test"] {
            assert!(checked(good, Language::TypeScript).is_ok(), "{good}");
        }
        assert!(checked("carapace-sdk", Language::TypeScript).is_err());
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
        let kinds = ["tool", "provider", "channel"];
        for (kind, language) in kinds.into_iter().flat_map(|k| [(k, Language::Rust), (k, Language::TypeScript)]) {
            let mut manifests = 0;
            for (path, text) in sdk::template(&template(kind, language)) {
                let text = named(text, kind, &"rain-radar".parse().unwrap());
                assert!(
                    !text.to_lowercase().contains(&format!("my{kind}")) && !text.contains(&format!("my-{kind}")),
                    "{path}"
                );
                if path == "carapace.toml" {
                    assert_eq!(Manifest::parse(&text).unwrap().component.name.as_str(), "rain-radar");
                    manifests += 1;
                }
            }
            assert_eq!(manifests, 1, "{kind}");
        }
    }

    #[test]
    fn a_template_names_the_sdk_where_it_is_put() {
        for language in [Language::Rust, Language::TypeScript] {
            let sdk = sdk_of(language);
            let names = |(_, text): (_, &str)| text.contains(sdk.in_template);
            assert!(sdk::template(&template("channel", language)).any(names));
            let (file, line) = sdk.known_by;
            let known = format!("{}/{file}", sdk.vendored);
            assert!((sdk.files)().iter().any(|(path, text)| *path == known && text.contains(line)), "{known}");
        }
    }
}
