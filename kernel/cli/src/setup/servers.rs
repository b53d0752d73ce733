//! Model servers that run on this machine. Each is asked once for its list of models, through `egress::local::probe`.

use super::known::set;
use carapace_config::Env;
use carapace_egress::local::probe;
use futures::future::join_all;
use serde_json::Value;

/// Where servers listen unless told otherwise, and what an instance for them is called. A port says what is *usual* there;
/// the answer to `/v1/models` says whether it is a model server.
const USUAL: [(u16, &str, &str); 6] = [
    (8080, "llama-cpp", "llama.cpp, llamafile, LocalAI or MLX"),
    (1234, "lm-studio", "LM Studio"),
    (8000, "vllm", "vLLM"),
    (1337, "jan", "Jan"),
    (5001, "kobold-cpp", "KoboldCpp"),
    (30000, "sglang", "SGLang"),
];
/// Ollama's own port.
const OLLAMA: u16 = 11434;

/// A server with an OpenAI-compatible door.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Server {
    /// For an instance's id.
    pub id: String,
    /// For people.
    pub title: String,
    /// Up to and including `/v1`.
    pub base: String,
    pub answer: Answer,
    /// The owner named it: on the command line, or in a variable.
    pub named: bool,
}

/// What a server said when it was asked for its models.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// These, without those that only embed or rank text.
    Models(Vec<String>),
    /// That it wants a key.
    WantsKey,
    /// Nothing, or something else than a model server says; why.
    Nothing(String),
}

/// The usual ports, the addresses in `named`, and Ollama's own door of this kind at `ollama` (unless a component speaks to it).
/// Servers that nobody named and that do not answer are left out.
pub(crate) async fn servers(named: &[String], ollama: Option<(String, Option<&str>)>) -> Vec<Server> {
    let own =
        |(base, by): (String, Option<&str>)| (format!("{base}/v1"), "ollama".into(), "Ollama".into(), by.is_some());
    let usual = USUAL.iter().map(|(port, id, title)| {
        let base = format!("http://127.0.0.1:{port}/v1");
        (base, (*id).to_owned(), (*title).to_owned(), false)
    });
    let named = named.iter().map(|base| {
        let base = with_v1(base);
        let id = USUAL.iter().find(|(port, ..)| base.ends_with(&format!(":{port}/v1"))).map_or("server", |u| u.1);
        (base, id.to_owned(), "named with --server".to_owned(), true)
    });
    let asked = named.chain(ollama.map(own)).chain(usual).map(|(base, id, title, named)| async move {
        Server { answer: models(&base, "/models").await, id, title, base, named }
    });
    let mut found: Vec<Server> = Vec::new();
    for server in join_all(asked).await {
        let told = server.named || !matches!(server.answer, Answer::Nothing(_));
        if told && found.iter().all(|s| s.base != server.base) {
            let taken =
                found.iter().filter(|s| s.id == server.id || s.id.starts_with(&format!("{}-", server.id))).count();
            let id = if taken == 0 { server.id } else { format!("{}-{}", server.id, taken + 1) };
            found.push(Server { id, ..server });
        }
    }
    found
}

/// What the server below `base` offers, by its list at `path`. OpenAI's and Anthropic's have the same shape.
pub(crate) async fn models(base: &str, path: &str) -> Answer {
    match probe(base, path).await {
        Err(e) => Answer::Nothing(e.to_string()),
        Ok(answer) if matches!(answer.status, 401 | 403) => Answer::WantsKey,
        Ok(answer) => match answer.body.get("data").and_then(Value::as_array) {
            Some(list) if answer.status == 200 => Answer::Models(names(list, "id")),
            _ => Answer::Nothing(format!("`{base}{path}` answered {}, and not with a list of models", answer.status)),
        },
    }
}

/// Ollama's models, the one changed last first. Its list is at `/api/tags`: <https://docs.ollama.com/api/tags>.
pub(crate) async fn ollama(base: &str) -> Answer {
    match probe(base, "/api/tags").await {
        Err(e) => Answer::Nothing(e.to_string()),
        Ok(answer) if matches!(answer.status, 401 | 403) => Answer::WantsKey,
        Ok(answer) => match answer.body.get("models").and_then(Value::as_array) {
            Some(list) if answer.status == 200 => Answer::Models(names(list, "name")),
            _ => Answer::Nothing(format!("`{base}/api/tags` answered {}, and not as Ollama does", answer.status)),
        },
    }
}

/// Where Ollama is: `OLLAMA_BASE_URL`, else what `OLLAMA_HOST` means to a client of Ollama, else its usual address; and who says so.
pub(crate) fn ollama_base(env: &dyn Env) -> (String, Option<&'static str>) {
    if let Some(base) = set(env, "OLLAMA_BASE_URL") {
        return (base.trim_end_matches('/').to_owned(), Some("OLLAMA_BASE_URL"));
    }
    match set(env, "OLLAMA_HOST") {
        Some(host) => (from_ollama_host(&host), Some("OLLAMA_HOST")),
        None => (format!("http://127.0.0.1:{OLLAMA}"), None),
    }
}

/// `host`, `host:port` or a URL; every-address means this machine.
fn from_ollama_host(host: &str) -> String {
    let (scheme, rest) = host.split_once("://").unwrap_or(("http", host));
    let rest = rest.trim_end_matches('/');
    let (authority, path) = rest.split_once('/').map_or((rest, ""), |(a, p)| (a, p));
    // A colon inside brackets belongs to an IPv6 address.
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => (name, port.to_owned()),
        _ => {
            let usual = if host.contains("://") { if scheme == "https" { 443 } else { 80 } } else { OLLAMA };
            (authority.trim_end_matches(':'), usual.to_string())
        }
    };
    let name = match name {
        "" | "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        other => other,
    };
    let path = if path.is_empty() { String::new() } else { format!("/{path}") };
    format!("{scheme}://{name}:{port}{path}")
}

/// The OpenAI-compatible door below an address that a person typed.
fn with_v1(base: &str) -> String {
    let base = base.trim_end_matches('/');
    let base = if base.contains("://") { base.to_owned() } else { format!("http://{base}") };
    let has_path = base.split_once("://").is_some_and(|(_, rest)| rest.contains('/'));
    if has_path { base } else { format!("{base}/v1") }
}

/// Names of models that can hold a conversation, as far as a name tells.
fn names(list: &[Value], key: &str) -> Vec<String> {
    let other_work = ["embed", "rerank", "whisper", "bge-", "bert"];
    let is_chat = |model: &&Value, name: &str| {
        let family = model.pointer("/details/family").and_then(Value::as_str).unwrap_or_default();
        let lower = name.to_lowercase();
        !family.contains("bert") && !other_work.iter().any(|word| lower.contains(word))
    };
    list.iter()
        .filter_map(|m| Some((m, m.get(key)?.as_str()?)))
        .filter(|(m, name)| !name.is_empty() && name.len() <= 200 && is_chat(m, name))
        .map(|(_, name)| name.chars().filter(|c| !c.is_control()).collect())
        .take(100)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::collections::BTreeMap;

    #[test]
    fn ollamas_own_variable_is_read_as_ollama_reads_it() {
        for (written, meant) in [
            ("127.0.0.1:11500", "http://127.0.0.1:11500"),
            ("0.0.0.0", "http://127.0.0.1:11434"),
            (":8000", "http://127.0.0.1:8000"),
            ("[::]:8000", "http://[::1]:8000"),
            ("[::1]", "http://[::1]:11434"),
            ("gpu.local:9000", "http://gpu.local:9000"),
            ("https://gpu.example.com", "https://gpu.example.com:443"),
            ("http://gpu.local/ollama/", "http://gpu.local:80/ollama"),
        ] {
            let env = BTreeMap::from([("OLLAMA_HOST".to_owned(), written.to_owned())]);
            assert_eq!(ollama_base(&env), (meant.to_owned(), Some("OLLAMA_HOST")), "{written}");
        }
    }

    #[test]
    fn what_only_embeds_text_is_not_offered() {
        let list = json!([
            {"name": "nomic-embed-text:latest"}, {"name": "all-minilm", "details": {"family": "bert"}},
            {"name": "llama3.2:latest", "details": {"family": "llama"}}, {"size": 3}, {"name": ""},
        ]);
        assert_eq!(names(list.as_array().unwrap(), "name"), ["llama3.2:latest"]);
    }

    #[test]
    fn an_address_may_be_typed_without_the_usual_ending() {
        for (typed, meant) in [
            ("127.0.0.1:9", "http://127.0.0.1:9/v1"),
            ("http://127.0.0.1:9/", "http://127.0.0.1:9/v1"),
            ("http://127.0.0.1:9/v1/", "http://127.0.0.1:9/v1"),
            ("http://127.0.0.1:9/api", "http://127.0.0.1:9/api"),
        ] {
            assert_eq!(with_v1(typed), meant);
        }
    }
}
