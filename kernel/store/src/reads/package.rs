//! Installed packages, their history, versions seen.

use crate::error::{Attempt, StoreError};
use crate::reader::{Reader, all, one};
use crate::rows::{ComponentData, EarlierPackage, PackageRow, PassedOver};
use crate::sql::Columns;
use carapace_contract::{ComponentId, InstanceId};
use rusqlite::Row;

const PACKAGE: &str = "SELECT instance, digest, version, enabled, at_ms, older, by_hand, note FROM package";

fn package(r: &Row<'_>) -> rusqlite::Result<PackageRow> {
    Ok(PackageRow {
        instance: r.parsed(0)?,
        digest: r.parsed(1)?,
        version: r.parsed(2)?,
        enabled: r.get(3)?,
        at_ms: r.u64(4)?,
        older: r.get(5)?,
        by_hand: r.get(6)?,
        note: r.get(7)?,
    })
}

impl Reader {
    /// Installed packages.
    pub async fn packages(&self) -> Result<Vec<PackageRow>, StoreError> {
        self.read(|c| all(c, "list the packages", &format!("{PACKAGE} ORDER BY instance"), [], package)).await
    }

    /// An instance's package.
    pub async fn package(&self, instance: &InstanceId) -> Result<Option<PackageRow>, StoreError> {
        let instance = instance.to_string();
        self.read(move |c| one(c, "read a package", &format!("{PACKAGE} WHERE instance = ?1"), [instance], package))
            .await
    }

    /// What was installed before what is installed now, of every component; of each the last replaced first.
    pub async fn packages_before(&self) -> Result<Vec<EarlierPackage>, StoreError> {
        self.read(|c| {
            let sql = "SELECT body FROM package_before ORDER BY component, place DESC";
            let bodies: Vec<String> = all(c, "list the earlier packages", sql, [], |r| r.get(0))?;
            bodies.iter().map(|b| serde_json::from_str(b).attempt("an earlier package")).collect()
        })
        .await
    }

    /// What the bundle directory does not bring in.
    pub async fn passed_over(&self) -> Result<Vec<PassedOver>, StoreError> {
        self.read(|c| {
            let sql = "SELECT component, digest, why, at_ms FROM passed_over ORDER BY component, digest";
            all(c, "list what is passed over", sql, [], |r| {
                let digest: String = r.get(1)?;
                let digest = if digest.is_empty() { None } else { Some(r.parsed(1)?) };
                Ok(PassedOver { component: r.parsed(0)?, digest, why: r.get(2)?, at_ms: r.u64(3)? })
            })
        })
        .await
    }

    /// The highest version of a component ever noted, installed or not.
    pub async fn highest_version(&self, component: &ComponentId) -> Result<Option<semver::Version>, StoreError> {
        let component = component.to_string();
        self.read(move |c| {
            let sql = "SELECT version FROM highest_version WHERE component = ?1";
            one(c, "read the highest version", sql, [component], |r| r.parsed(0))
        })
        .await
    }

    /// By which key or rule the publisher of a component was recognised when something was last granted to it; none if nothing was
    /// since this is noted.
    pub async fn signed_by(&self, component: &ComponentId) -> Result<Option<String>, StoreError> {
        let component = component.to_string();
        self.read(move |c| {
            let sql = "SELECT mark FROM signed_by WHERE component = ?1";
            one(c, "read who signs", sql, [component], |r| r.get(0))
        })
        .await
    }

    /// The highest form in which an instance of a component keeps its pairs; none if none keeps any.
    pub async fn component_schema(&self, component: &ComponentId) -> Result<Option<u32>, StoreError> {
        let prefix = format!("{component}/");
        self.read(move |c| {
            let sql = "SELECT max(schema) FROM kv_space WHERE substr(instance, 1, length(?1)) = ?1 AND bytes > 0";
            Ok(one(c, "read the form of a component's data", sql, [prefix], |r| r.get(0))?.flatten())
        })
        .await
    }

    /// What the instances of a component keep, installed or not.
    pub async fn component_data(&self, component: &ComponentId) -> Result<ComponentData, StoreError> {
        let prefix = format!("{component}/");
        self.read(move |c| {
            let sql = "SELECT (SELECT coalesce(sum(bytes), 0) FROM kv_space WHERE substr(instance, 1, length(?1)) = ?1), \
                       (SELECT count(*) FROM memory WHERE substr(namespace, 1, length(?1)) = ?1), \
                       (SELECT count(*) FROM secret WHERE substr(name, 1, length(?1)) = ?1)";
            let found = one(c, "measure what a component keeps", sql, [prefix], |r| {
                Ok(ComponentData { kv_bytes: r.u64(0)?, notes: r.u64(1)?, secrets: r.u64(2)? })
            })?;
            Ok(found.unwrap_or_default())
        })
        .await
    }
}
