//! `requests`: what only the owner can give is asked for, and waits. Nothing here installs or grants.

use super::{failed, ok};
use crate::behind::owners_only;
use crate::services::now_ms;
use crate::state::HostState;
use carapace_contract::manifest::deceives;
use carapace_registry::resolve::Request;
use carapace_runtime::bindings::{requests, types};
use carapace_runtime::engine_types::Result;
use carapace_store::{AuditRow, Batch, RequestRow, Ulid};
use serde_json::json;

/// Characters of a reason, and of a name.
const LONGEST_REASON: usize = 500;
const LONGEST_NAME: usize = 200;

impl requests::Host for HostState {
    async fn install(&mut self, name: String, reason: String) -> Result<std::result::Result<String, types::Error>> {
        self.core.host_call()?;
        let (grant, id) = (self.granted(), self.instance.id.clone());
        let allowed = grant.requests(&id, self.uses.as_ref()).and_then(|()| {
            let what = "propose an installation";
            let behind = self.behind(what)?;
            if behind.origin.is_owner() { Ok(behind.session.clone()) } else { Err(owners_only(&id, what)) }
        });
        let session = ok!(allowed.map_err(|denial| self.core.deny(&denial)));
        let name = ok!(component(&name));
        let reason = ok!(quotable(&reason));
        let at_ms = now_ms();
        let row = RequestRow {
            id: Ulid::generate(),
            name: name.clone(),
            reason: reason.clone(),
            instance: id.clone(),
            session,
            tainted: self.is_tainted(),
            at_ms,
            expires_ms: at_ms.saturating_add(RequestRow::LASTS_MS),
        };
        let detail = json!({ "request": row.id.to_string(), "name": name, "reason": reason, "tainted": row.tainted });
        let fact = AuditRow { kind: "install-requested".to_owned(), subject: id.to_string(), detail, at_ms };
        let request = row.id.to_string().to_lowercase();
        Ok(match self.services.store.commit(Batch::new().request_put(row).audit(fact)).await {
            Ok(_) => Ok(request),
            Err(e) if e.is_conflict() => Err(types::Error::Limit(format!("requests: {e}"))),
            Err(e) => Err(failed("requests", &e)),
        })
    }
}

/// Something that a registry could have: no file, no address, and in the one way it is written.
fn component(name: &str) -> std::result::Result<String, types::Error> {
    let request = Some(name.trim()).filter(|n| n.len() <= LONGEST_NAME).and_then(|n| n.parse::<Request>().ok());
    request.map(|r| r.to_string()).ok_or_else(|| {
        let why = "requests: a component is named `name` or `publisher/name`, perhaps with `@version`; no file and no address";
        types::Error::Invalid(why.to_owned())
    })
}

/// One line in plain characters, for a person to read.
fn quotable(reason: &str) -> std::result::Result<String, types::Error> {
    let plain: String =
        reason.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !deceives(*c)).collect();
    let line = plain.split_whitespace().collect::<Vec<_>>().join(" ");
    if line.is_empty() {
        return Err(types::Error::Invalid("requests: the owner wants to know why".to_owned()));
    }
    Ok(line.chars().take(LONGEST_REASON).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_a_registry_are_asked_for() {
        for (given, kept) in [("mail", "mail"), (" acme/mail ", "acme/mail"), ("acme/mail@1.2", "acme/mail@^1.2")] {
            assert_eq!(component(given).unwrap(), kept);
        }
        let long = "a".repeat(300);
        for bad in
            ["", "./mail.wasm", "/etc/passwd", "https://a.example/x.wasm", "oci://h/r", "a b", "mail --accept x", &long]
        {
            assert!(component(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_reason_is_one_plain_line_of_bounded_length() {
        assert_eq!(quotable("to\r\nread \u{1b}[2Jthe\u{202e} mail\u{200b}").unwrap(), "to read [2Jthe mail");
        assert_eq!(quotable(&"x".repeat(2_000)).unwrap().len(), LONGEST_REASON);
        assert!(quotable(" \n\u{200b}").is_err());
    }
}
