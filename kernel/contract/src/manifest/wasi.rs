//! `[wasi]`: what a component that was built for WASI 0.2 finds there. Without it, nothing of `wasi:*` is linked.

use super::reader::{Problems, Section, Spanned, tables};
use super::values;
use crate::name::Name;
use serde::{Deserialize, Serialize};

/// Directories that a component may ask for.
const MAX_DIRECTORIES: usize = 16;

/// `[wasi]`. The rest of that world is empty: no environment, no arguments, no sockets.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasiDecl {
    /// `wasi:clocks`
    pub clocks: bool,
    /// `wasi:random`
    pub random: bool,
    /// What it prints goes to its log; nothing can be read.
    pub stdio: bool,
    /// `[[wasi.directory]]`
    pub directories: Vec<DirectoryDecl>,
}

/// `[[wasi.directory]]`: a directory that the owner names; the component finds it at `/<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryDecl {
    /// Its name for the component.
    pub name: Name,
    /// What the owner is asked for, at most 200 characters.
    pub prompt: String,
    /// It may change what is there.
    pub write: bool,
    /// The component works without it.
    pub optional: bool,
}

/// `[wasi]` as far as it was readable.
pub(super) struct Draft {
    pub(super) decl: WasiDecl,
    /// Names of directories, also of those with mistakes in them.
    pub(super) names: Vec<Spanned<Name>>,
}

pub(super) fn read(s: &Section<'_>, problems: &Problems) -> Draft {
    s.only(&["clocks", "random", "stdio", "directory"], problems);
    let mut decl = WasiDecl {
        clocks: s.flag("clocks", problems),
        random: s.flag("random", problems),
        stdio: s.flag("stdio", problems),
        directories: Vec::new(),
    };
    let mut names = Vec::new();
    let tables = s.get("directory").map(|(item, span)| tables(item, "wasi.directory", span, problems));
    for section in tables.unwrap_or_default() {
        section.only(&["name", "prompt", "write", "optional"], problems);
        let name = section.required("name", "name = \"notes\"", problems, values::name::<Name>);
        let prompt = section
            .required("prompt", "prompt = \"Your folder of notes\"", problems, |v| values::line(v, 200))
            .map(|p| p.value);
        let (write, optional) = (section.flag("write", problems), section.flag("optional", problems));
        if let Some(name) = name {
            if let Some(prompt) = prompt {
                decl.directories.push(DirectoryDecl { name: name.value.clone(), prompt, write, optional });
            }
            names.push(name);
        }
    }
    if let Some(one_more) = names.get(MAX_DIRECTORIES) {
        problems.at(&one_more.span, format!("a component may ask for {MAX_DIRECTORIES} directories"));
    }
    Draft { decl, names }
}
