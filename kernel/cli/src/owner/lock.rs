//! `plugins.lock`: follows every change of what the owner installed and granted.

use crate::failure::{OrFail, Outcome};
use crate::installed;
use carapace_config::StatePaths;
use carapace_contract::{InstanceId, Name};
use carapace_registry::lock::{self, Lock, Locked};
use carapace_store::Reader;

/// Writes the file if it says something else. What is installed stands in the database; without the file nothing is lost.
pub(crate) async fn write(paths: &StatePaths, reader: &Reader) {
    let file = paths.root().join(lock::FILE);
    let written = async {
        let now = of(paths, reader).await?;
        if Lock::load(&file).is_ok_and(|before| before == now) { Ok(()) } else { Ok(now.save(&file)?) }
    };
    let written: Outcome = written.await;
    if let Err(why) = written {
        tracing::warn!(why = why.line(), "plugins.lock was not written");
    }
}

/// What the owner brought from somewhere. The bundle comes with the program.
async fn of(paths: &StatePaths, reader: &Reader) -> Outcome<Lock> {
    let rows = reader.packages().await.or_fail("cannot read the installed packages")?;
    let grants = reader.grants().await.or_fail("cannot read the grants")?;
    let mut all = Lock::default();
    for row in rows {
        let id = row.instance.component().clone();
        let Some(source) = installed::source(paths, &row.digest, &id.publisher) else { continue };
        let main = InstanceId::new(id.clone(), Name::main());
        let granted = grants.iter().find(|g| g.instance == main && !g.revoked);
        let grants = granted.map(|g| lock::grants(&g.capabilities)).transpose()?;
        all.put(Locked { id, version: row.version, digest: row.digest, source, grants });
    }
    Ok(all)
}
