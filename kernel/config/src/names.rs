//! Names in the file that need parsing: `openai`, `openai:vllm`, `openai:vllm/some/model`.

use carapace_contract::{InstanceId, Name, NameError};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A key of `instances`: `<component>` or `<component>:<id>`. The publisher is not part of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct InstanceKey {
    /// The component's name.
    pub component: Name,
    /// The instance, `main` if none was written.
    pub id: Name,
}

impl InstanceKey {
    /// Whether `instance` is the one meant (of whatever publisher).
    pub fn matches(&self, instance: &InstanceId) -> bool {
        &self.component == instance.name() && &self.id == instance.id()
    }
}

impl FromStr for InstanceKey {
    type Err = NameError;
    fn from_str(s: &str) -> Result<Self, NameError> {
        match s.split_once(':') {
            None => Ok(Self { component: s.parse()?, id: Name::main() }),
            Some((component, id)) => Ok(Self { component: component.parse()?, id: id.parse()? }),
        }
    }
}

impl TryFrom<String> for InstanceKey {
    type Error = NameError;
    fn try_from(s: String) -> Result<Self, NameError> {
        s.parse()
    }
}

impl From<InstanceKey> for String {
    fn from(k: InstanceKey) -> Self {
        k.to_string()
    }
}

impl fmt::Display for InstanceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.id == Name::main() {
            write!(f, "{}", self.component)
        } else {
            write!(f, "{}:{}", self.component, self.id)
        }
    }
}

/// A model as people write it: `<component>/<model>` or `<component>:<instance>/<model>`; the model may hold further `/`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName {
    /// The provider instance.
    pub instance: InstanceKey,
    /// The provider's own id of the model.
    pub model: String,
}

impl FromStr for ModelName {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let form = "write `<component>/<model>` or `<component>:<instance>/<model>`, e.g. `openai/gpt-5-mini`";
        match s.split_once('/') {
            Some((instance, model)) if !model.trim().is_empty() => {
                let instance = instance.parse().map_err(|e: NameError| format!("{e}; {form}"))?;
                Ok(Self { instance, model: model.to_owned() })
            }
            _ => Err(format!("`{}` names no model; {form}", s.chars().take(120).collect::<String>())),
        }
    }
}

impl TryFrom<String> for ModelName {
    type Error = String;
    fn try_from(s: String) -> Result<Self, String> {
        s.parse()
    }
}

impl From<ModelName> for String {
    fn from(m: ModelName) -> Self {
        m.to_string()
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.instance, self.model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_may_hold_slashes_and_names_its_instance() {
        let m: ModelName = "openai:vllm/org/model".parse().unwrap();
        assert_eq!(m.instance.id.as_str(), "vllm");
        assert_eq!(m.model, "org/model");
        assert_eq!(m.to_string(), "openai:vllm/org/model");
        assert_eq!("openai:main/x".parse::<ModelName>().unwrap().to_string(), "openai/x");
    }

    #[test]
    fn a_bare_model_name_is_refused_with_the_form_to_write() {
        let e = "gpt-5".parse::<ModelName>().unwrap_err();
        assert!(e.contains("<component>/<model>"), "{e}");
        assert!("openai/".parse::<ModelName>().is_err());
    }
}
