//! `message`: something is said elsewhere. Where, the owner has said; what leaves, waits in the outbox like any answer.

use super::ok;
use crate::behind::owners_only;
use crate::state::HostState;
use carapace_contract::ports::{OWNER_TARGET, Unsendable};
use carapace_runtime::bindings::{message, types};
use carapace_runtime::engine_types::Result;

/// Bytes of one message.
const LONGEST: usize = 64 << 10;
/// Messages of one call.
const MOST: u32 = 8;

impl message::Host for HostState {
    async fn send(&mut self, target: String, text: String) -> Result<std::result::Result<String, types::Error>> {
        self.core.host_call()?;
        let (grant, id) = (self.granted(), self.instance.id.clone());
        let allowed = grant.message(&id, self.uses.as_ref()).and_then(|()| {
            let behind = self.behind("send a message")?;
            // Whoever may send at all may leave the owner a word. Speaking to others in the owner's name is the owner's.
            if target != OWNER_TARGET && !behind.origin.acts_for_owner() {
                return Err(owners_only(&id, "send a message to anybody but the owner"));
            }
            Ok(behind.call_id.clone())
        });
        let call = ok!(allowed.map_err(|denial| self.core.deny(&denial)));
        if text.trim().is_empty() || text.len() > LONGEST {
            let why = format!("message: a text has 1 to {LONGEST} bytes, this one has {}", text.len());
            return Ok(Err(types::Error::Invalid(why)));
        }
        if self.messages >= MOST {
            return Ok(Err(types::Error::Limit(format!("message: a call sends at most {MOST}"))));
        }
        self.messages += 1;
        let Some(courier) = self.services.messages() else {
            return Ok(Err(types::Error::Unavailable("message: nothing is sent from here".to_owned())));
        };
        // A call that is repeated sends nothing twice.
        let key = format!("call:{call}:{}", self.messages);
        Ok(courier.send(&target, text, &key).await.map_err(|e| match e {
            Unsendable::NotFound(why) => types::Error::NotFound(why),
            Unsendable::Invalid(why) => types::Error::Invalid(why),
            Unsendable::Unavailable(why) => types::Error::Unavailable(why),
        }))
    }
}
