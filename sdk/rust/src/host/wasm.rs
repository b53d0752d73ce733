//! The kernel.

use super::Outgoing;
use crate::bindings::imports::carapace::plugin as wit;
use crate::log::Level;
use crate::provider::Event;
use crate::{Error, assets, blob, kv, memory, sessions};

type Result<T> = std::result::Result<T, Error>;

pub(crate) fn log(level: Level, message: &str, fields: &[(&str, &str)]) {
    let level = match level {
        Level::Trace => wit::log::Level::Trace,
        Level::Debug => wit::log::Level::Debug,
        Level::Info => wit::log::Level::Info,
        Level::Warn => wit::log::Level::Warn,
        Level::Error => wit::log::Level::Error,
    };
    let fields: Vec<(String, String)> = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    wit::log::write(level, message, &fields);
}

pub(crate) fn now_ms() -> u64 {
    wit::clock::now_ms()
}
pub(crate) fn monotonic_ms() -> u64 {
    wit::clock::monotonic_ms()
}
pub(crate) fn sleep_ms(duration: u32) -> Result<()> {
    Ok(wit::clock::sleep_ms(duration)?)
}

pub(crate) fn random(length: u32) -> Result<Vec<u8>> {
    Ok(wit::random::bytes(length)?)
}

pub(crate) fn config() -> String {
    wit::config::get()
}

pub(crate) fn kv_get(key: &str) -> Result<Option<kv::Entry>> {
    Ok(wit::kv::get(key)?.map(|e| kv::Entry { value: e.value, version: e.version }))
}
pub(crate) fn kv_set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<u64> {
    Ok(wit::kv::set(key, value, ttl_ms)?)
}
pub(crate) fn kv_delete(key: &str) -> Result<bool> {
    Ok(wit::kv::delete(key)?)
}
pub(crate) fn kv_keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>> {
    Ok(wit::kv::keys(prefix, after, limit)?)
}
pub(crate) fn kv_swap(key: &str, expected: Option<u64>, value: &[u8], ttl_ms: Option<u64>) -> Result<bool> {
    Ok(wit::kv::swap(key, expected, value, ttl_ms)?)
}

pub(crate) type Incoming = wit::http::Response;

/// An error comes with whether a byte may have reached the server.
pub(crate) fn send(r: Outgoing) -> std::result::Result<Incoming, (Error, bool)> {
    wit::http::send(&r.into()).map_err(|f| (f.error.into(), f.sent))
}
pub(crate) fn status(r: &Incoming) -> u16 {
    r.status()
}
pub(crate) fn headers(r: &Incoming) -> Vec<(String, String)> {
    r.headers()
}
pub(crate) fn url(r: &Incoming) -> String {
    r.url()
}
pub(crate) fn read(r: &Incoming, max: u32) -> Result<Vec<u8>> {
    Ok(r.read(max)?)
}

pub(crate) fn to_blob(r: &Incoming, max: u64) -> Result<String> {
    Ok(r.to_blob(max)?)
}

pub(crate) fn blob_put(data: &[u8]) -> Result<String> {
    Ok(wit::blob::put(data)?)
}
pub(crate) fn blob_describe(id: &str) -> Result<blob::Info> {
    let i = wit::blob::describe(id)?;
    Ok(blob::Info { size: i.size, mime: i.mime })
}
pub(crate) fn blob_read(id: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    Ok(wit::blob::read(id, offset, max)?)
}

pub(crate) fn secret_exists(name: &str) -> Result<bool> {
    Ok(wit::secrets::exists(name)?)
}
pub(crate) fn hmac_sha256(name: &str, data: &[u8]) -> Result<Vec<u8>> {
    Ok(wit::secrets::hmac_sha256(name, data)?)
}

pub(crate) fn emit(event: Event) -> Result<()> {
    Ok(wit::completion::emit(&event)?)
}

pub(crate) fn asset_describe(name: &str) -> Result<assets::Info> {
    let i = wit::assets::describe(name)?;
    Ok(assets::Info { size: i.size, sha256: i.sha256 })
}
pub(crate) fn asset_read(name: &str, offset: u64, max: u32) -> Result<Vec<u8>> {
    Ok(wit::assets::read(name, offset, max)?)
}

fn note(n: wit::memory::Note) -> memory::Note {
    memory::Note { key: n.key, text: n.text, updated_ms: n.updated_ms, tainted: n.tainted, extra: n.extra }
}
pub(crate) fn memory_read(key: &str) -> Result<Option<memory::Note>> {
    Ok(wit::memory::read(key)?.map(note))
}
pub(crate) fn memory_write(key: &str, text: &str) -> Result<()> {
    Ok(wit::memory::write(key, text)?)
}
pub(crate) fn memory_delete(key: &str) -> Result<bool> {
    Ok(wit::memory::delete(key)?)
}
pub(crate) fn memory_list(limit: u32) -> Result<Vec<memory::Note>> {
    Ok(wit::memory::list(limit)?.into_iter().map(note).collect())
}
pub(crate) fn memory_search(query: &str, limit: u32) -> Result<Vec<memory::Note>> {
    Ok(wit::memory::search(query, limit)?.into_iter().map(note).collect())
}

pub(crate) fn sessions_list(limit: u32) -> Result<Vec<sessions::Session>> {
    let session = |s: wit::sessions::Session| sessions::Session {
        id: s.id,
        title: s.title,
        messages: s.messages,
        updated_ms: s.updated_ms,
        extra: s.extra,
    };
    Ok(wit::sessions::list(limit)?.into_iter().map(session).collect())
}
pub(crate) fn sessions_read(session: &str, limit: u32) -> Result<Vec<sessions::Entry>> {
    let entry = |e: wit::sessions::Entry| sessions::Entry {
        role: e.role,
        text: e.text,
        at_ms: e.at_ms,
        tainted: e.tainted,
        extra: e.extra,
    };
    Ok(wit::sessions::read(session, limit)?.into_iter().map(entry).collect())
}

pub(crate) fn kv_schema() -> Result<u32> {
    Ok(wit::kv::schema()?)
}

pub(crate) fn kv_migrated() -> Result<()> {
    Ok(wit::kv::migrated()?)
}

pub(crate) fn request_install(name: &str, reason: &str) -> Result<String> {
    Ok(wit::requests::install(name, reason)?)
}

pub(crate) fn message_send(target: &str, text: &str) -> Result<String> {
    Ok(wit::message::send(target, text)?)
}

pub(crate) fn line_write(client: &str, key: &str, text: &str) -> Result<()> {
    Ok(wit::lines::write(client, key, text)?)
}

pub(crate) fn settings_read(path: &str) -> Result<Option<String>> {
    Ok(wit::settings::read(path)?)
}
