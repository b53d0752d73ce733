//! The configuration file: written whole or not at all, and what was there before is kept beside it.

use crate::failure::{Exit, Failure, OrFail, Outcome};
use carapace_config::{Change, Config, EditError, Env, edit, fresh};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A configuration that is not on the disk yet.
#[derive(Debug)]
pub(crate) struct Draft {
    /// Where it goes, links followed: a file that lives elsewhere stays there.
    file: PathBuf,
    /// What is there now; none = no file.
    before: Option<String>,
    after: String,
    /// What it means.
    pub config: Config,
}

/// What was written.
#[derive(Debug, Clone)]
pub(crate) struct Written {
    pub file: PathBuf,
    /// What was there before, if there was something.
    pub backup: Option<PathBuf>,
}

impl Draft {
    /// The file with these changes.
    ///
    /// A file that cannot take them key by key is left alone, and the failure says which lines to put into it.
    pub(crate) fn new(file: &Path, env: &dyn Env, changes: &[Change]) -> Outcome<Self> {
        let file = std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned());
        let before = match std::fs::read_to_string(&file) {
            Ok(text) => Some(text),
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => return Err(Failure::new(Exit::Usage, format!("cannot read {}: {e}", file.display()))),
        };
        let after = match &before {
            Some(text) => edit(text, &file, env, changes).map_err(|e| by_hand(&e, changes))?,
            None => fresh(
                "Written by `carapace setup`, and yours from now on: it changes only what you choose there, and keeps your comments.\n\
                 Every key and its default: `carapace config schema`. Is it valid? `carapace config check`",
                changes,
            ),
        };
        let config = Config::parse(&after, &file, env).map_err(|e| Failure::new(Exit::Usage, e.to_string()))?;
        Ok(Self { file, before, after, config })
    }

    /// Whether anything would change.
    pub(crate) fn changes(&self) -> bool {
        self.before.as_ref() != Some(&self.after)
    }

    /// Puts it in place.
    pub(crate) fn write(&self) -> Outcome<Written> {
        let now = std::fs::read_to_string(&self.file).ok();
        if now != self.before {
            return Err(Failure::new(
                Exit::Failed,
                format!("{} was changed meanwhile, and is left as it is", self.file.display()),
            )
            .help("carapace setup"));
        }
        let backup = match &self.before {
            Some(_) => Some(self.keep()?),
            None => None,
        };
        let what = || format!("cannot write {}", self.file.display());
        let dir = self.file.parent().unwrap_or(Path::new("."));
        // Beside it, so that the rename is one step; with a name of its own, so that two setups do not share it.
        let mut beside = tempfile::Builder::new().prefix(".carapace-setup-").tempfile_in(dir).or_fail(what())?;
        std::io::Write::write_all(beside.as_file_mut(), self.after.as_bytes()).or_fail(what())?;
        if let Ok(meta) = std::fs::metadata(&self.file) {
            beside.as_file().set_permissions(meta.permissions()).or_fail(what())?;
        }
        beside.as_file().sync_all().or_fail(what())?;
        beside.persist(&self.file).or_fail(what())?;
        Ok(Written { file: self.file.clone(), backup })
    }

    /// A copy under the first name that is free.
    fn keep(&self) -> Outcome<PathBuf> {
        let name = self.file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for n in 1..1_000 {
            let copy = self.file.with_file_name(if n == 1 { format!("{name}.bak") } else { format!("{name}.bak{n}") });
            match std::fs::File::options().write(true).create_new(true).open(&copy) {
                Ok(mut file) => {
                    let text = self.before.as_deref().unwrap_or_default();
                    let done = std::io::Write::write_all(&mut file, text.as_bytes()).and_then(|()| file.sync_all());
                    done.or_fail(format!("cannot write {}", copy.display()))?;
                    return Ok(copy);
                }
                Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
                Err(e) => return Err(Failure::new(Exit::Failed, format!("cannot write {}: {e}", copy.display()))),
            }
        }
        Err(Failure::new(Exit::Failed, format!("there are a thousand copies of {} already", self.file.display())))
    }
}

fn by_hand(e: &EditError, changes: &[Change]) -> Failure {
    match e {
        EditError::Invalid(e) => Failure::new(Exit::Usage, e.to_string()).help("carapace config check"),
        EditError::Elsewhere(why) => {
            let lines: Vec<String> = changes.iter().map(Change::line).collect();
            Failure::new(Exit::Usage, format!("{why}; it was left as it is"))
                .help(format!("put this where it belongs, then `carapace setup` again: {}", lines.join(" and ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_config::NoEnv;

    fn zone(text: &str) -> Change {
        Change::new(&["agent", "timezone"], text)
    }

    #[test]
    fn each_earlier_file_is_kept_under_a_name_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("carapace.json5");
        let write = |zone_name: &str| {
            let draft = Draft::new(&file, &NoEnv, &[zone(zone_name)]).unwrap();
            assert!(draft.changes());
            draft.write().unwrap().backup
        };
        assert_eq!(write("Europe/Berlin"), None);
        let first = std::fs::read_to_string(&file).unwrap();
        assert_eq!(write("Asia/Tokyo").unwrap(), dir.path().join("carapace.json5.bak"));
        assert_eq!(write("Europe/Paris").unwrap(), dir.path().join("carapace.json5.bak2"));
        assert_eq!(std::fs::read_to_string(dir.path().join("carapace.json5.bak")).unwrap(), first);
        assert!(!Draft::new(&file, &NoEnv, &[zone("Europe/Paris")]).unwrap().changes());
    }

    #[test]
    fn what_the_owner_writes_meanwhile_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("carapace.json5");
        let draft = Draft::new(&file, &NoEnv, &[zone("Europe/Berlin")]).unwrap();
        std::fs::write(&file, "// mine\n{}").unwrap();
        assert!(draft.write().is_err());
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "// mine\n{}");
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_lives_elsewhere_stays_there() {
        let (dir, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let real = elsewhere.path().join("mine.json5");
        std::fs::write(&real, "{}").unwrap();
        let file = dir.path().join("carapace.json5");
        std::os::unix::fs::symlink(&real, &file).unwrap();
        Draft::new(&file, &NoEnv, &[zone("Europe/Berlin")]).unwrap().write().unwrap();
        assert!(std::fs::symlink_metadata(&file).unwrap().is_symlink());
        assert!(std::fs::read_to_string(&real).unwrap().contains("Europe/Berlin"));
    }
}
