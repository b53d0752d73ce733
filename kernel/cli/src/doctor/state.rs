//! The state directory: who may read it, whether it can be written, and what is sealed in it.

use super::{Check, Finding};
use carapace_config::{Env, StatePaths, SystemEnv};
use carapace_store::Reader;

pub(crate) const RECORD: Check = Check("record", "the record is whole");
const PRIVATE: Check = Check("state-private", "the state directory is its owner's alone");
/// What an API client shows has at least this many characters.
const TOKEN_CHARS: usize = 16;

/// Permissions of the directory and of what is secret in it.
#[cfg(unix)]
pub(crate) fn private(paths: &StatePaths) -> Vec<Finding> {
    use std::os::unix::fs::PermissionsExt;
    let root = paths.root();
    let mut places = vec![(root.to_path_buf(), "700"), (paths.keys(), "700")];
    let keys = std::fs::read_dir(paths.keys()).into_iter().flatten().filter_map(Result::ok).map(|e| e.path());
    let files = [paths.gateway_token(), paths.database(), root.join("chain.key"), root.join("aot.key")];
    places.extend(files.into_iter().chain(keys).map(|file| (file, "600")));
    let open = places.into_iter().filter_map(|(place, mode)| {
        let others = std::fs::metadata(&place).ok()?.permissions().mode() & 0o077;
        let what = format!("{} can be reached by others (mode {others:03o} too much)", place.display());
        (others != 0).then(|| PRIVATE.wrong(what, format!("chmod {mode} {}", place.display())))
    });
    PRIVATE.all(open.collect())
}

#[cfg(not(unix))]
pub(crate) fn private(_: &StatePaths) -> Vec<Finding> {
    vec![PRIVATE.good()]
}

/// Another account, or a read-only disk.
pub(crate) fn writable(paths: &StatePaths) -> Finding {
    let check = Check("state-writable", "the state directory can be written");
    let root = paths.root();
    if !root.exists() {
        return check.good();
    }
    match tempfile::tempfile_in(root) {
        Ok(_) => check.good(),
        Err(e) => check.wrong(
            format!("nothing can be written in {}: {e}", root.display()),
            format!("sudo chown -R \"$USER\" {}, or --state-dir with a directory of yours", root.display()),
        ),
    }
}

/// The token of the API.
pub(crate) fn token(paths: &StatePaths) -> Finding {
    let check = Check("gateway-token", "the gateway's token is there, or will be made at the next start");
    let file = paths.gateway_token();
    let fix = format!("rm {}; the next start makes a new one, which clients need then", file.display());
    match std::fs::read_to_string(&file) {
        Ok(token) if token.trim().is_empty() || token.trim().chars().count() >= TOKEN_CHARS => check.good(),
        Ok(_) => check.wrong(format!("{} holds fewer than {TOKEN_CHARS} characters", file.display()), fix),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => check.good(),
        Err(e) => check.wrong(format!("{} cannot be read: {e}", file.display()), fix),
    }
}

/// Whether what is sealed can be opened from here.
pub(crate) async fn secrets(reader: &Reader, running: bool) -> Finding {
    let check = Check("secrets", "stored secrets can be opened");
    let names = match reader.secret_names().await {
        Ok(names) => names,
        Err(e) => return check.wrong(e.to_string(), "restore a backup of the state directory"),
    };
    let Some(first) = names.first() else { return check.good() };
    let Err(e) = reader.secret_get(&first.id).await else { return check.good() };
    let password = SystemEnv.var("CARAPACE_PASSWORD").is_some_and(|p| !p.is_empty());
    let (problem, fix) = match e.denial() {
        Some(denial) => (format!("{} [{}]", denial.message, denial.code), denial.fix.clone()),
        None if password => (e.to_string(), "CARAPACE_PASSWORD as it was when they were stored".to_owned()),
        None => (e.to_string(), "unlock the keyring, or set CARAPACE_PASSWORD".to_owned()),
    };
    // The running assistant has an environment of its own.
    if running { check.hint(format!("from this terminal: {problem}"), fix) } else { check.wrong(problem, fix) }
}

/// Every chain of the record.
pub(crate) async fn record(reader: &Reader) -> Finding {
    match reader.verify().await {
        Ok(r) if r.first_broken.is_none() => RECORD.good(),
        Ok(r) => {
            RECORD.wrong(format!("broken at {:?}", r.first_broken), "carapace audit verify, then restore a backup")
        }
        Err(e) => RECORD.wrong(e.to_string(), "restore a backup of the state directory"),
    }
}
