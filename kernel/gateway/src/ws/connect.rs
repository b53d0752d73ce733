//! The handshake: `connect` → `hello-ok`, or a typed refusal and a close.

use crate::auth::Refused;
use crate::state::{Shared, now_ms};
use crate::ws::device::{self, Device};
use crate::ws::events::EVENTS;
use crate::ws::frame::{Failure, Request};
use crate::ws::methods::{METHODS, health};
use serde::Deserialize;
use serde_json::{Value, json};
use std::net::IpAddr;

/// The protocol spoken here.
pub(crate) const PROTOCOL: u32 = 4;

/// What the holder of the owner's token may do.
const GRANTED: [&str; 3] = ["operator.admin", "operator.read", "operator.write"];

/// `connect`'s parameters.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ConnectParams {
    min_protocol: u32,
    max_protocol: u32,
    pub(crate) client: Client,
    pub(crate) role: Option<String>,
    pub(crate) scopes: Option<Vec<String>>,
    pub(crate) device: Option<Device>,
    pub(crate) auth: Option<AuthParams>,
}

/// `connect.client`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Client {
    pub(crate) id: String,
    pub(crate) version: String,
    pub(crate) platform: String,
    pub(crate) mode: String,
    pub(crate) device_family: Option<String>,
}

/// `connect.auth`. Never printed.
#[derive(Deserialize)]
pub(crate) struct AuthParams {
    pub(crate) token: Option<String>,
}

impl std::fmt::Debug for AuthParams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuthParams")
    }
}

/// A handshake that failed.
#[derive(Debug)]
pub(crate) struct Rejected {
    pub(crate) failure: Failure,
    pub(crate) close: u16,
}

/// What a connection may do: granted by the server; what the client asserts can only narrow it.
#[derive(Debug, Clone)]
pub(crate) struct Scopes(Vec<&'static str>);

impl Scopes {
    fn grant(asserted: Option<&[String]>) -> Self {
        let Some(asserted) = asserted.filter(|a| !a.is_empty()) else { return Self(GRANTED.to_vec()) };
        let says = |scope: &str| asserted.iter().any(|a| a == scope);
        let all = says("operator.admin") || says("operator.*");
        let kept = |s: &&&str| all || says(s) || (**s == "operator.read" && says("operator.write"));
        Self(GRANTED.iter().filter(kept).copied().collect())
    }

    /// Whether it covers a scope.
    pub(crate) fn has(&self, scope: &str) -> bool {
        self.0.iter().any(|s| *s == scope || *s == "operator.admin")
    }
}

/// Checks `connect`; gives the scopes.
pub(crate) fn check(shared: &Shared, peer: IpAddr, nonce: &str, request: &Request) -> Result<Scopes, Rejected> {
    let reject = |failure: Failure, close: u16| Err(Rejected { failure, close });
    if request.method != "connect" {
        return reject(Failure::invalid("invalid handshake: the first request must be connect"), 1008);
    }
    let params: ConnectParams = match ConnectParams::deserialize(&request.params) {
        Ok(params) => params,
        Err(e) => return reject(Failure::invalid(format!("invalid connect params: {e}")), 1008),
    };
    if params.min_protocol > PROTOCOL || params.max_protocol < PROTOCOL {
        let details = json!({
            "code": "PROTOCOL_MISMATCH", "expectedProtocol": PROTOCOL,
            "minProtocol": params.min_protocol, "maxProtocol": params.max_protocol,
        });
        return reject(Failure::invalid("protocol mismatch: this gateway speaks version 4").details(details), 1002);
    }
    let c = &params.client;
    if [&c.id, &c.version, &c.platform, &c.mode].iter().any(|s| s.is_empty() || s.len() > 256) {
        let message = "invalid connect params: client.id, version, platform and mode must be 1 to 256 bytes";
        return reject(Failure::invalid(message), 1008);
    }
    if params.role.as_deref().is_some_and(|r| r != "operator") {
        return reject(Failure::invalid("invalid role: this gateway serves operators, no nodes or workers"), 1008);
    }
    if let Some(device) = &params.device
        && let Err(code) = device::verify(device, &params, nonce, now_ms())
    {
        let failure = Failure::invalid(format!("the device's proof does not hold: {code}"));
        return reject(failure.details(json!({"code": code})), 1008);
    }
    let token = params.auth.as_ref().and_then(|a| a.token.as_deref());
    if let Err(refused) = shared.auth.check(peer, token, "ws") {
        return reject(unauthorized(refused, &shared.page.token_hint), 1008);
    }
    Ok(Scopes::grant(params.scopes.as_deref()))
}

fn unauthorized(refused: Refused, token_hint: &str) -> Failure {
    let update = |code: &str, step: &str| json!({"code": code, "recommendedNextStep": step});
    match refused {
        Refused::Missing => {
            Failure::invalid(format!("unauthorized: gateway token missing (auth.token); to see it: {token_hint}"))
                .details(update("AUTH_TOKEN_MISSING", "update_auth_configuration"))
        }
        Refused::Wrong => Failure::invalid(format!("unauthorized: gateway token mismatch; to see it: {token_hint}"))
            .details(update("AUTH_TOKEN_MISMATCH", "update_auth_credentials")),
        Refused::Throttled(wait) => Failure::unavailable("unauthorized: too many wrong tokens from this address")
            .details(update("AUTH_RATE_LIMITED", "wait_then_retry"))
            .retryable(Some(wait)),
    }
}

/// `hello-ok`.
pub(crate) async fn hello(shared: &Shared, connection: u64, scopes: &Scopes) -> Value {
    let status = shared.status.status().await;
    let limits = &shared.limits;
    json!({
        "type": "hello-ok",
        "protocol": PROTOCOL,
        "server": {"version": shared.version, "connId": format!("{}-{connection}", shared.started_ms)},
        "features": {"methods": METHODS.map(|(name, _)| name), "events": EVENTS},
        "snapshot": {
            "presence": [],
            "health": health(shared).await,
            "stateVersion": {"presence": 0, "health": shared.hub.health_version()},
            "uptimeMs": u64::try_from(shared.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "sessionDefaults": {
                "defaultAgentId": "main", "modelConfigured": !status.route.is_empty(),
                "mainKey": "main", "mainSessionKey": "main",
            },
            "authMode": "token",
        },
        "auth": {"role": "operator", "scopes": scopes.0},
        "policy": {
            "maxPayload": limits.ws_frame_bytes,
            "maxBufferedBytes": limits.ws_queue_bytes,
            "tickIntervalMs": u64::try_from(limits.ws_tick.as_millis()).unwrap_or(u64::MAX).max(1),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::Scopes;

    fn grant(asserted: &[&str]) -> Vec<&'static str> {
        Scopes::grant(Some(&asserted.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>())).0
    }

    #[test]
    fn what_a_client_asserts_only_narrows() {
        let all = ["operator.admin", "operator.read", "operator.write"];
        assert_eq!(Scopes::grant(None).0, all);
        assert_eq!(grant(&[]), all);
        assert_eq!(grant(&["operator.admin"]), all);
        assert_eq!(grant(&["operator.write"]), ["operator.read", "operator.write"]);
        assert_eq!(grant(&["operator.read"]), ["operator.read"]);
        assert!(grant(&["operator.talk", "node.everything"]).is_empty());
        assert!(!Scopes(grant(&["operator.read"])).has("operator.write"));
        assert!(Scopes(grant(&["operator.admin"])).has("operator.write"));
    }
}
