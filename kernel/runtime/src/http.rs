//! `http` over any [`Guest`]: stores differ in who sends, and in nothing else.

use crate::bindings::{HttpResponse, http, types};
use crate::state::{Core, Guest};
use std::future::Future;
use std::marker::PhantomData;
use wasmtime::Result;
use wasmtime::component::{HasData, Resource};

/// Sends requests for a guest. The runtime counts the calls, keeps the responses and hands out their bodies.
pub trait Sends: Guest {
    /// `http.send`. The call is counted already.
    ///
    /// # Errors
    /// Outside: a [`Stop`](crate::Stop) that ends the guest. Inside: what the guest is told.
    fn send(
        &mut self,
        request: http::Request,
    ) -> impl Future<Output = Result<std::result::Result<HttpResponse, http::Failure>>> + Send;

    /// Whether the next piece of a body may be read; a revocation bites in mid-body, too.
    ///
    /// # Errors
    /// What the guest is told instead.
    fn may_read(&mut self) -> std::result::Result<(), types::Error> {
        Ok(())
    }
}

/// A store's state as the implementation of `http`.
pub(crate) struct Http<'a, T>(pub(crate) &'a mut T);

/// Tells the linker that [`Http`] is made from a `T`.
pub(crate) struct HttpOf<T>(PhantomData<T>);

impl<T: Sends> HasData for HttpOf<T> {
    type Data<'a> = Http<'a, T>;
}

impl<T: Sends> Http<'_, T> {
    fn counted(&mut self) -> Result<&mut Core> {
        let core = self.0.core();
        core.host_call()?;
        Ok(core)
    }
}

impl<T: Sends> http::Host for Http<'_, T> {
    async fn send(
        &mut self,
        request: http::Request,
    ) -> Result<std::result::Result<Resource<HttpResponse>, http::Failure>> {
        self.counted()?;
        Ok(match self.0.send(request).await? {
            Ok(response) => Ok(self.0.core().hold(response)?),
            Err(failure) => Err(failure),
        })
    }
}

impl<T: Sends> http::HostResponse for Http<'_, T> {
    async fn status(&mut self, r: Resource<HttpResponse>) -> Result<u16> {
        Ok(self.counted()?.table().get(&r)?.status)
    }

    async fn headers(&mut self, r: Resource<HttpResponse>) -> Result<Vec<(String, String)>> {
        Ok(self.counted()?.table().get(&r)?.headers.clone())
    }

    async fn url(&mut self, r: Resource<HttpResponse>) -> Result<String> {
        Ok(self.counted()?.table().get(&r)?.url.clone())
    }

    async fn read(
        &mut self,
        r: Resource<HttpResponse>,
        max: u32,
    ) -> Result<std::result::Result<Vec<u8>, types::Error>> {
        self.counted()?;
        if let Err(refused) = self.0.may_read() {
            return Ok(Err(refused));
        }
        let core = self.0.core();
        let read = core.table().get_mut(&r)?.body.read(max).await;
        if let Ok(bytes) = &read {
            core.meter().received(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
        }
        Ok(read)
    }

    async fn to_blob(
        &mut self,
        r: Resource<HttpResponse>,
        max: u64,
    ) -> Result<std::result::Result<String, types::Error>> {
        self.counted()?;
        if let Err(refused) = self.0.may_read() {
            return Ok(Err(refused));
        }
        Ok(self.0.core().table().get_mut(&r)?.body.to_blob(max).await)
    }

    async fn drop(&mut self, r: Resource<HttpResponse>) -> Result<()> {
        self.0.core().table().delete(r)?;
        Ok(())
    }
}
