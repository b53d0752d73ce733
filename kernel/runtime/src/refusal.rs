//! What stands in place of an interface that was refused: every function answers `denied`, with the reason and the fix.

use crate::bindings::{
    HttpResponse, assets, blob, completion, http, kv, lines, memory, message, requests, secrets, sessions, settings,
    types,
};
use crate::linker::Interface;
use crate::state::{Core, Guest};
use std::marker::PhantomData;
use wasmtime::Result;
use wasmtime::component::{HasData, Resource};

/// Answers for the kernel where nothing was granted.
pub(crate) struct Refused<'a>(pub(crate) &'a mut Core);

/// Tells the linker that [`Refused`] is made from a `T`.
pub(crate) struct RefusedOf<T>(PhantomData<T>);

impl<T: Guest> HasData for RefusedOf<T> {
    type Data<'a> = Refused<'a>;
}

impl Refused<'_> {
    fn refuse(&mut self, interface: Interface) -> Result<types::Error> {
        self.0.host_call()?;
        Ok(self.0.refuse(interface))
    }
}

impl kv::Host for Refused<'_> {
    async fn get(&mut self, _: String) -> Result<Result<Option<kv::Entry>, types::Error>> {
        self.refuse(Interface::Kv).map(Err)
    }
    async fn set(&mut self, _: String, _: Vec<u8>, _: Option<u64>) -> Result<Result<u64, types::Error>> {
        self.refuse(Interface::Kv).map(Err)
    }
    async fn delete(&mut self, _: String) -> Result<Result<bool, types::Error>> {
        self.refuse(Interface::Kv).map(Err)
    }
    async fn keys(&mut self, _: String, _: Option<String>, _: u32) -> Result<Result<Vec<String>, types::Error>> {
        self.refuse(Interface::Kv).map(Err)
    }
    async fn swap(
        &mut self,
        _: String,
        _: Option<u64>,
        _: Vec<u8>,
        _: Option<u64>,
    ) -> Result<Result<bool, types::Error>> {
        self.refuse(Interface::Kv).map(Err)
    }
    async fn schema(&mut self) -> Result<Result<u32, types::Error>> {
        self.refuse(Interface::Kv).map(Err)
    }
    async fn migrated(&mut self) -> Result<Result<(), types::Error>> {
        self.refuse(Interface::Kv).map(Err)
    }
}

impl assets::Host for Refused<'_> {
    async fn describe(&mut self, _: String) -> Result<Result<assets::Info, types::Error>> {
        self.refuse(Interface::Assets).map(Err)
    }
    async fn read(&mut self, _: String, _: u64, _: u32) -> Result<Result<Vec<u8>, types::Error>> {
        self.refuse(Interface::Assets).map(Err)
    }
}

impl memory::Host for Refused<'_> {
    async fn read(&mut self, _: String) -> Result<Result<Option<memory::Note>, types::Error>> {
        self.refuse(Interface::Memory).map(Err)
    }
    async fn write(&mut self, _: String, _: String) -> Result<Result<(), types::Error>> {
        self.refuse(Interface::Memory).map(Err)
    }
    async fn delete(&mut self, _: String) -> Result<Result<bool, types::Error>> {
        self.refuse(Interface::Memory).map(Err)
    }
    async fn list(&mut self, _: u32) -> Result<Result<Vec<memory::Note>, types::Error>> {
        self.refuse(Interface::Memory).map(Err)
    }
    async fn search(&mut self, _: String, _: u32) -> Result<Result<Vec<memory::Note>, types::Error>> {
        self.refuse(Interface::Memory).map(Err)
    }
}

impl sessions::Host for Refused<'_> {
    async fn list(&mut self, _: u32) -> Result<Result<Vec<sessions::Session>, types::Error>> {
        self.refuse(Interface::Sessions).map(Err)
    }
    async fn read(&mut self, _: String, _: u32) -> Result<Result<Vec<sessions::Entry>, types::Error>> {
        self.refuse(Interface::Sessions).map(Err)
    }
}

impl settings::Host for Refused<'_> {
    async fn read(&mut self, _: String) -> Result<Result<Option<String>, types::Error>> {
        self.refuse(Interface::Settings).map(Err)
    }
}

impl blob::Host for Refused<'_> {
    async fn put(&mut self, _: Vec<u8>) -> Result<Result<String, types::Error>> {
        self.refuse(Interface::Blob).map(Err)
    }
    async fn describe(&mut self, _: String) -> Result<Result<blob::Info, types::Error>> {
        self.refuse(Interface::Blob).map(Err)
    }
    async fn read(&mut self, _: String, _: u64, _: u32) -> Result<Result<Vec<u8>, types::Error>> {
        self.refuse(Interface::Blob).map(Err)
    }
}

impl message::Host for Refused<'_> {
    async fn send(&mut self, _: String, _: String) -> Result<Result<String, types::Error>> {
        self.refuse(Interface::Message).map(Err)
    }
}

impl lines::Host for Refused<'_> {
    async fn write(&mut self, _: String, _: String, _: String) -> Result<Result<(), types::Error>> {
        self.refuse(Interface::Lines).map(Err)
    }
}

impl requests::Host for Refused<'_> {
    async fn install(&mut self, _: String, _: String) -> Result<Result<String, types::Error>> {
        self.refuse(Interface::Requests).map(Err)
    }
}

impl secrets::Host for Refused<'_> {
    async fn exists(&mut self, _: String) -> Result<Result<bool, types::Error>> {
        self.refuse(Interface::Secrets).map(Err)
    }
    async fn hmac_sha256(&mut self, _: String, _: Vec<u8>) -> Result<Result<Vec<u8>, types::Error>> {
        self.refuse(Interface::Secrets).map(Err)
    }
}

impl completion::Host for Refused<'_> {
    async fn emit(&mut self, _: completion::Event) -> Result<Result<(), types::Error>> {
        self.refuse(Interface::Completion).map(Err)
    }
}

impl http::Host for Refused<'_> {
    async fn send(&mut self, _: http::Request) -> Result<Result<Resource<HttpResponse>, http::Failure>> {
        let error = self.refuse(Interface::Http)?;
        Ok(Err(http::Failure { error, sent: false }))
    }
}

// No response is ever handed out, so a handle that gets here is an engine error; the table says so.
impl http::HostResponse for Refused<'_> {
    async fn status(&mut self, r: Resource<HttpResponse>) -> Result<u16> {
        Ok(self.0.table().get(&r)?.status)
    }
    async fn headers(&mut self, r: Resource<HttpResponse>) -> Result<Vec<(String, String)>> {
        Ok(self.0.table().get(&r)?.headers.clone())
    }
    async fn url(&mut self, r: Resource<HttpResponse>) -> Result<String> {
        Ok(self.0.table().get(&r)?.url.clone())
    }
    async fn read(&mut self, r: Resource<HttpResponse>, _: u32) -> Result<Result<Vec<u8>, types::Error>> {
        self.0.table().get(&r)?;
        self.refuse(Interface::Http).map(Err)
    }
    async fn to_blob(&mut self, r: Resource<HttpResponse>, _: u64) -> Result<Result<String, types::Error>> {
        self.0.table().get(&r)?;
        self.refuse(Interface::Http).map(Err)
    }
    async fn drop(&mut self, r: Resource<HttpResponse>) -> Result<()> {
        self.0.table().delete(r)?;
        Ok(())
    }
}
