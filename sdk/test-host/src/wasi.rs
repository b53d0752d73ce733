//! A component that was built for WASI: the test's fakes stand behind that, too.

use crate::convert;
use async_trait::async_trait;
use carapace_contract::capability::CapabilitySet;
use carapace_runtime::Core;
use carapace_runtime::bindings::{ResponseBody, types};
use carapace_runtime::wasi::{Fixed, Printed, Request, RequestError, Requests, Response, World};
use carapace_sdk::http::Target;
use carapace_sdk::log::Level;
use carapace_sdk::testing::FakeHost;
use carapace_sdk::testing::protocol::{Incoming, Outgoing};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Puts the fakes' world around a call, if the component has anything of WASI. There are no directories in it.
pub(crate) fn enter(core: &mut Core, fake: &Arc<Mutex<FakeHost>>, granted: &CapabilitySet) -> Result<(), String> {
    if !core.plan().has_wasi() {
        return Ok(());
    }
    let mut held = lock(fake);
    let fixed = Fixed { now_ms: held.now_ms(), seed: held.random(32).map_err(|e| e.to_string())? };
    drop(held);
    let max_request = core.limits().http_request_bytes;
    let world = World {
        printed: Some(Arc::new(Lines(fake.clone()))),
        requests: Some(Arc::new(Sends { fake: fake.clone(), granted: granted.clone() })),
        max_request,
        fixed: Some(fixed),
        ..World::default()
    };
    core.enter(world).map_err(|e| e.to_string())
}

fn lock(fake: &Mutex<FakeHost>) -> MutexGuard<'_, FakeHost> {
    fake.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Lines(Arc<Mutex<FakeHost>>);

impl Printed for Lines {
    fn line(&self, error: bool, line: &str) {
        lock(&self.0).log(if error { Level::Warn } else { Level::Info }, line, &[]);
    }
}

struct Sends {
    fake: Arc<Mutex<FakeHost>>,
    granted: CapabilitySet,
}

#[async_trait]
impl Requests for Sends {
    async fn send(&self, request: Request) -> Result<Response, RequestError> {
        // Whether the tool may use that endpoint, the fake says.
        let target = match self.granted.endpoint_of(None, &request.url) {
            Some((name, path)) => Target::Endpoint { endpoint: name.to_string(), path },
            None => Target::Public(request.url.to_string()),
        };
        let body = (!request.body.is_empty()).then_some(request.body);
        let timeout_ms = request.timeout.map(|t| u32::try_from(t.as_millis()).unwrap_or(u32::MAX));
        let outgoing =
            Outgoing { method: request.method, target, headers: request.headers, body, timeout_ms, extra: Vec::new() };
        let mut fake = lock(&self.fake);
        let incoming = fake.send(outgoing).map_err(|(e, _)| convert::error(e))?;
        let (status, headers) = (fake.status(&incoming), fake.headers(&incoming));
        drop(fake);
        Ok(Response { status, headers, body: Box::new(Body { fake: self.fake.clone(), incoming }) })
    }
}

struct Body {
    fake: Arc<Mutex<FakeHost>>,
    incoming: Incoming,
}

#[async_trait]
impl ResponseBody for Body {
    async fn read(&mut self, max: u32) -> Result<Vec<u8>, types::Error> {
        lock(&self.fake).read(&self.incoming, max).map_err(convert::error)
    }

    async fn to_blob(&mut self, _: u64) -> Result<String, types::Error> {
        // WASI has no word for it.
        Err(types::Error::Invalid("a body is not kept from here".to_owned()))
    }
}
