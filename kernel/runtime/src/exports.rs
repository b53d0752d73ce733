//! The calls into a component: exports found by their name in the component's version of the contract, with the types of `wit/`.

use crate::binding::name_of;
use crate::bindings::{provider, tools};
use carapace_contract::Contract;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, Instance, InstancePre, Lift, Lower, TypedFunc};

/// Where a component has its exports; found once.
#[derive(Clone, Copy)]
pub(crate) struct Indices {
    /// `list`, `call`
    tools: Option<[ComponentExportIndex; 2]>,
    /// `models`, `complete`
    provider: Option<[ComponentExportIndex; 2]>,
    /// In the order of [`CHANNEL`].
    channel: Option<[ComponentExportIndex; CHANNEL.len()]>,
}

/// The functions of `channel`.
const CHANNEL: [&str; 9] =
    ["describe", "start", "on-event", "split", "render", "send", "edit", "typing", "fetch-media"];

impl Indices {
    pub(crate) fn new<T>(pre: &InstancePre<T>, contract: Contract) -> Self {
        let find = |interface: &str, [first, second]: [&str; 2]| {
            let component = pre.component();
            let instance = component.get_export_index(None, name_of(interface, contract))?;
            let function = |name: &str| component.get_export_index(Some(&instance), name);
            Some([function(first)?, function(second)?])
        };
        let channel = || {
            let component = pre.component();
            let instance = component.get_export_index(None, name_of("channel", contract))?;
            let mut all = Vec::with_capacity(CHANNEL.len());
            for name in CHANNEL {
                all.push(component.get_export_index(Some(&instance), name)?);
            }
            all.try_into().ok()
        };
        Self {
            tools: find("tools", ["list", "call"]),
            provider: find("provider", ["models", "complete"]),
            channel: channel(),
        }
    }
}

/// The exports of a live instance.
pub(crate) struct Exports {
    instance: Instance,
    at: Indices,
}

#[derive(Debug, thiserror::Error)]
#[error("no export `{0}`")]
pub(crate) struct NoExport(pub(crate) &'static str);

/// It has the name, and other types.
#[derive(Debug, thiserror::Error)]
#[error("export `{export}`: {why}")]
pub(crate) struct WrongExport {
    export: &'static str,
    why: String,
}

impl Exports {
    pub(crate) fn new(instance: Instance, at: Indices) -> Self {
        Self { instance, at }
    }

    fn tools(&self) -> wasmtime::Result<[ComponentExportIndex; 2]> {
        self.at.tools.ok_or_else(|| NoExport("tools").into())
    }

    fn provider(&self) -> wasmtime::Result<[ComponentExportIndex; 2]> {
        self.at.provider.ok_or_else(|| NoExport("provider").into())
    }

    fn typed<T, P, R>(
        &self,
        store: &mut Store<T>,
        export: &'static str,
        at: ComponentExportIndex,
    ) -> wasmtime::Result<TypedFunc<P, R>>
    where
        P: ComponentNamedList + Lower,
        R: ComponentNamedList + Lift,
    {
        let wrong = |e: wasmtime::Error| WrongExport { export, why: format!("{e:#}") }.into();
        self.instance.get_typed_func(store, at).map_err(wrong)
    }

    pub(crate) async fn list<T: Send + 'static>(&self, store: &mut Store<T>) -> wasmtime::Result<Vec<tools::Tool>> {
        let [at, _] = self.tools()?;
        let list = self.typed::<T, (), (Vec<tools::Tool>,)>(store, "tools.list", at)?;
        Ok(list.call_async(store, ()).await?.0)
    }

    pub(crate) async fn call<T: Send + 'static>(
        &self,
        store: &mut Store<T>,
        name: &str,
        arguments: &str,
        context: &tools::Context,
    ) -> wasmtime::Result<Result<Vec<tools::Content>, tools::ToolError>> {
        type Arguments<'a> = (&'a str, &'a str, &'a tools::Context);
        let [_, at] = self.tools()?;
        let call = self.typed::<T, Arguments<'_>, (Result<_, _>,)>(store, "tools.call", at)?;
        Ok(call.call_async(store, (name, arguments, context)).await?.0)
    }

    pub(crate) async fn models<T: Send + 'static>(
        &self,
        store: &mut Store<T>,
    ) -> wasmtime::Result<Result<Vec<provider::Model>, provider::Failure>> {
        let [at, _] = self.provider()?;
        let models = self.typed::<T, (), (Result<_, _>,)>(store, "provider.models", at)?;
        Ok(models.call_async(store, ()).await?.0)
    }

    pub(crate) async fn complete<T: Send + 'static>(
        &self,
        store: &mut Store<T>,
        request: &provider::Request,
    ) -> wasmtime::Result<Result<(), provider::Failure>> {
        let [_, at] = self.provider()?;
        let complete = self.typed::<T, (&provider::Request,), (Result<_, _>,)>(store, "provider.complete", at)?;
        Ok(complete.call_async(store, (request,)).await?.0)
    }

    /// Calls a function of `channel`.
    pub(crate) async fn channel<T, P, R>(
        &self,
        store: &mut Store<T>,
        name: &'static str,
        arguments: P,
    ) -> wasmtime::Result<R>
    where
        T: Send + 'static,
        P: ComponentNamedList + Lower + Send + Sync,
        R: 'static,
        (R,): ComponentNamedList + Lift + Send + Sync,
    {
        let all = self.at.channel.as_ref().ok_or(NoExport("channel"))?;
        let at = CHANNEL.iter().position(|n| *n == name).and_then(|n| all.get(n)).ok_or(NoExport("channel"))?;
        let function = self.typed::<T, P, (R,)>(store, name, *at)?;
        Ok(function.call_async(store, arguments).await?.0)
    }
}
