//! What a component that was built for WASI finds: directories as granted and configured, its log, and requests under the same rules
//! and through the same door as the contract's.

use crate::imports::{http, log};
use crate::instance::Live;
use crate::services::{Services, Vault};
use crate::state::HostState;
use async_trait::async_trait;
use carapace_contract::grant::Grant;
use carapace_contract::manifest::Use;
use carapace_contract::{Denial, InstanceId, Name};
use carapace_egress::{EgressError, Target};
use carapace_runtime::bindings::log::Level;
use carapace_runtime::bindings::{ResponseBody, types};
use carapace_runtime::wasi::{Directory, Printed, Request, Requests, Response, World};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The directories of an instance: granted by name, found by the owner's configuration, none of the kernel's own.
pub(crate) fn directories(
    instance: &InstanceId,
    grant: &Grant,
    given: &BTreeMap<Name, PathBuf>,
    private: &[PathBuf],
) -> Result<BTreeMap<Name, Directory>, Denial> {
    let granted = &grant.capabilities;
    let mut found = BTreeMap::new();
    for (name, capability) in granted.directories.iter().filter(|_| !grant.revoked) {
        let key = instance.name();
        let line =
            format!("instances: {{ \"{key}\": {{ directories: {{ \"{name}\": \"/a/path\" }} }} }} in carapace.json5");
        let Some(path) = given.get(name) else {
            if granted.optional.contains(&format!("directory:{name}")) {
                continue;
            }
            let text =
                format!("`{instance}` needs the directory `{name}` ({}), and none is configured", capability.prompt);
            return Err(Denial::new("E-HOST-020", text, line));
        };
        let directory = Directory::new(name, path, capability.write, private)
            .map_err(|e| Denial::new("E-HOST-021", format!("the directory `{name}` of `{instance}`: {e}"), line))?;
        found.insert(name.clone(), directory);
    }
    Ok(found)
}

impl HostState {
    /// Puts WASI's world around the call, if the component has anything of WASI.
    pub(crate) fn enter(&mut self) -> Result<(), Denial> {
        if !self.core.plan().has_wasi() {
            return Ok(());
        }
        let live = self.instance.clone();
        let granted = live.grant.load();
        let may = |name: &Name| {
            let used = self.uses.as_ref().is_none_or(|uses| uses.contains(&Use::Directory(name.clone())));
            used && granted.grant.capabilities.directories.contains_key(name)
        };
        let directories: Vec<Directory> =
            live.directories.iter().filter(|(name, _)| may(name)).map(|(_, directory)| directory.clone()).collect();
        // What lies in a directory may come from anywhere.
        self.hand(!directories.is_empty());
        let world = World {
            printed: Some(Arc::new(Lines { live: live.clone(), services: self.services.clone() })),
            directories,
            requests: Some(Arc::new(Leaving {
                live: live.clone(),
                services: self.services.clone(),
                uses: self.uses.clone(),
                cancel: self.core.cancel().clone(),
            })),
            max_request: self.core.limits().http_request_bytes,
            fixed: None,
            stands: Some({
                let live = live.clone();
                Box::new(move || live.grant.load().runnable(&live.id).is_ok())
            }),
        };
        self.core.enter(world).map_err(|e| {
            Denial::new("E-HOST-021", format!("`{}`: {e}", live.id), format!("carapace plugin disable {}", live.id))
        })
    }
}

/// What is printed is logged.
struct Lines {
    live: Arc<Live>,
    services: Arc<Services>,
}

impl Printed for Lines {
    fn line(&self, error: bool, line: &str) {
        let level = if error { Level::Warn } else { Level::Info };
        log::say(&self.services, &self.live, false, level, line, "");
    }
}

/// Requests of one call.
struct Leaving {
    live: Arc<Live>,
    services: Arc<Services>,
    uses: Option<BTreeSet<Use>>,
    cancel: CancellationToken,
}

impl Leaving {
    /// The endpoint that a URL lies under, as signed; else a public address, if those are granted.
    fn target(&self, url: &url::Url) -> Result<Target, Denial> {
        let (grant, id) = (self.live.grant.load(), &self.live.id);
        grant.runnable(id)?;
        let capabilities = &grant.grant.capabilities;
        let uses = self.uses.as_ref();
        if let Some((name, path)) = capabilities.endpoint_of(uses, url) {
            return Ok(Target::Endpoint { name: grant.endpoint(id, uses, name.as_str())?.into(), path });
        }
        if capabilities.public_http {
            grant.public_http(id, uses)?;
            return Ok(Target::Public(url.to_string()));
        }
        let origin = url.origin().ascii_serialization();
        Err(Denial::new(
            "E-GRANT-002",
            format!("`{id}` may not send to {origin}{}: no endpoint that this call uses is there", url.path()),
            format!(
                "the manifest must ask for it ([[http]], and the tool's uses) and the owner grant it: carapace plugin grant {id}"
            ),
        ))
    }

    fn refused(&self, denial: &Denial) -> types::Error {
        self.live.runtime.meter().denial(denial);
        // The guest has no room for a text.
        log::say(&self.services, &self.live, true, Level::Warn, &denial.to_string(), "");
        types::Error::Denied(denial.to_string())
    }

    fn error(&self, e: &EgressError) -> types::Error {
        match e {
            EgressError::Denied(denial) => self.refused(denial),
            other => http::error(other),
        }
    }
}

#[async_trait]
impl Requests for Leaving {
    async fn send(&self, request: Request) -> Result<Response, types::Error> {
        let target = self.target(&request.url).map_err(|denial| self.refused(&denial))?;
        let policy = self.live.grant.load().policy.clone();
        let vault = Vault::new(self.services.clone(), self.live.clone(), None);
        let wall = Duration::from_millis(self.live.runtime.limits().wall_ms_per_call);
        let outgoing = u64::try_from(request.body.len()).unwrap_or(u64::MAX);
        let request = carapace_egress::Request {
            method: request.method,
            target,
            headers: request.headers,
            body: request.body.into(),
            timeout: Some(request.timeout.map_or(wall, |t| t.min(wall))),
        };
        let sent = self.services.door.send(&policy, &vault, request, self.cancel.clone()).await;
        let response = sent.map_err(|failure| self.error(&failure.error))?;
        self.live.runtime.meter().sent(outgoing);
        let (status, headers) = (response.status, response.headers.clone());
        Ok(Response { status, headers, body: Box::new(Pulled { live: self.live.clone(), response }) })
    }
}

/// The rest of a response.
struct Pulled {
    live: Arc<Live>,
    response: carapace_egress::Response,
}

#[async_trait]
impl ResponseBody for Pulled {
    async fn read(&mut self, max: u32) -> Result<Vec<u8>, types::Error> {
        // A revocation bites in mid-body too.
        if let Err(denial) = self.live.grant.load().runnable(&self.live.id) {
            self.live.runtime.meter().denial(&denial);
            return Err(types::Error::Denied(denial.to_string()));
        }
        let bytes = self.response.read(usize::try_from(max).unwrap_or(1)).await.map_err(|f| http::error(&f.error))?;
        self.live.runtime.meter().received(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        Ok(bytes.to_vec())
    }

    async fn to_blob(&mut self, _: u64) -> Result<String, types::Error> {
        // WASI has no word for it.
        Err(types::Error::Invalid("a body is not kept from here".to_owned()))
    }
}
