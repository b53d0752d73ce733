//! The one checkpoint for every tool call: effects × origin × taint × arguments → allow, ask, deny.
//!
//! Dispatch takes [`Authorized`], and only [`authorize`] makes one.

use crate::channel::Place;
use crate::denial::Denial;
use crate::digest::Digest;
use crate::name::InstanceId;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a tool call can do to the world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Effect {
    /// Reads the owner's things.
    Read = 1,
    /// Gets something from outside; its result is tainted.
    Fetch = 2,
    /// Changes the owner's things.
    Write = 4,
    /// Lets something leave: a message, a form, any non-GET request.
    Send = 8,
    /// Runs a program.
    Execute = 16,
}

impl Effect {
    /// All, in order.
    pub const ALL: [Self; 5] = [Self::Read, Self::Fetch, Self::Write, Self::Send, Self::Execute];
    /// Its word in a manifest.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Fetch => "fetch",
            Self::Write => "write",
            Self::Send => "send",
            Self::Execute => "execute",
        }
    }
}

/// A set of [`Effect`]s. Empty: the tool only computes.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Vec<Effect>", into = "Vec<Effect>")]
pub struct Effects(u8);

impl Effects {
    /// The empty set.
    pub const NONE: Self = Self(0);
    /// Adds one.
    #[must_use]
    pub fn with(self, e: Effect) -> Self {
        Self(self.0 | e as u8)
    }
    /// Holds it.
    pub fn has(self, e: Effect) -> bool {
        self.0 & e as u8 != 0
    }
    /// Both sets.
    #[must_use]
    pub fn union(self, o: Self) -> Self {
        Self(self.0 | o.0)
    }
    /// In `self`, not in `o`.
    #[must_use]
    pub fn minus(self, o: Self) -> Self {
        Self(self.0 & !o.0)
    }
    /// No effect at all.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
    /// The effects, in order.
    pub fn iter(self) -> impl Iterator<Item = Effect> {
        Effect::ALL.into_iter().filter(move |e| self.has(*e))
    }
}

impl From<Vec<Effect>> for Effects {
    fn from(v: Vec<Effect>) -> Self {
        v.into_iter().fold(Self::NONE, Self::with)
    }
}
impl From<Effects> for Vec<Effect> {
    fn from(e: Effects) -> Self {
        e.iter().collect()
    }
}
impl fmt::Display for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<_> = self.iter().map(Effect::as_str).collect();
        f.write_str(if words.is_empty() { "none" } else { return f.write_str(&words.join(", ")) })
    }
}
impl fmt::Debug for Effects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Effects({self})")
    }
}

/// Who is behind a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Origin {
    /// The owner, authenticated here.
    Owner,
    /// A client holding the owner's API token.
    ApiClient,
    /// Someone the owner paired.
    PairedUser,
    /// A member of a group.
    GroupMember,
    /// Anyone else.
    UnknownSender,
    /// A webhook.
    Webhook,
    /// A schedule.
    Schedule,
}

impl Origin {
    /// The owner speaks, here or through a client of theirs.
    pub fn is_owner(self) -> bool {
        matches!(self, Self::Owner | Self::ApiClient)
    }

    /// The owner speaks, or something the owner set up.
    pub fn acts_for_owner(self) -> bool {
        self.is_owner() || self == Self::Schedule
    }
}

/// A call that was planned: which tool of which instance, with which arguments (already valid against the schema).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedCall {
    /// The run it belongs to.
    pub run: ulid::Ulid,
    /// The session.
    pub session: String,
    /// Unique; the same when the kernel repeats the call after a crash.
    pub call_id: String,
    /// The instance that runs it.
    pub instance: InstanceId,
    /// The package's digest when it was planned.
    pub digest: Digest,
    /// The tool.
    pub tool: String,
    /// A JSON object, valid against the tool's schema.
    pub arguments: serde_json::Value,
    /// What it can do.
    pub effects: Effects,
    /// Who is behind the turn. In a log older than this field: nobody who may do anything.
    #[serde(default = "somebody_unknown")]
    pub origin: Origin,
    /// Whether the composed context holds text from outside.
    #[serde(default = "presumed_tainted")]
    pub tainted: bool,
    /// Where the turn takes place, if on a chat platform.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub place: Option<Place>,
    /// An argument names another conversation than the turn's own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub elsewhere: bool,
}

fn somebody_unknown() -> Origin {
    Origin::UnknownSender
}

fn presumed_tainted() -> bool {
    true
}

/// What the checkpoint looks at besides the call.
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// Text that the owner wrote in this session or that a search tool returned: addresses in it may be fetched by a tainted turn.
    pub trusted_text: Vec<String>,
}

/// Proof that the checkpoint allowed it. Nothing else can make one:
///
/// ```compile_fail,E0603
/// // The field is private, so there is no way round `authorize`.
/// let forged = carapace_contract::decision::Authorized("rm -rf /");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Authorized<T>(T);

impl<T> Authorized<T> {
    /// What was allowed.
    pub fn get(&self) -> &T {
        &self.0
    }
}

/// The checkpoint's answer.
#[derive(Debug, Clone, PartialEq)]
#[allow(clippy::large_enum_variant, reason = "one for each call, and taken apart at once")]
pub enum Verdict {
    /// Go.
    Allow(Authorized<PlannedCall>),
    /// A person must agree first; the denial says why and how.
    Ask(Denial),
    /// No.
    Deny(Denial),
}

/// Decides. The call is given back inside the verdict only if it is allowed.
///
/// Each effect of the call is looked up for the turn's origin, then for its taint; the strictest answer counts.
/// A call without effects only computes, and is always allowed. Nobody but the owner acts in another conversation than the turn's own.
pub fn authorize(call: PlannedCall, circumstances: &Circumstances) -> Verdict {
    if call.elsewhere && !call.origin.acts_for_owner() {
        return Verdict::Deny(Why::Elsewhere.denial(&call, "is not allowed"));
    }
    let mut strictest = Ruling::Allow;
    for effect in call.effects.iter() {
        let mut rulings = vec![by_origin(call.origin, effect)];
        if call.tainted {
            rulings.push(by_taint(effect, &call.arguments, &circumstances.trusted_text));
        }
        for ruling in rulings {
            if ruling.strictness() > strictest.strictness() {
                strictest = ruling;
            }
        }
    }
    match strictest {
        Ruling::Allow => Verdict::Allow(Authorized(call)),
        Ruling::Ask(why) => Verdict::Ask(why.denial(&call, "needs approval")),
        Ruling::Deny(why) => Verdict::Deny(why.denial(&call, "is not allowed")),
    }
}

/// The table: who is behind the turn × what the call can do.
fn by_origin(origin: Origin, effect: Effect) -> Ruling {
    use Effect::{Execute, Fetch, Read, Send, Write};
    use Origin::{ApiClient, GroupMember, Owner, PairedUser, Schedule, UnknownSender, Webhook};
    let allow = Ruling::Allow;
    let ask = |code, who| Ruling::Ask(Why::Origin { code, who, effect });
    let deny = |code, who| Ruling::Deny(Why::Origin { code, who, effect });
    match (origin, effect) {
        (_, Read) => allow,

        (Owner | ApiClient, Fetch | Write | Send) => allow,
        (Owner | ApiClient, Execute) => ask("E-CHECK-001", "even the owner confirms each program"),

        (PairedUser, Fetch | Write | Send) => allow,
        (PairedUser, Execute) => deny("E-CHECK-002", "a paired user is behind the turn"),

        (GroupMember, Fetch) => allow,
        (GroupMember, Write | Send) => ask("E-CHECK-003", "a member of a group is behind the turn"),
        (GroupMember, Execute) => deny("E-CHECK-004", "a member of a group is behind the turn"),

        (Schedule, Fetch | Write | Send) => allow,
        (Schedule, Execute) => deny("E-CHECK-005", "a schedule is behind the turn"),

        (Webhook, Fetch) => ask("E-CHECK-006", "a webhook is behind the turn"),
        (Webhook, Write | Send | Execute) => deny("E-CHECK-007", "a webhook is behind the turn"),

        (UnknownSender, Fetch | Write | Send | Execute) => {
            deny("E-CHECK-008", "an unknown sender is behind the turn, who may only read")
        }
    }
}

/// The second table: what a turn that holds text from outside may still do.
fn by_taint(effect: Effect, arguments: &serde_json::Value, trusted_text: &[String]) -> Ruling {
    match effect {
        Effect::Read => Ruling::Allow,
        Effect::Fetch => match addresses::first_untrusted(arguments, trusted_text) {
            None => Ruling::Allow,
            Some(address) => Ruling::Ask(Why::TaintedAddress { address }),
        },
        Effect::Write | Effect::Send | Effect::Execute => Ruling::Ask(Why::Taint { effect }),
    }
}

enum Ruling {
    Allow,
    Ask(Why),
    Deny(Why),
}

impl Ruling {
    fn strictness(&self) -> u8 {
        match self {
            Self::Allow => 0,
            Self::Ask(_) => 1,
            Self::Deny(_) => 2,
        }
    }
}

enum Why {
    Origin { code: &'static str, who: &'static str, effect: Effect },
    Taint { effect: Effect },
    TaintedAddress { address: String },
    Elsewhere,
}

impl Why {
    fn denial(self, call: &PlannedCall, verdict: &str) -> Denial {
        const APPROVAL: &str = "an approval at the CLI or the web page (this version cannot ask for one yet)";
        let tool = &call.tool;
        match self {
            Self::Origin { code, who, effect } => {
                let fix = match (verdict, effect) {
                    ("needs approval", _) => APPROVAL,
                    (_, Effect::Execute) => "",
                    _ => "ask for it as the owner",
                };
                Denial::new(code, format!("`{tool}` {verdict}, because it can {} and {who}", effect.as_str()), fix)
            }
            Self::Taint { effect } => Denial::new(
                "E-CHECK-010",
                format!(
                    "`{tool}` {verdict}, because it can {} and this conversation holds text from outside",
                    effect.as_str()
                ),
                "ask again in a new session that holds no text from outside",
            ),
            Self::Elsewhere => Denial::new(
                "E-CHECK-012",
                format!("`{tool}` {verdict}, because it would act in another conversation than this one"),
                "leave out the argument that names it, or ask for it as the owner",
            ),
            Self::TaintedAddress { address } => {
                let shown: String = address.chars().take(200).collect();
                Denial::new(
                    "E-CHECK-011",
                    format!(
                        "`{tool}` {verdict}, because this conversation holds text from outside \
                         and `{shown}` stands neither in a message of the owner nor in a search result"
                    ),
                    format!("write the address `{shown}` in a message of your own"),
                )
            }
        }
    }
}

mod addresses;
#[cfg(test)]
mod tests;
