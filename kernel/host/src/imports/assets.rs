//! `assets`: the package's own files, and no others.

use crate::state::HostState;
use carapace_contract::manifest::AssetDecl;
use carapace_registry::assets::AssetError;
use carapace_runtime::bindings::{assets, types};
use carapace_runtime::engine_types::Result;

const MAX_READ: u32 = 1 << 20;

impl HostState {
    /// The declared and granted file of that name.
    fn granted_asset(&mut self, name: &str) -> Result<std::result::Result<AssetDecl, types::Error>> {
        self.core.host_call()?;
        let grant = self.granted();
        if let Err(denial) = grant.asset(&self.instance.id, self.uses.as_ref(), name) {
            return Ok(Err(self.core.deny(&denial)));
        }
        // What is read is what this very package was signed with.
        let declared = self.instance.package.manifest().assets.iter().find(|a| a.name.as_str() == name);
        Ok(declared.cloned().ok_or_else(|| types::Error::NotFound(format!("the package declares no file `{name}`"))))
    }

    fn unread(&self, asset: &AssetDecl, error: &AssetError) -> types::Error {
        if error.is_missing() {
            return types::Error::NotFound(missing(asset));
        }
        tracing::error!(instance = %self.instance.id, asset = %asset.name, %error, "an asset cannot be used");
        types::Error::Unavailable(format!(
            "the file `{}` cannot be used: {error}; what brings it anew: {}",
            asset.name,
            AssetDecl::how_to_bring(&asset.sources)
        ))
    }
}

fn missing(asset: &AssetDecl) -> String {
    let bring = AssetDecl::how_to_bring(&asset.sources);
    format!("the file `{}` is not on this machine yet; what brings it: {bring}", asset.name)
}

impl assets::Host for HostState {
    async fn describe(&mut self, name: String) -> Result<std::result::Result<assets::Info, types::Error>> {
        let asset = match self.granted_asset(&name)? {
            Ok(asset) => asset,
            Err(e) => return Ok(Err(e)),
        };
        if !self.services.assets.has(&asset.sha256, asset.size) {
            return Ok(Err(types::Error::NotFound(missing(&asset))));
        }
        Ok(Ok(assets::Info { size: asset.size, sha256: asset.sha256.hex() }))
    }

    async fn read(
        &mut self,
        name: String,
        offset: u64,
        max: u32,
    ) -> Result<std::result::Result<Vec<u8>, types::Error>> {
        let asset = match self.granted_asset(&name)? {
            Ok(asset) => asset,
            Err(e) => return Ok(Err(e)),
        };
        let (services, digest, size) = (self.services.clone(), asset.sha256, asset.size);
        let max = usize::try_from(max.min(MAX_READ))?;
        // The disk, and for the first read the hash of the whole file: not on a thread that guests run on.
        let read = tokio::task::spawn_blocking(move || {
            let file = services.assets.open(&digest, size)?;
            file.read_at(offset, max).map_err(|source| AssetError::Io {
                what: "cannot read",
                path: services.assets.path(&digest),
                source,
            })
        });
        Ok(read.await?.map_err(|e| self.unread(&asset, &e)))
    }
}
