//! `blob`: media that an instance brought, and no others.

use super::{failed, ok};
use crate::media::Keeper;
use crate::splice::Place;
use crate::state::HostState;
use carapace_contract::media::Media;
use carapace_runtime::bindings::{blob, types};
use carapace_runtime::engine_types::Result;

const MAX_PUT: usize = 8 << 20;
const MAX_READ: u32 = 1 << 20;

impl HostState {
    pub(crate) fn keeper(&self) -> Keeper {
        Keeper { services: self.services.clone(), instance: self.instance.clone(), uses: self.uses.clone() }
    }

    fn may_keep(&mut self) -> Result<std::result::Result<Keeper, types::Error>> {
        self.core.host_call()?;
        let keeper = self.keeper();
        let allowed = keeper.allowed(&self.granted());
        Ok(allowed.map(|()| keeper).map_err(|denial| self.core.deny(&denial)))
    }

    /// One that this instance brought or was given.
    async fn holds(&mut self, id: &str) -> std::result::Result<Media, types::Error> {
        let found = self.services.store.blob(id, Some(&self.instance.id)).await.map_err(|e| failed("blob", &e))?;
        found.ok_or_else(|| types::Error::NotFound("blob: there is none of that id, or no longer".to_owned()))
    }

    /// The same, handed to the guest.
    async fn held(&mut self, id: &str) -> std::result::Result<Media, types::Error> {
        // Whoever brought it may have been anybody.
        self.hand(true);
        self.holds(id).await
    }

    /// A request's body with blobs in their places: at most `most` bytes.
    pub(crate) async fn spliced(
        &mut self,
        body: &[u8],
        places: &[Place],
        most: u64,
    ) -> std::result::Result<Vec<u8>, types::Error> {
        if let Err(denial) = self.keeper().allowed(&self.granted()) {
            return Err(self.core.deny(&denial));
        }
        // Measured before anything is read.
        let mut size = body.len() as u64;
        for place in places {
            size = size.saturating_add(place.size(self.holds(&place.id).await?.size));
        }
        if size > most {
            return Err(types::Error::Limit(format!("the request's body would have {size} bytes; at most {most}")));
        }
        let (mut whole, mut from) = (Vec::with_capacity(usize::try_from(size).unwrap_or(0)), 0);
        for place in places {
            whole.extend_from_slice(body.get(from..place.at).unwrap_or_default());
            from = place.at;
            let mut data = Vec::new();
            loop {
                let piece = self.services.store.blob_read(&place.id, data.len() as u64, MAX_READ as usize).await;
                let piece = piece.map_err(|e| failed("blob", &e))?;
                if piece.is_empty() {
                    break;
                }
                data.extend(piece);
            }
            place.put(data, &mut whole);
        }
        whole.extend_from_slice(body.get(from..).unwrap_or_default());
        Ok(whole)
    }
}

impl blob::Host for HostState {
    async fn put(&mut self, data: Vec<u8>) -> Result<std::result::Result<String, types::Error>> {
        let keeper = ok!(self.may_keep()?);
        if data.len() > MAX_PUT {
            return Ok(Err(types::Error::Limit(format!("blob: at most {MAX_PUT} bytes are put at once"))));
        }
        Ok(keeper.keep(data).await)
    }

    async fn describe(&mut self, id: String) -> Result<std::result::Result<blob::Info, types::Error>> {
        ok!(self.may_keep()?);
        let media = ok!(self.held(&id).await);
        Ok(Ok(blob::Info { size: media.size, mime: media.mime }))
    }

    async fn read(&mut self, id: String, offset: u64, max: u32) -> Result<std::result::Result<Vec<u8>, types::Error>> {
        ok!(self.may_keep()?);
        ok!(self.held(&id).await);
        let max = usize::try_from(max.min(MAX_READ))?;
        Ok(self.services.store.blob_read(&id, offset, max).await.map_err(|e| failed("blob", &e)))
    }
}
