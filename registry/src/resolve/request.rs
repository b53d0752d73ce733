//! `NAME`, `PUBLISHER/NAME`, each perhaps with `@REQUIREMENT`.

use crate::error::RegistryError;
use carapace_contract::{ComponentId, Name};
use semver::{Op, Version, VersionReq};
use std::fmt;
use std::str::FromStr;

/// What somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// By whom, as this machine calls them; none = by anybody, if it is only one.
    pub publisher: Option<Name>,
    /// The component's name.
    pub name: Name,
    requirement: Option<VersionReq>,
}

impl Request {
    /// Any version of a component.
    pub fn of(id: ComponentId) -> Self {
        Self { publisher: Some(id.publisher), name: id.name, requirement: None }
    }

    /// Whether a version fits. Without a requirement every one does that is no pre-release.
    pub fn accepts(&self, version: &Version) -> bool {
        self.requirement.as_ref().map_or(version.pre.is_empty(), |r| r.matches(version))
    }

    /// Exactly one version was named: `@=1.2.3`.
    pub fn is_exact(&self) -> bool {
        self.requirement.as_ref().is_some_and(
            |r| matches!(r.comparators.as_slice(), [c] if c.op == Op::Exact && c.minor.is_some() && c.patch.is_some()),
        )
    }

    /// The requirement as text; `*` if there is none.
    pub fn requirement(&self) -> String {
        self.requirement.as_ref().map_or_else(|| "*".to_owned(), ToString::to_string)
    }
}

impl FromStr for Request {
    type Err = RegistryError;
    fn from_str(s: &str) -> Result<Self, RegistryError> {
        let bad = |why: String| RegistryError::Request(s.chars().take(160).collect(), why);
        let (component, requirement) = match s.split_once('@') {
            Some((component, requirement)) => {
                (component, Some(requirement.parse::<VersionReq>().map_err(|e| bad(format!("`{requirement}`: {e}")))?))
            }
            None => (s, None),
        };
        let (publisher, name) = match component.split_once('/') {
            Some((publisher, name)) => (Some(publisher), name),
            None => (None, component),
        };
        let publisher = publisher.map(str::parse::<Name>).transpose().map_err(|e| bad(e.to_string()))?;
        let name = name.parse().map_err(|e: carapace_contract::NameError| bad(e.to_string()))?;
        Ok(Self { publisher, name, requirement })
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(publisher) = &self.publisher {
            write!(f, "{publisher}/")?;
        }
        write!(f, "{}", self.name)?;
        self.requirement.as_ref().map_or(Ok(()), |r| write!(f, "@{r}"))
    }
}
