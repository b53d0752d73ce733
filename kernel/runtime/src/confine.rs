//! What the compile worker does to itself before it reads a byte: it gives up files, network and most of its memory and time.

/// Limits of the worker process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes of private memory.
    pub(crate) memory: u64,
    /// Seconds of CPU.
    pub(crate) cpu: u64,
}

/// Confines this process for good. The result says what holds, and what does not.
pub(crate) fn confine(limits: Limits) -> Result<String, String> {
    resources(limits)?;
    sandbox()
}

#[cfg(unix)]
fn resources(limits: Limits) -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, setrlimit};
    let set = |resource, soft, hard| {
        setrlimit(resource, Rlimit { current: Some(soft), maximum: Some(hard) })
            .map_err(|e| format!("a resource limit could not be set: {e}"))
    };
    // Private writable memory, not address space: allocators and stacks reserve far more than they use.
    #[cfg(target_os = "linux")]
    set(Resource::Data, limits.memory, limits.memory)?;
    #[cfg(not(target_os = "linux"))]
    set(Resource::As, limits.memory.saturating_mul(8), limits.memory.saturating_mul(8))?;
    set(Resource::Cpu, limits.cpu, limits.cpu.saturating_add(1))?;
    set(Resource::Fsize, 0, 0)?;
    set(Resource::Core, 0, 0)?;
    set(Resource::Nofile, 16, 16)
}

#[cfg(not(unix))]
fn resources(_: Limits) -> Result<(), String> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn sandbox() -> Result<String, String> {
    use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetStatus, Scope};
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V6))
        .and_then(|r| r.handle_access(AccessNet::from_all(ABI::V6)))
        .and_then(|r| r.scope(Scope::from_all(ABI::V6)))
        .and_then(Ruleset::create)
        .and_then(landlock::RulesetCreated::restrict_self)
        .map_err(|e| format!("Landlock failed: {e}"))?;
    Ok(match status.ruleset {
        RulesetStatus::FullyEnforced => "full".to_owned(),
        RulesetStatus::PartiallyEnforced => "partial: this Linux is older than Landlock ABI 6".to_owned(),
        RulesetStatus::NotEnforced => "resource limits only: this Linux has no Landlock".to_owned(),
    })
}

#[cfg(not(target_os = "linux"))]
fn sandbox() -> Result<String, String> {
    Ok("resource limits only: this system has no Landlock".to_owned())
}
