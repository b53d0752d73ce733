//! What the macro needs of `carapace.toml`. Whether the whole of it is valid is checked when the package is built.

use std::fmt::Write as _;
use std::path::Path;
use toml::{Table, Value};

/// A manifest, as far as code depends on it.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Manifest {
    name: String,
    sections: Vec<String>,
    kv_schema: u32,
    endpoints: Vec<(String, Vec<String>)>,
    public_http: bool,
    secrets: Vec<(String, bool)>,
    pub(crate) tools: Vec<(String, Vec<String>)>,
    pub(crate) provider: bool,
    pub(crate) channel: bool,
    warm: bool,
}

/// Reads the file; the error says what to do.
pub(crate) fn read(path: &Path) -> Result<Manifest, String> {
    let text = std::fs::read_to_string(path).map_err(|e| {
        format!(
            "component! reads the manifest while compiling, and cannot: {}: {e}; put a carapace.toml beside Cargo.toml",
            path.display()
        )
    })?;
    parse(&text).map_err(|e| format!("{}: {e}", path.display()))
}

fn parse(text: &str) -> Result<Manifest, String> {
    let root: Table = text.parse().map_err(|e: toml::de::Error| e.to_string())?;
    let component = root.get("component").and_then(Value::as_table).ok_or("the section [component] is missing")?;
    let name = component.get("name").and_then(Value::as_str).ok_or("[component] has no `name`")?;
    let mut m = Manifest { name: name.to_owned(), sections: root.keys().cloned().collect(), ..Manifest::default() };
    let schema = root.get("kv").and_then(|kv| kv.get("schema")).and_then(Value::as_integer);
    m.kv_schema = schema.and_then(|n| u32::try_from(n).ok()).unwrap_or(1);
    match root.get("http") {
        Some(Value::String(s)) if s == "public" => m.public_http = true,
        Some(Value::Array(list)) => {
            for endpoint in list.iter().filter_map(Value::as_table) {
                m.public_http |= endpoint.get("public").and_then(Value::as_bool).unwrap_or(false);
                if let Some(name) = endpoint.get("endpoint").and_then(Value::as_str) {
                    m.endpoints.push((name.to_owned(), texts(endpoint.get("methods"))));
                }
            }
        }
        _ => {}
    }
    for (name, secret) in root.get("secrets").and_then(Value::as_table).into_iter().flatten() {
        m.secrets.push((name.clone(), secret.get("hmac").and_then(Value::as_bool).unwrap_or(false)));
    }
    for tool in root.get("tool").and_then(Value::as_array).into_iter().flatten() {
        let name = tool.get("name").and_then(Value::as_str).ok_or("a [[tool]] has no `name`")?;

        m.tools.push((name.to_owned(), texts(tool.get("uses"))));
    }
    m.provider = root.contains_key("provider");
    m.channel = root.contains_key("channel");
    m.warm = root.get("instance").and_then(|i| i.get("life")).and_then(Value::as_str) == Some("warm");
    Ok(m)
}

fn texts(list: Option<&Value>) -> Vec<String> {
    let items = list.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl Manifest {
    /// It as a Rust expression of the SDK's type.
    pub(crate) fn expression(&self) -> String {
        let mut tools = String::new();
        for (name, uses) in &self.tools {
            let _ = write!(tools, "::carapace_sdk::__private::ToolDecl {{ name: {name:?}, uses: &{uses:?} }}, ");
        }
        let mut endpoints = String::new();
        for (name, methods) in &self.endpoints {
            let _ = write!(endpoints, "({name:?}, &{methods:?}), ");
        }
        format!(
            "::carapace_sdk::__private::Manifest {{ name: {:?}, sections: &{:?}, kv_schema: {}, endpoints: &[{endpoints}], \
             public_http: {}, secrets: &{:?}, tools: &[{tools}], warm: {} }}",
            self.name, self.sections, self.kv_schema, self.public_http, self.secrets, self.warm
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_endpoints_secrets_and_tools_are_read() {
        let m = parse(
            r#"
            [component]
            name = "x"
            [instance]
            life = "warm"
            [secrets.key]
            prompt = "p"
            [secrets.mac]
            hmac = true
            [[http]]
            endpoint = "api"
            methods = ["GET"]
            [[http]]
            public = true
            [kv]
            [[tool]]
            name = "x_do"
            uses = ["http:api", "kv"]
            [[tool]]
            name = "x_be"
            "#,
        )
        .unwrap();
        assert_eq!((m.name.as_str(), m.warm, m.public_http, m.provider), ("x", true, true, false));
        assert_eq!(m.endpoints, [("api".to_owned(), vec!["GET".to_owned()])]);
        assert_eq!(m.secrets, [("key".to_owned(), false), ("mac".to_owned(), true)]);
        assert_eq!(
            m.tools,
            [("x_do".to_owned(), vec!["http:api".to_owned(), "kv".to_owned()]), ("x_be".to_owned(), vec![])]
        );
        assert!(m.sections.iter().any(|s| s == "kv"));
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert!(parse("[component").unwrap_err().contains("line 1"));
        assert!(parse("").unwrap_err().contains("[component]"));
        assert!(parse("[component]\nname = 'x'\n[[tool]]\n").unwrap_err().contains("[[tool]]"));
        assert!(read(Path::new("nowhere/carapace.toml")).unwrap_err().contains("beside Cargo.toml"));
    }
}
