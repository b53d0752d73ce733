//! Strangers and those who are no longer: codes, and what came of them. Read once; the store is written before what is remembered here.

use crate::chance;
use crate::policy::Acquaintance;
use carapace_contract::InstanceId;
use carapace_contract::channel::Sender;
use carapace_store::{PairedRow, PairingRow, Store, StoreError};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// How long a code can be approved, ms.
pub(crate) const VALID_MS: u64 = 3_600_000;
/// Codes of an instance that wait. Further strangers get nothing until one is answered or runs out.
const MOST_PENDING: usize = 3;
/// Characters of a name that are kept.
const LONGEST_NAME: usize = 64;

/// A name as it may be shown: one line, of bounded length.
pub(crate) fn name(sender: &Sender) -> String {
    let mut out = String::new();
    for c in sender.name.chars().filter(|c| !is_invisible(*c)).take(LONGEST_NAME) {
        out.push(c);
    }
    out.trim().to_owned()
}

/// Control characters, and those that turn text around or hide in it.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

#[derive(Default)]
struct Book {
    pending: HashMap<InstanceId, Vec<PairingRow>>,
    paired: HashMap<InstanceId, HashMap<String, PairedRow>>,
}

/// Who is known, and who waits to be.
#[derive(Default)]
pub(crate) struct Pairing {
    book: Mutex<Book>,
    /// Held from the store to the memory: what is read anew must not undo what was decided meanwhile.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

/// What a stranger who writes directly gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Given {
    /// This code, which is new.
    Code(PairingRow),
    /// Nothing: they have a code, or there are too many who wait.
    Nothing(&'static str),
}

impl Pairing {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is stored, in place of what is remembered.
    pub(crate) async fn load(&self, store: &Store) -> Result<(), StoreError> {
        let _alone = self.changing.lock().await;
        let mut book = Book::default();
        for row in store.pairings().await? {
            book.pending.entry(row.instance.clone()).or_default().push(row);
        }
        for row in store.paired().await? {
            book.paired.entry(row.instance.clone()).or_default().insert(row.sender.clone(), row);
        }
        *self.book() = book;
        Ok(())
    }

    /// What somebody is.
    pub(crate) fn known(&self, instance: &InstanceId, sender: &str) -> Option<Acquaintance> {
        let book = self.book();
        let row = book.paired.get(instance)?.get(sender)?;
        Some(if row.owner { Acquaintance::Owner } else { Acquaintance::Paired })
    }

    /// A code for a stranger; remembered at once, so that one batch gives no second one. Codes that have run out are taken out of the way:
    /// the second list.
    pub(crate) fn give(&self, instance: &InstanceId, sender: &Sender, now_ms: u64) -> (Given, Vec<String>) {
        let mut book = self.book();
        let pending = book.pending.entry(instance.clone()).or_default();
        let mut over = Vec::new();
        pending.retain(|row| {
            // A clock that was put back must not keep a code for longer than it was given.
            let valid = now_ms < row.expires_ms && row.expires_ms - now_ms <= VALID_MS;
            if !valid {
                over.push(row.code.clone());
            }
            valid
        });
        if pending.iter().any(|row| row.sender == sender.id) {
            return (Given::Nothing("waiting"), over);
        }
        if pending.len() >= MOST_PENDING {
            return (Given::Nothing("stranger"), over);
        }
        let Some(code) = chance::code() else { return (Given::Nothing("stranger"), over) };
        let row = PairingRow {
            instance: instance.clone(),
            code,
            sender: sender.id.clone(),
            name: name(sender),
            at_ms: now_ms,
            expires_ms: now_ms.saturating_add(VALID_MS),
        };
        pending.push(row.clone());
        (Given::Code(row), over)
    }

    /// Codes that can be approved.
    pub(crate) fn pending(&self, now_ms: u64) -> Vec<PairingRow> {
        let book = self.book();
        let mut rows: Vec<PairingRow> =
            book.pending.values().flatten().filter(|row| now_ms < row.expires_ms).cloned().collect();
        rows.sort_by_key(|row| row.at_ms);
        rows
    }

    /// Everybody who is paired.
    pub(crate) fn paired(&self) -> Vec<PairedRow> {
        let book = self.book();
        let mut rows: Vec<PairedRow> = book.paired.values().flat_map(HashMap::values).cloned().collect();
        rows.sort_by(|a, b| (&a.instance, a.at_ms, &a.sender).cmp(&(&b.instance, b.at_ms, &b.sender)));
        rows
    }

    /// A code is spent, with what came of it.
    pub(crate) fn spent(&self, code: &str, paired: Option<PairedRow>) {
        let mut book = self.book();
        for pending in book.pending.values_mut() {
            pending.retain(|row| row.code != code);
        }
        if let Some(row) = paired {
            book.paired.entry(row.instance.clone()).or_default().insert(row.sender.clone(), row);
        }
    }

    /// Somebody is no longer known. Whether they were.
    pub(crate) fn removed(&self, instance: &InstanceId, sender: &str) -> bool {
        self.book().paired.get_mut(instance).is_some_and(|paired| paired.remove(sender).is_some())
    }
}

/// A code as it is compared: what a person typed, with hyphens, spaces and in any case.
pub(crate) fn typed(code: &str) -> String {
    code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect()
}

/// A code as it is shown.
pub(crate) fn spelled(code: &str) -> String {
    match code.split_at_checked(4) {
        Some((a, b)) if !b.is_empty() => format!("{a}-{b}"),
        _ => code.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chat() -> InstanceId {
        "local/chat/main".parse().unwrap()
    }

    fn sender(id: &str, name: &str) -> Sender {
        Sender { id: id.into(), name: name.into(), is_bot: false, is_me: false }
    }

    #[test]
    fn three_strangers_wait_and_ten_thousand_get_nothing() {
        let pairing = Pairing::default();
        let mut given = 0;
        for n in 0..10_000 {
            if let (Given::Code(_), _) = pairing.give(&chat(), &sender(&n.to_string(), "N"), 1_000 + n) {
                given += 1;
            }
        }
        assert_eq!((given, pairing.pending(20_000).len()), (3, 3));
        let (again, over) = pairing.give(&chat(), &sender("0", "N"), 20_000);
        assert_eq!((again, over.len()), (Given::Nothing("waiting"), 0), "one notice for a code, not for a message");
        let (later, over) = pairing.give(&chat(), &sender("x", "N"), 1_000 + VALID_MS + 2);
        assert!(matches!(later, Given::Code(_)) && over.len() == 3, "codes run out: {over:?}");
    }

    #[test]
    fn a_clock_that_was_put_back_keeps_no_code_alive() {
        let pairing = Pairing::default();
        pairing.give(&chat(), &sender("a", "N"), 10 * VALID_MS);
        let (given, over) = pairing.give(&chat(), &sender("a", "N"), 1);
        assert!(matches!(given, Given::Code(_)) && over.len() == 1);
    }

    #[test]
    fn a_name_is_one_line_that_cannot_turn_the_rest_around() {
        assert_eq!(name(&sender("1", " A\u{202e}nn\na\u{200b} ")), "Anna");
        assert_eq!(name(&sender("1", &"x".repeat(1_000))).len(), 64);
        assert_eq!((typed("abcd-ef gh"), spelled("ABCDEFGH")), ("ABCDEFGH".into(), "ABCD-EFGH".into()));
    }
}
