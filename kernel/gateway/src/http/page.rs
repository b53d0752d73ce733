//! The page at `/`: self-contained, says what answers here and how to connect. Nothing on it needs the token; what
//! does is fetched with the token that its reader types in.

use crate::options::PageInfo;
use crate::state::Shared;
use crate::ws;
use ::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::extract::Extension;
use axum::extract::State;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest as _, Sha256};
use std::net::SocketAddr;
use std::sync::Arc;

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");
const FRAME: &str = include_str!("page.html");

/// The page but for its readiness.
pub(crate) struct Page {
    before: String,
    policy: String,
    pub(crate) token_hint: String,
}

impl Page {
    pub(crate) fn new(info: &PageInfo, version: &str, addr: SocketAddr) -> Self {
        // A word cannot bring a marker of its own: its braces are escaped.
        let before = FRAME
            .replace("{{style}}", STYLE)
            .replace("{{script}}", SCRIPT)
            .replace("{{addr}}", &addr.to_string())
            .replace("{{version}}", &escape(version))
            .replace("{{title}}", &escape(&info.title))
            .replace("{{hint}}", &escape(&info.token_hint));
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        let policy = format!(
            "default-src 'none'; style-src 'sha256-{}'; script-src 'sha256-{}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            hash(STYLE),
            hash(SCRIPT)
        );
        Self { before, policy, token_hint: info.token_hint.clone() }
    }

    fn render(&self, ready: bool) -> String {
        let (class, words) = if ready { ("ready", "ready") } else { ("waiting", "not ready") };
        self.before.replacen("{{class}}", class, 1).replacen("{{readiness}}", words, 1)
    }
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
    text.replace('{', "&#123;")
}

/// The page; or, for a client that upgrades, the WebSocket: OpenClaw's clients connect to the root by default.
pub(crate) async fn index(
    State(shared): State<Arc<Shared>>,
    peer: Extension<crate::state::Peer>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Ok(upgrade) = upgrade {
        return ws::upgrade(State(shared), peer, Ok(upgrade)).await;
    }
    let ready = shared.status.status().await.not_ready.is_empty() && !shared.stopping.is_cancelled();
    let headers = [(CONTENT_TYPE, "text/html; charset=utf-8"), (CONTENT_SECURITY_POLICY, shared.page.policy.as_str())];
    (headers, shared.page.render(ready)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_on_the_page_cannot_become_markup_or_markers() {
        let info = PageInfo { title: "<b>{{readiness}}".into(), token_hint: "a & b".into() };
        let page = Page::new(&info, "1", SocketAddr::from(([127, 0, 0, 1], 1)));
        let html = page.render(true);
        assert!(html.contains("<h1>&lt;b&gt;&#123;&#123;readiness}}</h1>"), "{html}");
        assert!(!html.contains("{{"), "no marker is left");
        assert!(html.contains("a &amp; b"));
    }

    #[test]
    fn the_policy_admits_exactly_the_style_and_script_on_the_page() {
        let page = Page::new(&PageInfo::default(), "1", SocketAddr::from(([127, 0, 0, 1], 1)));
        let html = page.render(false);
        for tag in ["style", "script"] {
            let inline = html.split_once(&format!("<{tag}>")).unwrap().1.split_once(&format!("</{tag}>")).unwrap().0;
            let hash = STANDARD.encode(Sha256::digest(inline.as_bytes()));
            assert!(page.policy.contains(&format!("{tag}-src 'sha256-{hash}'")), "{tag}");
        }
    }
}
