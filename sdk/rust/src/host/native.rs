//! The test host of the running test, if there is one.

use super::Outgoing;
use crate::log::Level;
use crate::provider::Event;
use crate::{Error, assets, blob, kv, memory, sessions};

type Result<T> = std::result::Result<T, Error>;

/// One function per import, each the same call on the fake host; without the feature `testing` there is none to call.
macro_rules! imports {
    ($($name:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)?;)*) => {
        $(pub(crate) fn $name($($arg: $ty),*) $(-> $out)? {
            #[cfg(feature = "testing")]
            return crate::testing::current(|host| host.$name($($arg),*));
            #[cfg(not(feature = "testing"))]
            {
                $(let _ = $arg;)*
                nobody_there(stringify!($name))
            }
        })*
    };
}

imports! {
    log(level: Level, message: &str, fields: &[(&str, &str)]);
    now_ms() -> u64;
    monotonic_ms() -> u64;
    sleep_ms(duration: u32) -> Result<()>;
    random(length: u32) -> Result<Vec<u8>>;
    config() -> String;
    kv_get(key: &str) -> Result<Option<kv::Entry>>;
    kv_set(key: &str, value: &[u8], ttl_ms: Option<u64>) -> Result<u64>;
    kv_delete(key: &str) -> Result<bool>;
    kv_keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>>;
    kv_swap(key: &str, expected: Option<u64>, value: &[u8], ttl_ms: Option<u64>) -> Result<bool>;
    kv_schema() -> Result<u32>;
    kv_migrated() -> Result<()>;
    send(request: Outgoing) -> std::result::Result<Incoming, (Error, bool)>;
    status(response: &Incoming) -> u16;
    headers(response: &Incoming) -> Vec<(String, String)>;
    url(response: &Incoming) -> String;
    read(response: &Incoming, max: u32) -> Result<Vec<u8>>;
    to_blob(response: &Incoming, max: u64) -> Result<String>;
    blob_put(data: &[u8]) -> Result<String>;
    blob_describe(id: &str) -> Result<blob::Info>;
    blob_read(id: &str, offset: u64, max: u32) -> Result<Vec<u8>>;
    secret_exists(name: &str) -> Result<bool>;
    hmac_sha256(name: &str, data: &[u8]) -> Result<Vec<u8>>;
    emit(event: Event) -> Result<()>;
    asset_describe(name: &str) -> Result<assets::Info>;
    asset_read(name: &str, offset: u64, max: u32) -> Result<Vec<u8>>;
    memory_read(key: &str) -> Result<Option<memory::Note>>;
    memory_write(key: &str, text: &str) -> Result<()>;
    memory_delete(key: &str) -> Result<bool>;
    memory_list(limit: u32) -> Result<Vec<memory::Note>>;
    memory_search(query: &str, limit: u32) -> Result<Vec<memory::Note>>;
    sessions_list(limit: u32) -> Result<Vec<sessions::Session>>;
    sessions_read(session: &str, limit: u32) -> Result<Vec<sessions::Entry>>;
    settings_read(path: &str) -> Result<Option<String>>;
    request_install(name: &str, reason: &str) -> Result<String>;
    message_send(target: &str, text: &str) -> Result<String>;
    line_write(client: &str, key: &str, text: &str) -> Result<()>;
}

/// A response, by its number.
#[derive(Debug)]
#[allow(unreachable_pub, reason = "only the test host sees it")]
pub struct Incoming(
    #[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "only a test host looks"))] pub(crate) usize,
);

#[cfg(not(feature = "testing"))]
#[allow(clippy::panic, reason = "there is nobody to return an error to, and nothing that could be true to return")]
fn nobody_there(import: &str) -> ! {
    panic!(
        "`{import}` was called outside of a component: imports exist in a component, and in a #[carapace_sdk::test] \
         (feature `testing` of carapace-sdk, under [dev-dependencies])"
    )
}
