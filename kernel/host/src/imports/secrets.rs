//! `secrets`: whether one exists, and HMAC with it. Never a value.

use crate::state::HostState;
use carapace_contract::{Denial, SecretName};
use carapace_runtime::bindings::{secrets, types};
use carapace_runtime::engine_types::Result;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::ExposeSecret;
use sha2::Sha256;

impl HostState {
    /// The declared and granted secret of that name.
    fn granted_secret(&mut self, name: &str, hmac: bool) -> Result<Result<SecretName, types::Error>> {
        self.core.host_call()?;
        let grant = self.granted();
        Ok(grant
            .secret(&self.instance.id, self.uses.as_ref(), name, hmac)
            .map_err(|denial: Denial| self.core.deny(&denial)))
    }
}

impl secrets::Host for HostState {
    async fn exists(&mut self, name: String) -> Result<Result<bool, types::Error>> {
        Ok(match self.granted_secret(&name, false)? {
            // One that is there and cannot be read is not one that is missing.
            Ok(name) => match self.vault().find(&name).await {
                Ok(found) => Ok(found.is_some()),
                Err(denial) => Err(self.core.deny(&denial)),
            },
            Err(e) => Err(e),
        })
    }

    async fn hmac_sha256(&mut self, name: String, data: Vec<u8>) -> Result<Result<Vec<u8>, types::Error>> {
        let name = match self.granted_secret(&name, true)? {
            Ok(name) => name,
            Err(e) => return Ok(Err(e)),
        };
        let key = match self.vault().find(&name).await {
            Ok(Some(key)) => key,
            Ok(None) => return Ok(Err(types::Error::NotFound(format!("the secret `{name}` is not set")))),
            Err(denial) => return Ok(Err(self.core.deny(&denial))),
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(key.expose_secret().as_bytes())?;
        mac.update(&data);
        Ok(Ok(mac.finalize().into_bytes().to_vec()))
    }
}
