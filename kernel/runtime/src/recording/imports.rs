//! Every import, written down as it is asked; and, in a [`Replay`], answered from what was written down.

use super::replay::Replay;
use super::{Recorded, Within, arguments, value};
use crate::bindings::{
    HttpResponse, ResponseBody, assets, blob, clock, completion, config, http, kv, lines, log, memory, message, random,
    requests, secrets, sessions, settings, types,
};
use crate::http::Sends;
use crate::state::Guest;
use serde_json::{Value, json};
use wasmtime::Result;
use wasmtime::component::Resource;

type Answer<T> = std::result::Result<T, types::Error>;

macro_rules! imports {
    ($($module:ident { $($name:ident($($arg:ident: $ty:ty),*) $(-> $out:ty)?;)* })*) => {$(
        impl<H: $module::Host + Within> $module::Host for Recorded<H> {
            $(async fn $name(&mut self, $($arg: $ty),*) -> Result<imports!(@ $($out)?)> {
                let given = arguments([$((stringify!($arg), value::of(&$arg))),*]);
                let answer = self.0.$name($($arg),*).await;
                self.note(&called(stringify!($module), stringify!($name)), given, &answer);
                answer
            })*
        }

        impl $module::Host for Replay {
            $(async fn $name(&mut self, $($arg: $ty),*) -> Result<imports!(@ $($out)?)> {
                let given = arguments([$((stringify!($arg), value::of(&$arg))),*]);
                self.answer(&called(stringify!($module), stringify!($name)), &given)
            })*
        }
    )*};
    (@ $out:ty) => { $out };
    (@) => { () };
}

imports! {
    log { write(level: log::Level, message: String, fields: Vec<(String, String)>); }
    clock {
        now_ms() -> u64;
        monotonic_ms() -> u64;
        sleep_ms(duration: u32) -> Answer<()>;
    }
    random { bytes(length: u32) -> Answer<Vec<u8>>; }
    config { get() -> String; }
    kv {
        get(key: String) -> Answer<Option<kv::Entry>>;
        set(key: String, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<u64>;
        delete(key: String) -> Answer<bool>;
        keys(prefix: String, after: Option<String>, limit: u32) -> Answer<Vec<String>>;
        swap(key: String, expected: Option<u64>, value: Vec<u8>, ttl_ms: Option<u64>) -> Answer<bool>;
        schema() -> Answer<u32>;
        migrated() -> Answer<()>;
    }
    secrets {
        exists(name: String) -> Answer<bool>;
        hmac_sha256(name: String, data: Vec<u8>) -> Answer<Vec<u8>>;
    }
    completion { emit(event: completion::Event) -> Answer<()>; }
    assets {
        describe(name: String) -> Answer<assets::Info>;
        read(name: String, offset: u64, max: u32) -> Answer<Vec<u8>>;
    }
    memory {
        read(key: String) -> Answer<Option<memory::Note>>;
        write(key: String, text: String) -> Answer<()>;
        delete(key: String) -> Answer<bool>;
        list(limit: u32) -> Answer<Vec<memory::Note>>;
        search(query: String, limit: u32) -> Answer<Vec<memory::Note>>;
    }
    sessions {
        list(limit: u32) -> Answer<Vec<sessions::Session>>;
        read(session: String, limit: u32) -> Answer<Vec<sessions::Entry>>;
    }
    settings { read(path: String) -> Answer<Option<String>>; }
    requests { install(name: String, reason: String) -> Answer<String>; }
    message { send(target: String, text: String) -> Answer<String>; }
    lines { write(client: String, key: String, text: String) -> Answer<()>; }
    blob {
        put(data: Vec<u8>) -> Answer<String>;
        describe(id: String) -> Answer<blob::Info>;
        read(id: String, offset: u64, max: u32) -> Answer<Vec<u8>>;
    }
}

impl types::Host for Replay {}

/// `kv.get`; Rust has its own word for `bytes`, and an interface's functions have no underscore.
fn called(module: &str, name: &str) -> String {
    format!("{module}.{}", value::kebab(name))
}

const SEND: &str = "http.send";
const READ: &str = "http.response.read";
const TO_BLOB: &str = "http.response.to-blob";

/// What stands in place of a credential.
const REDACTED: &str = "[redacted]";

/// Headers that are credentials: a session's cookie, and what a guest made itself where the kernel adds nothing.
fn is_credential(name: &str) -> bool {
    ["authorization", "cookie", "set-cookie", "set-cookie2", "proxy-authorization", "proxy-authenticate"]
        .iter()
        .any(|known| name.eq_ignore_ascii_case(known))
}

fn headers(headers: &[(String, String)]) -> Value {
    let one = |(name, value): &(String, String)| json!([name, if is_credential(name) { REDACTED } else { value }]);
    headers.iter().map(one).collect()
}

fn sent(request: &http::Request) -> Value {
    let mut request = value::of(request);
    if let Some(Value::Array(pairs)) = request.get_mut("headers") {
        for pair in pairs.iter_mut().filter_map(Value::as_array_mut) {
            if let [Value::String(name), value] = pair.as_mut_slice()
                && is_credential(name)
            {
                *value = REDACTED.into();
            }
        }
    }
    arguments([("request", request)])
}

fn reading(response: u32, max: u32) -> Value {
    arguments([("response", response.into()), ("max", max.into())])
}

fn keeping(response: u32, max: u64) -> Value {
    arguments([("response", response.into()), ("max", max.into())])
}

/// A response's head, and the number by which the guest reads it.
fn head(number: u32, response: &HttpResponse) -> Value {
    json!({ "response": number, "status": response.status, "headers": headers(&response.headers), "url": response.url })
}

impl<H: http::Host + Within> http::Host for Recorded<H> {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> Result<std::result::Result<Resource<HttpResponse>, http::Failure>> {
        let given = sent(&request);
        let answer = self.0.send(request).await?;
        let told = match &answer {
            Ok(response) => json!({ "ok": head(response.rep(), self.0.core().table().get(response)?) }),
            Err(failure) => json!({ "err": value::of(failure) }),
        };
        self.note(SEND, given, &Ok(told));
        Ok(answer)
    }
}

// The head went with the response; only reading the body asks the kernel for more.
impl<H: http::HostResponse + Within> http::HostResponse for Recorded<H> {
    async fn status(&mut self, r: Resource<HttpResponse>) -> Result<u16> {
        self.0.status(r).await
    }
    async fn headers(&mut self, r: Resource<HttpResponse>) -> Result<Vec<(String, String)>> {
        self.0.headers(r).await
    }
    async fn url(&mut self, r: Resource<HttpResponse>) -> Result<String> {
        self.0.url(r).await
    }
    async fn read(&mut self, r: Resource<HttpResponse>, max: u32) -> Result<Answer<Vec<u8>>> {
        let given = reading(r.rep(), max);
        let answer = self.0.read(r, max).await;
        self.note(READ, given, &answer);
        answer
    }
    async fn to_blob(&mut self, r: Resource<HttpResponse>, max: u64) -> Result<Answer<String>> {
        let given = keeping(r.rep(), max);
        let answer = self.0.to_blob(r, max).await;
        self.note(TO_BLOB, given, &answer);
        answer
    }
    async fn drop(&mut self, r: Resource<HttpResponse>) -> Result<()> {
        self.0.drop(r).await
    }
}

/// A recorded head.
#[derive(serde::Deserialize)]
struct Head {
    response: u32,
    status: u16,
    headers: Vec<(String, String)>,
    url: String,
}

struct Body {
    number: u32,
    replay: super::replay::Tape,
}

#[async_trait::async_trait]
impl ResponseBody for Body {
    async fn read(&mut self, max: u32) -> Answer<Vec<u8>> {
        // A difference ends the guest at its next call into the kernel; until then it reads nothing.
        self.replay.answer(READ, &reading(self.number, max)).unwrap_or(Err(types::Error::Cancelled))
    }

    async fn to_blob(&mut self, max: u64) -> Answer<String> {
        self.replay.answer(TO_BLOB, &keeping(self.number, max)).unwrap_or(Err(types::Error::Cancelled))
    }
}

impl Sends for Replay {
    async fn send(&mut self, request: http::Request) -> Result<std::result::Result<HttpResponse, http::Failure>> {
        let tape = self.tape();
        let answer: std::result::Result<Head, http::Failure> = tape.answer(SEND, &sent(&request))?;
        Ok(answer.map(|Head { response, status, headers, url }| HttpResponse {
            status,
            headers,
            url,
            body: Box::new(Body { number: response, replay: tape }),
        }))
    }
}

impl Guest for Replay {
    fn core(&mut self) -> &mut crate::state::Core {
        Self::core(self)
    }
}
