//! `lines`: programs on this computer that have the owner's token.

use super::ok;
use crate::state::HostState;
use carapace_contract::channel::{MAX_ID, MAX_PART};
use carapace_runtime::bindings::{lines, types};
use carapace_runtime::engine_types::Result;

impl lines::Host for HostState {
    async fn write(
        &mut self,
        client: String,
        key: String,
        text: String,
    ) -> Result<std::result::Result<(), types::Error>> {
        self.core.host_call()?;
        let (grant, id) = (self.granted(), self.instance.id.clone());
        ok!(grant.lines(&id, self.uses.as_ref()).map_err(|denial| self.core.deny(&denial)));
        if !(1..=MAX_ID).contains(&key.len()) || text.len() > MAX_PART {
            let why = format!("lines: a key has 1 to {MAX_ID} bytes, and a text at most {MAX_PART}");
            return Ok(Err(types::Error::Invalid(why)));
        }
        let Some(desk) = self.services.lines() else {
            return Ok(Err(types::Error::Unavailable("lines: no program can be attached here".to_owned())));
        };
        Ok(desk.write(&id, &client, &key, text).await.map_err(|e| types::Error::Unavailable(format!("lines: {e}"))))
    }
}
