//! Names. Parsed once; what holds a [`Name`] holds a valid one.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a name was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{value}` is not a {kind}: {rule}")]
pub struct NameError {
    value: String,
    kind: &'static str,
    rule: &'static str,
}

/// `[a-z0-9-]`, 1 to 64 bytes, starting and ending with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Name(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The id of an instance that nobody named: `main`.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    fn check(s: &str) -> bool {
        let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
        s.len() <= 64
            && ends(s.chars().next())
            && ends(s.chars().next_back())
            && s.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        if Self::check(s) {
            Ok(Self(s.to_owned()))
        } else {
            Err(NameError {
                value: s.chars().take(80).collect(),
                kind: "name",
                rule: "1 to 64 of a-z, 0-9 and `-`, starting and ending with a letter or digit",
            })
        }
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<Name> for String {
    fn from(n: Name) -> Self {
        n.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a file that belongs to a package: 1 to 64 of letters, digits, `.`, `_` and `-`, not beginning with a dot.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AssetName(String);

impl AssetName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AssetName {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let fits = (1..=64).contains(&s.len())
            && !s.starts_with('.')
            && s.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits {
            return Ok(Self(s.to_owned()));
        }
        Err(NameError {
            value: s.chars().take(80).collect(),
            kind: "file name of an asset",
            rule: "1 to 64 of letters, digits, `.`, `_` and `-`, not beginning with a dot",
        })
    }
}

impl TryFrom<String> for AssetName {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<AssetName> for String {
    fn from(n: AssetName) -> Self {
        n.0
    }
}

impl fmt::Display for AssetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a secret in a manifest.
pub type SecretName = Name;
/// The name of an endpoint, socket or webhook in a manifest.
pub type EndpointName = Name;

/// `publisher/name`: what a signature proves.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ComponentId {
    /// From the signature, never from the file.
    pub publisher: Name,
    /// From the signed manifest.
    pub name: Name,
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.publisher, self.name)
    }
}

impl FromStr for ComponentId {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        let bad = || NameError { value: s.chars().take(160).collect(), kind: "component id", rule: "`publisher/name`" };
        let (publisher, name) = s.split_once('/').ok_or_else(bad)?;
        Ok(Self { publisher: publisher.parse()?, name: name.parse()? })
    }
}

impl TryFrom<String> for ComponentId {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<ComponentId> for String {
    fn from(n: ComponentId) -> Self {
        n.to_string()
    }
}

/// `publisher/name/id`: a named configuration of an installed component. Grants, secrets, kv, limits and meters are keyed by it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceId {
    component: ComponentId,
    id: Name,
}

impl InstanceId {
    /// The instance `id` of `component`.
    pub fn new(component: ComponentId, id: Name) -> Self {
        Self { component, id }
    }
    /// The component it is an instance of.
    pub fn component(&self) -> &ComponentId {
        &self.component
    }
    /// The publisher of that component.
    pub fn publisher(&self) -> &Name {
        &self.component.publisher
    }
    /// The name of that component.
    pub fn name(&self) -> &Name {
        &self.component.name
    }
    /// Its own id, `main` unless the owner named another.
    pub fn id(&self) -> &Name {
        &self.id
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.component, self.id)
    }
}

impl FromStr for InstanceId {
    type Err = NameError;
    /// `publisher/name/id`; `publisher/name` means `main`.
    fn from_str(s: &str) -> Result<Self, NameError> {
        match s.matches('/').count() {
            1 => Ok(Self { component: s.parse()?, id: Name::main() }),
            2 => {
                let (component, id) = s.rsplit_once('/').unwrap_or((s, ""));
                Ok(Self { component: component.parse()?, id: id.parse()? })
            }
            _ => Err(NameError {
                value: s.chars().take(240).collect(),
                kind: "instance id",
                rule: "`publisher/name/id`",
            }),
        }
    }
}

impl TryFrom<String> for InstanceId {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<InstanceId> for String {
    fn from(n: InstanceId) -> Self {
        n.to_string()
    }
}
