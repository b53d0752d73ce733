//! `memory`: notes that outlast a conversation, the owner's apart from everyone else's.

use super::{failed, ok};
use crate::behind::Behind;
use crate::services::now_ms;
use crate::state::HostState;
use carapace_contract::InstanceId;
use carapace_contract::decision::Origin;
use carapace_contract::limits::raising;
use carapace_runtime::bindings::{memory, types};
use carapace_runtime::engine_types::Result;
use carapace_store::{Batch, MemoryRow, StoreError};

const MAX_KEY: usize = 512;
const MAX_TEXT: usize = 64 << 10;
const MAX_LIST: u32 = 1_000;
const MAX_FOUND: u32 = 100;

/// One memory for the owner, and for everyone else one per conversation: what people tell is never shared between them.
fn namespace(instance: &InstanceId, behind: &Behind) -> String {
    if behind.origin.acts_for_owner() {
        instance.to_string()
    } else {
        // No instance's name has a `#` in it.
        format!("{instance}#{}", behind.session)
    }
}

/// Whether more than one person may be behind what is written there.
fn has_many_authors(origin: Origin) -> bool {
    !origin.acts_for_owner() && origin != Origin::PairedUser
}

impl HostState {
    /// The namespace, if these notes may be read (or written) at this moment.
    fn notes(&mut self, write: bool) -> Result<std::result::Result<String, types::Error>> {
        self.core.host_call()?;
        let (grant, id) = (self.granted(), self.instance.id.clone());
        let allowed = grant.memory(&id, self.uses.as_ref(), write);
        let namespace = allowed.and_then(|()| Ok(namespace(&id, self.behind("have notes")?)));
        Ok(namespace.map_err(|denial| self.core.deny(&denial)))
    }

    fn note(&self, row: MemoryRow) -> memory::Note {
        self.hand(row.tainted);
        memory::Note { key: row.key, text: row.text, updated_ms: row.at_ms, tainted: row.tainted, extra: Vec::new() }
    }

    /// The store's text names the namespace, and thereby a conversation.
    fn not_kept(&self, e: &StoreError) -> types::Error {
        match e {
            StoreError::QuotaExceeded { quota, needed, .. } => types::Error::Limit(format!(
                "memory: the notes would take {needed} bytes, at most {quota} are kept; forget some, or, {}",
                raising(&self.instance.id, "notesBytes", *quota)
            )),
            other => failed("memory", other),
        }
    }
}

fn check_key(key: &str) -> std::result::Result<(), types::Error> {
    if key.is_empty() || key.len() > MAX_KEY {
        return Err(types::Error::Invalid(format!("memory: a key has 1 to {MAX_KEY} bytes, this one {}", key.len())));
    }
    Ok(())
}

impl memory::Host for HostState {
    async fn read(&mut self, key: String) -> Result<std::result::Result<Option<memory::Note>, types::Error>> {
        let namespace = ok!(self.notes(false)?);
        ok!(check_key(&key));
        let found = ok!(self.services.store.memory_get(&namespace, &key).await.map_err(|e| failed("memory", &e)));
        Ok(Ok(found.map(|row| self.note(row))))
    }

    async fn write(&mut self, key: String, text: String) -> Result<std::result::Result<(), types::Error>> {
        let namespace = ok!(self.notes(true)?);
        ok!(check_key(&key));
        if text.len() > MAX_TEXT {
            let message = format!("memory: a note has at most {MAX_TEXT} bytes, this one {}", text.len());
            return Ok(Err(types::Error::Limit(message)));
        }
        let tainted = self.is_tainted() || self.behind.as_ref().is_none_or(|b| has_many_authors(b.origin));
        let row = MemoryRow { namespace, key, text, tainted, at_ms: now_ms() };
        let batch = Batch::new().memory_put(row, self.core.limits().notes_bytes);
        Ok(self.services.store.commit(batch).await.map(drop).map_err(|e| self.not_kept(&e)))
    }

    async fn delete(&mut self, key: String) -> Result<std::result::Result<bool, types::Error>> {
        let namespace = ok!(self.notes(true)?);
        ok!(check_key(&key));
        let receipt = self.services.store.commit(Batch::new().memory_delete(namespace, key)).await;
        let receipt = ok!(receipt.map_err(|e| failed("memory", &e)));
        Ok(Ok(receipt.deleted.first().copied().unwrap_or_default()))
    }

    async fn list(&mut self, limit: u32) -> Result<std::result::Result<Vec<memory::Note>, types::Error>> {
        let namespace = ok!(self.notes(false)?);
        let limit = usize::try_from(limit.min(MAX_LIST))?;
        let rows = ok!(self.services.store.memory_list(&namespace, limit).await.map_err(|e| failed("memory", &e)));
        Ok(Ok(rows.into_iter().map(|row| self.note(row)).collect()))
    }

    async fn search(
        &mut self,
        query: String,
        limit: u32,
    ) -> Result<std::result::Result<Vec<memory::Note>, types::Error>> {
        let namespace = ok!(self.notes(false)?);
        let limit = usize::try_from(limit.min(MAX_FOUND))?;
        let rows = self.services.store.memory_search(&namespace, &query, limit).await;
        let rows = ok!(rows.map_err(|e| failed("memory", &e)));
        Ok(Ok(rows.into_iter().map(|row| self.note(row)).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::behind::Handed;
    use carapace_contract::decision::{Effects, PlannedCall};

    fn behind(origin: Origin, session: &str) -> Behind {
        let call = PlannedCall {
            run: carapace_contract::Ulid::nil(),
            session: session.into(),
            call_id: "c".into(),
            instance: "local/notes/main".parse().unwrap(),
            digest: carapace_contract::Digest::of(b"n"),
            tool: "t".into(),
            arguments: serde_json::json!({}),
            effects: Effects::NONE,
            origin,
            tainted: false,
            place: None,
            elsewhere: false,
        };
        Behind::of(&call, Handed::default())
    }

    #[test]
    fn the_owner_has_one_memory_everywhere_and_everyone_else_one_per_conversation() {
        let id: InstanceId = "local/notes/main".parse().unwrap();
        let at = |origin, session| namespace(&id, &behind(origin, session));
        for origin in [Origin::Owner, Origin::ApiClient, Origin::Schedule] {
            assert_eq!(at(origin, "a"), at(Origin::Owner, "b"));
        }
        let mut apart = vec![at(Origin::Owner, "a")];
        for session in ["a", "b", "local/notes/main"] {
            apart.push(at(Origin::PairedUser, session));
        }
        apart.sort();
        apart.dedup();
        assert_eq!(apart.len(), 4, "{apart:?}");
    }
}
