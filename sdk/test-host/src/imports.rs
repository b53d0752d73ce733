//! The imports: each counts as a call into the kernel, and is then the fake's.

use crate::convert::{self, error};
use async_trait::async_trait;
use carapace_runtime::bindings::{
    HttpResponse, ResponseBody, assets, blob, clock, completion, config, http, kv, lines, log, memory, message, random,
    requests, secrets, sessions, settings, types,
};
use carapace_runtime::engine_types::Result;
use carapace_runtime::{Core, Guest, Sends};
use carapace_sdk::testing::FakeHost;
use carapace_sdk::testing::protocol::Incoming;
use std::sync::{Arc, Mutex, PoisonError};

/// What the contract's functions answer.
type Answer<T> = Result<std::result::Result<T, types::Error>>;

/// Store data.
pub(crate) struct State {
    core: Core,
    fake: Arc<Mutex<FakeHost>>,
}

impl State {
    pub(crate) fn new(core: Core, fake: Arc<Mutex<FakeHost>>) -> Self {
        Self { core, fake }
    }

    fn ask<R>(&mut self, f: impl FnOnce(&mut FakeHost) -> R) -> Result<R> {
        self.core.host_call()?;
        Ok(f(&mut self.fake.lock().unwrap_or_else(PoisonError::into_inner)))
    }

    fn answer<R>(&mut self, f: impl FnOnce(&mut FakeHost) -> std::result::Result<R, carapace_sdk::Error>) -> Answer<R> {
        Ok(self.ask(f)?.map_err(error))
    }
}

impl Guest for State {
    fn core(&mut self) -> &mut Core {
        &mut self.core
    }
}

impl types::Host for State {}

impl log::Host for State {
    async fn write(&mut self, level: log::Level, message: String, fields: Vec<(String, String)>) -> Result<()> {
        let fields: Vec<(&str, &str)> = fields.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        self.ask(|f| f.log(convert::level(level), &message, &fields))
    }
}

impl clock::Host for State {
    async fn now_ms(&mut self) -> Result<u64> {
        self.ask(|f| f.now_ms())
    }
    async fn monotonic_ms(&mut self) -> Result<u64> {
        self.ask(|f| f.monotonic_ms())
    }
    async fn sleep_ms(&mut self, duration: u32) -> Answer<()> {
        self.answer(|f| f.sleep_ms(duration))
    }
}

impl random::Host for State {
    async fn bytes(&mut self, length: u32) -> Answer<Vec<u8>> {
        self.answer(|f| f.random(length))
    }
}

impl config::Host for State {
    async fn get(&mut self) -> Result<String> {
        self.ask(|f| f.config())
    }
}

impl kv::Host for State {
    async fn get(&mut self, key: String) -> Answer<Option<kv::Entry>> {
        let entry = |e: carapace_sdk::kv::Entry| kv::Entry { value: e.value, version: e.version };
        self.answer(|f| f.kv_get(&key).map(|found| found.map(entry)))
    }
    async fn set(&mut self, key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<u64> {
        self.answer(|f| f.kv_set(&key, &value, ttl_ms))
    }
    async fn delete(&mut self, key: String) -> Answer<bool> {
        self.answer(|f| f.kv_delete(&key))
    }
    async fn keys(&mut self, prefix: String, after: Option<String>, limit: u32) -> Answer<Vec<String>> {
        self.answer(|f| f.kv_keys(&prefix, after.as_deref(), limit))
    }
    async fn swap(&mut self, key: String, expected: Option<u64>, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<bool> {
        self.answer(|f| f.kv_swap(&key, expected, &value, ttl_ms))
    }
    async fn schema(&mut self) -> Answer<u32> {
        self.answer(|f| f.kv_schema())
    }
    async fn migrated(&mut self) -> Answer<()> {
        self.answer(|f| f.kv_migrated())
    }
}

/// The rest of a fake's answer.
struct Body {
    fake: Arc<Mutex<FakeHost>>,
    response: Incoming,
}

#[async_trait]
impl ResponseBody for Body {
    async fn read(&mut self, max: u32) -> std::result::Result<Vec<u8>, types::Error> {
        let mut fake = self.fake.lock().unwrap_or_else(PoisonError::into_inner);
        fake.read(&self.response, max).map_err(error)
    }

    async fn to_blob(&mut self, max: u64) -> std::result::Result<String, types::Error> {
        let mut fake = self.fake.lock().unwrap_or_else(PoisonError::into_inner);
        fake.to_blob(&self.response, max).map_err(error)
    }
}

impl Sends for State {
    async fn send(&mut self, request: http::Request) -> Result<std::result::Result<HttpResponse, http::Failure>> {
        let request = convert::outgoing(request);
        let mut fake = self.fake.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(match fake.send(request) {
            Ok(response) => {
                let (status, headers, url) = (fake.status(&response), fake.headers(&response), fake.url(&response));
                let body = Box::new(Body { fake: self.fake.clone(), response });
                Ok(HttpResponse { status, headers, url, body })
            }
            Err((e, sent)) => Err(http::Failure { error: error(e), sent }),
        })
    }
}

impl secrets::Host for State {
    async fn exists(&mut self, name: String) -> Answer<bool> {
        self.answer(|f| f.secret_exists(&name))
    }
    async fn hmac_sha256(&mut self, name: String, data: Vec<u8>) -> Answer<Vec<u8>> {
        self.answer(|f| f.hmac_sha256(&name, &data))
    }
}

impl completion::Host for State {
    async fn emit(&mut self, event: completion::Event) -> Answer<()> {
        self.answer(|f| f.emit(convert::event(event)))
    }
}

impl assets::Host for State {
    async fn describe(&mut self, name: String) -> Answer<assets::Info> {
        self.answer(|f| f.asset_describe(&name).map(|i| assets::Info { size: i.size, sha256: i.sha256 }))
    }
    async fn read(&mut self, name: String, offset: u64, max: u32) -> Answer<Vec<u8>> {
        self.answer(|f| f.asset_read(&name, offset, max))
    }
}

impl memory::Host for State {
    async fn read(&mut self, key: String) -> Answer<Option<memory::Note>> {
        self.answer(|f| f.memory_read(&key).map(|found| found.map(convert::note)))
    }
    async fn write(&mut self, key: String, text: String) -> Answer<()> {
        self.answer(|f| f.memory_write(&key, &text))
    }
    async fn delete(&mut self, key: String) -> Answer<bool> {
        self.answer(|f| f.memory_delete(&key))
    }
    async fn list(&mut self, limit: u32) -> Answer<Vec<memory::Note>> {
        self.answer(|f| f.memory_list(limit).map(convert::notes))
    }
    async fn search(&mut self, query: String, limit: u32) -> Answer<Vec<memory::Note>> {
        self.answer(|f| f.memory_search(&query, limit).map(convert::notes))
    }
}

impl sessions::Host for State {
    async fn list(&mut self, limit: u32) -> Answer<Vec<sessions::Session>> {
        self.answer(|f| f.sessions_list(limit).map(convert::sessions))
    }
    async fn read(&mut self, session: String, limit: u32) -> Answer<Vec<sessions::Entry>> {
        self.answer(|f| f.sessions_read(&session, limit).map(convert::entries))
    }
}

impl settings::Host for State {
    async fn read(&mut self, path: String) -> Answer<Option<String>> {
        self.answer(|f| f.settings_read(&path))
    }
}

impl blob::Host for State {
    async fn put(&mut self, data: Vec<u8>) -> Answer<String> {
        self.answer(|f| f.blob_put(&data))
    }
    async fn describe(&mut self, id: String) -> Answer<blob::Info> {
        self.answer(|f| f.blob_describe(&id).map(|i| blob::Info { size: i.size, mime: i.mime }))
    }
    async fn read(&mut self, id: String, offset: u64, max: u32) -> Answer<Vec<u8>> {
        self.answer(|f| f.blob_read(&id, offset, max))
    }
}

impl message::Host for State {
    async fn send(&mut self, target: String, text: String) -> Answer<String> {
        self.answer(|f| f.message_send(&target, &text))
    }
}

impl lines::Host for State {
    async fn write(&mut self, client: String, key: String, text: String) -> Answer<()> {
        self.answer(|f| f.line_write(&client, &key, &text))
    }
}

impl requests::Host for State {
    async fn install(&mut self, name: String, reason: String) -> Answer<String> {
        self.answer(|f| f.request_install(&name, &reason))
    }
}
