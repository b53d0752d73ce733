//! What each import answers, besides the pairs.

use super::{Asset, FakeHost};
use crate::host::{Incoming, Outgoing};
use crate::http::Target;
use crate::log::Level;
use crate::provider::Event;
use crate::testing::answer::Answer;
use crate::testing::journal::{LogLine, Sent};
use crate::{Error, assets, blob, memory, sessions};
use serde_json::Value;

#[doc(hidden)]
#[allow(missing_docs, reason = "for the test host: each is one import, as `wit/` describes it")]
#[allow(clippy::disallowed_methods, reason = "an asset may be a file, in tests")]
impl FakeHost {
    pub fn log(&mut self, level: Level, message: &str, fields: &[(&str, &str)]) {
        let fields = fields.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        self.logged.push(LogLine { level, message: message.to_owned(), fields });
    }

    pub fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub fn monotonic_ms(&self) -> u64 {
        self.monotonic_ms
    }

    /// Nobody waits: the clocks go on.
    pub fn sleep_ms(&mut self, duration: u32) -> Result<(), Error> {
        let duration = u64::from(duration);
        self.now_ms += duration;
        self.monotonic_ms += duration;
        self.slept_ms += duration;
        Ok(())
    }

    pub fn random(&mut self, length: u32) -> Result<Vec<u8>, Error> {
        if length > 64 << 10 {
            return Err(Error::Invalid(format!("at most 65536 random bytes a call, not {length}")));
        }
        Ok((0..length).map(|_| self.random_byte()).collect())
    }

    pub fn config(&self) -> String {
        self.config.to_string()
    }

    pub fn send(&mut self, r: Outgoing) -> Result<Incoming, (Error, bool)> {
        let refused = |e: Error| (e, false);
        let (endpoint, capability) = match &r.target {
            Target::Endpoint { endpoint, path } => {
                if !path.starts_with('/') {
                    return Err(refused(Error::Invalid(format!("a path begins with `/`: `{path}`"))));
                }
                (Some(endpoint), format!("http:{endpoint}"))
            }
            Target::Handle(_) => (None, String::new()),
            Target::Public(_) => (None, "http:public".to_owned()),
        };
        if !capability.is_empty() {
            self.allow("http", &capability).map_err(refused)?;
        }
        let methods = match (&r.target, endpoint) {
            (_, Some(e)) => self.declared.endpoints.get(e).filter(|m| !m.is_empty()).cloned(),
            // Which endpoint made it is not known here: what any of them may.
            (Target::Handle(_), _) => {
                Some(self.declared.endpoints.values().flatten().cloned().chain(["GET".to_owned()]).collect())
            }
            _ => Some(vec!["GET".to_owned(), "HEAD".to_owned()]),
        };
        let methods = methods.unwrap_or_else(|| vec!["GET".to_owned()]);
        if !methods.contains(&r.method) {
            let text = format!("{} {}: the manifest allows {} there", r.method, r.target, methods.join(", "));
            return Err(refused(Error::Denied(text)));
        }
        let body = self.assembled(r.body.unwrap_or_default(), &r.extra).map_err(refused)?;
        let (method, target) = (r.method.clone(), r.target.to_string());
        self.sent.push(Sent { method: r.method, target: r.target, headers: r.headers, body, timeout_ms: r.timeout_ms });
        let Some(at) = self.exchanges.iter().position(|e| e.fits(&method, &target)) else {
            let text = format!(
                "the test has no answer for `{method} {target}`; give it one with host.answer(…) or host.on(…)"
            );
            return Err(refused(Error::Unavailable(text)));
        };
        let mut answer = self.exchanges.remove(at).answer;
        // As the kernel tells it: without the query, and a captured link's address is nobody's to know.
        let asked = self.sent.last().map(|sent| match &sent.target {
            Target::Endpoint { endpoint, path } => format!("https://{endpoint}.test{path}"),
            Target::Public(url) => url.clone(),
            Target::Handle(_) => String::new(),
        });
        let asked = asked.map(|url| url.split('?').next().unwrap_or_default().to_owned());
        answer.url = answer.url.or(asked);
        if let Some(failure) = answer.fails {
            return Err(failure);
        }
        self.open.push(answer);
        Ok(Incoming(self.open.len() - 1))
    }

    /// The body with the blobs in their places.
    fn assembled(&self, body: Vec<u8>, extra: &[(String, String)]) -> Result<Vec<u8>, Error> {
        use base64::Engine as _;
        let (mut whole, mut from) = (Vec::new(), 0);
        for (how, place) in extra.iter().filter(|(how, _)| how == "blob" || how == "blob-base64") {
            self.allow("blob", "blob")?;
            let (at, id) = place.split_once(' ').unwrap_or_default();
            let Some(piece) = at.parse().ok().and_then(|at| body.get(from..at)) else {
                return Err(Error::Invalid(format!("`{place}`: no blob can be put there")));
            };
            whole.extend_from_slice(piece);
            from += piece.len();
            let data = self.blobs.get(id).ok_or_else(|| Error::NotFound(format!("there is no blob `{id}`")))?;
            if how == "blob" {
                whole.extend_from_slice(data);
            } else {
                whole.extend(base64::engine::general_purpose::STANDARD.encode(data).into_bytes());
            }
        }
        whole.extend_from_slice(body.get(from..).unwrap_or_default());
        Ok(whole)
    }

    fn answer(&self, r: &Incoming) -> Option<&Answer> {
        self.open.get(r.0)
    }

    pub fn status(&self, r: &Incoming) -> u16 {
        self.answer(r).map_or(0, |a| a.status)
    }

    pub fn headers(&self, r: &Incoming) -> Vec<(String, String)> {
        self.answer(r).map(|a| a.headers.clone()).unwrap_or_default()
    }

    pub fn url(&self, r: &Incoming) -> String {
        self.answer(r).and_then(|a| a.url.clone()).unwrap_or_default()
    }

    pub fn read(&mut self, r: &Incoming, max: u32) -> Result<Vec<u8>, Error> {
        let Some(answer) = self.open.get_mut(r.0) else { return Ok(Vec::new()) };
        let Some(chunk) = answer.chunks.first_mut() else {
            return answer.breaks.take().map_or(Ok(Vec::new()), Err);
        };
        let n = chunk.len().min(usize::try_from(max.min(1 << 20)).unwrap_or(usize::MAX));
        let piece = chunk.drain(..n).collect();
        if chunk.is_empty() {
            answer.chunks.remove(0);
        }
        Ok(piece)
    }

    pub fn to_blob(&mut self, r: &Incoming, max: u64) -> Result<String, Error> {
        self.allow("blob", "blob")?;
        let mut data = Vec::new();
        loop {
            let piece = self.read(r, 1 << 20)?;
            if piece.is_empty() {
                return self.blob_put(&data);
            }
            data.extend(piece);
            if data.len() as u64 > max {
                return Err(Error::Limit(format!("what was answered is longer than {max} bytes")));
            }
        }
    }

    pub fn blob_put(&mut self, data: &[u8]) -> Result<String, Error> {
        use sha2::Digest as _;
        self.allow("blob", "blob")?;
        if data.is_empty() {
            return Err(Error::Limit("a blob has at least 1 byte".to_owned()));
        }
        let digest = sha2::Sha256::digest(data);
        let id = digest.iter().fold(String::new(), |id, byte| format!("{id}{byte:02x}"));
        self.blobs.insert(id.clone(), data.to_vec());
        Ok(id)
    }

    pub fn blob_describe(&self, id: &str) -> Result<blob::Info, Error> {
        self.allow("blob", "blob")?;
        let data = self.blobs.get(id).ok_or_else(|| Error::NotFound(format!("there is no blob `{id}`")))?;
        let begins = |with: &[u8]| data.starts_with(with);
        // Those that tests need; the kernel knows more.
        let mime = match () {
            () if begins(b"\x89PNG") => "image/png",
            () if begins(b"\xff\xd8\xff") => "image/jpeg",
            () if begins(b"%PDF") => "application/pdf",
            () => "application/octet-stream",
        };
        Ok(blob::Info { size: data.len() as u64, mime: mime.to_owned() })
    }

    pub fn blob_read(&self, id: &str, offset: u64, max: u32) -> Result<Vec<u8>, Error> {
        self.blob_describe(id)?;
        let data = self.blobs.get(id).map(Vec::as_slice).unwrap_or_default();
        let rest = data.get(usize::try_from(offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        Ok(rest.iter().take(usize::try_from(max.min(1 << 20)).unwrap_or(usize::MAX)).copied().collect())
    }

    pub fn secret_exists(&self, name: &str) -> Result<bool, Error> {
        self.allow("secrets", "secrets")?;
        if !self.declared.secrets.contains_key(name) {
            return Err(Error::NotFound(format!("the manifest declares no secret `{name}`")));
        }
        Ok(self.secrets.contains_key(name))
    }

    pub fn hmac_sha256(&self, name: &str, data: &[u8]) -> Result<Vec<u8>, Error> {
        use hmac::{KeyInit as _, Mac as _};
        self.secret_exists(name)?;
        if self.declared.secrets.get(name) != Some(&true) {
            return Err(Error::Denied(format!("the secret `{name}` is not declared with `hmac = true`")));
        }
        let Some(key) = self.secrets.get(name) else {
            return Err(Error::NotFound(format!("the secret `{name}` is not set")));
        };
        let mac =
            hmac::Hmac::<sha2::Sha256>::new_from_slice(key.as_bytes()).map_err(|e| Error::Invalid(e.to_string()))?;
        Ok(mac.chain_update(data).finalize().into_bytes().to_vec())
    }

    pub fn emit(&mut self, event: Event) -> Result<(), Error> {
        self.allow("completion", "completion")?;
        if self.cancel_after.is_some_and(|n| self.emitted.len() >= n) {
            return Err(Error::Cancelled);
        }
        self.emitted.push(event);
        Ok(())
    }

    pub fn asset_describe(&self, name: &str) -> Result<assets::Info, Error> {
        use sha2::Digest as _;
        let bytes = self.asset(name)?;
        let digest = sha2::Sha256::digest(&bytes);
        let sha256 = digest.iter().map(|b| format!("{b:02x}")).collect();
        Ok(assets::Info { size: bytes.len() as u64, sha256 })
    }

    pub fn asset_read(&self, name: &str, offset: u64, max: u32) -> Result<Vec<u8>, Error> {
        let unreadable = |e: std::io::Error| Error::Unavailable(format!("the asset `{name}`: {e}"));
        let max = u64::from(max.min(1 << 20));
        self.allow("assets", "assets")?;
        if let Some(Asset::File(path)) = self.assets.get(name) {
            use std::io::{Read as _, Seek as _};
            let mut file = std::fs::File::open(path).map_err(unreadable)?;
            file.seek(std::io::SeekFrom::Start(offset)).map_err(unreadable)?;
            let mut out = Vec::new();
            file.take(max).read_to_end(&mut out).map_err(unreadable)?;
            return Ok(out);
        }
        let bytes = self.asset(name)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start.saturating_add(usize::try_from(max).unwrap_or(usize::MAX)).min(bytes.len());
        Ok(bytes.get(start..end).unwrap_or_default().to_vec())
    }

    fn asset(&self, name: &str) -> Result<Vec<u8>, Error> {
        self.allow("assets", "assets")?;
        match self.assets.get(name) {
            Some(Asset::Bytes(bytes)) => Ok(bytes.clone()),
            Some(Asset::File(path)) => std::fs::read(path)
                .map_err(|e| Error::Unavailable(format!("the asset `{name}`: {}: {e}", path.display()))),
            None => Err(Error::NotFound(format!("the asset `{name}` is not on this machine"))),
        }
    }

    pub fn memory_read(&self, key: &str) -> Result<Option<memory::Note>, Error> {
        self.allow("memory", "memory:read")?;
        super::pairs::check_key(key)?;
        Ok(self.memory.iter().find(|n| n.key == key).cloned())
    }

    pub fn memory_write(&mut self, key: &str, text: &str) -> Result<(), Error> {
        self.allow("memory", "memory")?;
        super::pairs::check_key(key)?;
        if text.len() > 64 << 10 {
            return Err(Error::Limit(format!("a note has at most 65536 bytes, not {}", text.len())));
        }
        self.note(key, text, false);
        Ok(())
    }

    pub fn note(&mut self, key: &str, text: &str, tainted: bool) {
        self.memory.retain(|n| n.key != key);
        let (key, text, updated_ms) = (key.to_owned(), text.to_owned(), self.now_ms);
        self.memory.push(memory::Note { key, text, updated_ms, tainted, extra: Vec::new() });
    }

    pub fn memory_delete(&mut self, key: &str) -> Result<bool, Error> {
        self.allow("memory", "memory")?;
        let there = self.memory_read(key)?.is_some();
        self.memory.retain(|n| n.key != key);
        Ok(there)
    }

    pub fn memory_list(&self, limit: u32) -> Result<Vec<memory::Note>, Error> {
        self.allow("memory", "memory:read")?;
        Ok(self.memory.iter().rev().take(limit.min(1_000) as usize).cloned().collect())
    }

    /// By how many of the words a note holds; among equals, the newest first.
    pub fn memory_search(&self, query: &str, limit: u32) -> Result<Vec<memory::Note>, Error> {
        self.allow("memory", "memory:read")?;
        let words = |text: &str| -> Vec<String> {
            let split = text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty());
            split.map(str::to_lowercase).collect()
        };
        let wanted = words(query);
        let mut found: Vec<(usize, &memory::Note)> = self
            .memory
            .iter()
            .rev()
            .map(|n| {
                let held = words(&format!("{} {}", n.key, n.text));
                (wanted.iter().filter(|w| held.contains(w)).count(), n)
            })
            .filter(|(score, _)| *score > 0)
            .collect();
        found.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
        Ok(found.into_iter().take(limit.min(100) as usize).map(|(_, n)| n.clone()).collect())
    }

    pub fn sessions_list(&self, limit: u32) -> Result<Vec<sessions::Session>, Error> {
        self.allow("sessions", "sessions")?;
        let mut all: Vec<sessions::Session> = self.sessions.iter().map(|(s, _)| s.clone()).collect();
        all.sort_by_key(|s| std::cmp::Reverse(s.updated_ms));
        all.truncate(limit.min(100) as usize);
        Ok(all)
    }

    pub fn sessions_read(&self, session: &str, limit: u32) -> Result<Vec<sessions::Entry>, Error> {
        self.allow("sessions", "sessions")?;
        let Some((_, entries)) = self.sessions.iter().find(|(s, _)| s.id == session) else {
            return Err(Error::NotFound(format!("there is no session `{session}`")));
        };
        let from = entries.len().saturating_sub(limit.min(200) as usize);
        Ok(entries.get(from..).unwrap_or_default().to_vec())
    }

    pub fn request_install(&mut self, name: &str, reason: &str) -> Result<String, Error> {
        self.allow("requests", "requests")?;
        self.requests.push((name.to_owned(), reason.to_owned()));
        Ok(format!("request-{}", self.requests.len()))
    }

    pub fn message_send(&mut self, target: &str, text: &str) -> Result<String, Error> {
        self.allow("message", "message")?;
        if !self.targets.contains(target) {
            return Err(Error::NotFound(format!("there is no target `{target}`")));
        }
        self.messages.push((target.to_owned(), text.to_owned()));
        Ok(format!("{target}, through a channel"))
    }

    pub fn line_write(&mut self, client: &str, key: &str, text: &str) -> Result<(), Error> {
        self.allow("lines", "lines")?;
        if !self.programs.contains(client) {
            return Err(Error::Unavailable(format!("nobody is attached as `{client}`")));
        }
        self.written.push((client.to_owned(), key.to_owned(), text.to_owned()));
        Ok(())
    }

    pub fn settings_read(&self, path: &str) -> Result<Option<String>, Error> {
        self.allow("settings", "settings")?;
        let steps = path.split('.').filter(|s| !s.is_empty());
        let found = steps.into_iter().try_fold(&self.settings, |at: &Value, step| at.get(step));
        Ok(found.map(Value::to_string))
    }
}
