//! How many guests may run at once: per class, with a reserve per call depth so that nested calls cannot deadlock.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The deepest call: a component's call of a component's call of ….
pub const MAX_DEPTH: u8 = 4;

/// What a call is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Class {
    /// An event of a channel.
    Ingress,
    /// A completion.
    Provider,
    /// A tool call.
    Tool,
    /// A filter.
    Filter,
}

impl std::fmt::Display for Class {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Ingress => "ingress",
            Self::Provider => "provider",
            Self::Tool => "tool",
            Self::Filter => "filter",
        })
    }
}

/// Permits per class.
#[derive(Debug, Clone, Copy)]
pub struct PermitOptions {
    /// See [`Class::Ingress`].
    pub ingress: u16,
    /// See [`Class::Provider`].
    pub provider: u16,
    /// See [`Class::Tool`].
    pub tool: u16,
    /// See [`Class::Filter`].
    pub filter: u16,
    /// For each depth from 1 to [`MAX_DEPTH`].
    pub reserve: u16,
}

impl Default for PermitOptions {
    fn default() -> Self {
        Self { ingress: 16, provider: 32, tool: 32, filter: 16, reserve: 8 }
    }
}

impl PermitOptions {
    /// Stores that can be alive at once, kept ones aside.
    pub(crate) fn total(&self) -> u32 {
        [self.ingress, self.provider, self.tool, self.filter].iter().map(|n| u32::from(*n)).sum::<u32>()
            + u32::from(self.reserve) * u32::from(MAX_DEPTH)
    }
}

/// How a call gets in.
#[derive(Debug, Clone, Copy)]
pub struct Admission {
    /// What it is for.
    pub class: Class,
    /// 0 for a call of the kernel's own, one more for each component in between.
    pub depth: u8,
    /// The longest wait for a permit.
    pub wait: Duration,
    /// See [`Self::in_place`].
    pub(crate) in_place: bool,
}

impl Admission {
    /// A call of the kernel's own that waits at most 30 s for its permit.
    pub fn new(class: Class) -> Self {
        Self { class, depth: 0, wait: Duration::from_secs(30), in_place: false }
    }
    /// At another depth.
    #[must_use]
    pub fn at_depth(self, depth: u8) -> Self {
        Self { depth, ..self }
    }
    /// For a task that runs where guests run ([`Engines::spawn`](crate::Engines::spawn)): the call is part of it, and is not handed to another
    /// thread and back. Not from within a guest's call, whose stack is bounded.
    #[must_use]
    pub fn in_place(self) -> Self {
        Self { in_place: true, ..self }
    }
    /// With another longest wait.
    #[must_use]
    pub fn waiting(self, wait: Duration) -> Self {
        Self { wait, ..self }
    }
}

#[derive(Debug)]
pub(crate) struct Permits {
    ingress: Arc<Semaphore>,
    provider: Arc<Semaphore>,
    tool: Arc<Semaphore>,
    filter: Arc<Semaphore>,
    reserve: Vec<Arc<Semaphore>>,
}

impl Permits {
    pub(crate) fn new(o: PermitOptions) -> Self {
        let make = |n: u16| Arc::new(Semaphore::new(usize::from(n.max(1))));
        Self {
            ingress: make(o.ingress),
            provider: make(o.provider),
            tool: make(o.tool),
            filter: make(o.filter),
            reserve: (0..MAX_DEPTH).map(|_| make(o.reserve)).collect(),
        }
    }

    /// Waits for ever; the caller sets the deadline. `None`: too deep.
    pub(crate) async fn acquire(&self, class: Class, depth: u8) -> Option<OwnedSemaphorePermit> {
        let semaphore = match depth.checked_sub(1) {
            Some(index) => self.reserve.get(usize::from(index))?,
            None => match class {
                Class::Ingress => &self.ingress,
                Class::Provider => &self.provider,
                Class::Tool => &self.tool,
                Class::Filter => &self.filter,
            },
        };
        semaphore.clone().acquire_owned().await.ok()
    }
}
