//! Downloads: one source after the other, going on where the last one stopped.

use super::{Wanted, progress};
use crate::failure::{Exit, Failure, OrFail, Outcome};
use async_trait::async_trait;
use carapace_contract::capability::{CapabilitySet, HttpCapability};
use carapace_contract::limits::Limits;
use carapace_contract::manifest::Auth;
use carapace_contract::{Denial, EndpointName, SecretName};
use carapace_egress::{Door, Policy, Request, SecretSource, Target};
use carapace_registry::AssetFiles;
use indicatif::ProgressBar;
use secrecy::SecretString;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use tokio_util::sync::CancellationToken;

/// Times in a row that a source may break off without having sent anything new.
const FRUITLESS: u32 = 2;
/// Bytes asked of the door at once.
const PIECE: usize = 1 << 20;

/// Brings one file, from the first source that has it.
pub(super) async fn one(door: &Door, files: &AssetFiles, wanted: &Wanted, from: Option<&url::Url>) -> Outcome {
    let sources: Vec<&url::Url> = from.map_or_else(|| wanted.sources.iter().collect(), |url| vec![url]);
    let mut refused = Vec::new();
    for source in sources {
        let shown = format!("{}{}", source.origin().ascii_serialization(), source.path());
        eprintln!("Fetching {} ({} MB) from {shown}", wanted.name, wanted.megabytes());
        match whole(door, files, wanted, source, from.is_some()).await {
            Ok(()) => return Ok(()),
            Err(why) => {
                eprintln!("  {}", why.line());
                refused.push(format!("{shown}: {}", why.line()));
            }
        }
    }
    if refused.is_empty() {
        return Err(Failure::new(Exit::Failed, format!("the package names no source for {}", wanted.name))
            .help("carapace assets add FILE, or carapace assets fetch NAME --from URL"));
    }
    Err(Failure::new(Exit::Failed, format!("{} could not be fetched: {}", wanted.name, refused.join("; "))).help(
        "again later: what has arrived is kept; or `carapace assets add FILE` for a copy from elsewhere, \
         or `carapace assets fetch NAME --from URL` for another source",
    ))
}

/// Everything from one source, checked.
async fn whole(door: &Door, files: &AssetFiles, wanted: &Wanted, source: &url::Url, by_owner: bool) -> Outcome {
    let what = || format!("cannot keep {}", wanted.name);
    let (mut part, mut length) = files.resume(&wanted.sha256).or_fail(what())?;
    if length > wanted.size {
        restart(&mut part, &mut length)?;
    }
    let bar = progress(wanted.name.as_str(), wanted.size);
    let mut fruitless = 0;
    while length < wanted.size {
        let before = length;
        let policy = policy(wanted, source, by_owner)?;
        match piece(door, &policy, wanted, source, by_owner, &mut part, &mut length, &bar).await {
            Ok(()) => {}
            Err(Broken::Refused(why)) => return Err(why),
            Err(Broken::Off(why)) => {
                fruitless = if length > before { 0 } else { fruitless + 1 };
                if fruitless >= FRUITLESS {
                    return Err(why);
                }
            }
        }
    }
    bar.finish_and_clear();
    part.sync_all().or_fail(what())?;
    drop(part);
    files.finish(&wanted.sha256, wanted.size).map_err(|e| {
        Failure::new(Exit::Refused, format!("what came is not the file that was signed: {e}; it was thrown away"))
    })
}

/// How a request ends before the file does.
enum Broken {
    /// Asking again there will not help.
    Refused(Failure),
    /// It may.
    Off(Failure),
}

fn broken(e: &carapace_egress::Failure) -> Broken {
    let failure = Failure::new(Exit::Failed, e.error.to_string());
    match e.error {
        carapace_egress::EgressError::Unavailable(_) | carapace_egress::EgressError::Timeout(_) => Broken::Off(failure),
        _ => Broken::Refused(failure),
    }
}

/// One request, from where the file stands to wherever it ends.
#[allow(clippy::too_many_arguments, reason = "one download's state, which lives in its caller")]
async fn piece(
    door: &Door,
    policy: &Policy,
    wanted: &Wanted,
    source: &url::Url,
    by_owner: bool,
    part: &mut File,
    length: &mut u64,
    bar: &ProgressBar,
) -> Result<(), Broken> {
    let refused = |why: String| Broken::Refused(Failure::new(Exit::Failed, why));
    let mut headers = vec![("accept".to_owned(), "application/octet-stream, */*".to_owned())];
    // Ranges of a compressed body would be ranges of something else.
    headers.push(("accept-encoding".to_owned(), "identity".to_owned()));
    if *length > 0 {
        headers.push(("range".to_owned(), format!("bytes={length}-")));
    }
    let target = if by_owner {
        Target::Endpoint { name: SOURCE.to_owned(), path: String::new() }
    } else {
        Target::Public(source.to_string())
    };
    let request = Request { method: "GET".to_owned(), target, headers, body: bytes::Bytes::new(), timeout: None };
    let response = door.send(policy, &NoSecrets, request, CancellationToken::new()).await;
    let mut response = response.map_err(|e| broken(&e))?;
    match response.status {
        206 => {
            let range = response.headers.iter().find(|(n, _)| n == "content-range").map(|(_, v)| v.as_str());
            if range.and_then(start_of) != Some(*length) {
                return Err(refused(format!("the server sent another range than was asked for ({range:?})")));
            }
        }
        // It sends everything, whatever was asked; or what is here is no beginning of what it has.
        200 => restart(part, length).map_err(Broken::Refused)?,
        416 => return restart(part, length).map_err(Broken::Refused),
        500.. => return Err(Broken::Off(Failure::new(Exit::Failed, format!("HTTP {}", response.status)))),
        other => return Err(refused(format!("HTTP {other}"))),
    }
    loop {
        let bytes = response.read(PIECE).await.map_err(|e| broken(&e))?;
        if bytes.is_empty() {
            break;
        }
        *length += bytes.len() as u64;
        if *length > wanted.size {
            restart(part, length).map_err(Broken::Refused)?;
            return Err(refused(format!("the server sends more than the {} bytes that were signed", wanted.size)));
        }
        part.write_all(&bytes).map_err(|e| refused(format!("cannot write it down: {e}")))?;
        bar.set_position(*length);
    }
    if *length < wanted.size {
        let why = format!("the server broke off after {length} of {} bytes", wanted.size);
        return Err(Broken::Off(Failure::new(Exit::Failed, why)));
    }
    Ok(())
}

/// The first byte of `bytes 5-9/10` (RFC 9110, 14.4).
fn start_of(content_range: &str) -> Option<u64> {
    content_range.trim().strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}

fn restart(part: &mut File, length: &mut u64) -> Outcome {
    part.set_len(0).or_fail("cannot begin the download anew")?;
    *length = 0;
    Ok(())
}

const SOURCE: &str = "source";

/// A signed source may be any public address; one that the owner typed may also be on this machine or in this network.
fn policy(wanted: &Wanted, source: &url::Url, by_owner: bool) -> Outcome<Policy> {
    let instance = carapace_contract::InstanceId::new(wanted.component.clone(), carapace_contract::Name::main());
    // How much is too much, the reader of the pieces says.
    let limits = Limits { http_response_bytes: u64::MAX >> 1, ..Limits::default() };
    if !by_owner {
        let granted = CapabilitySet { public_http: true, ..CapabilitySet::none() };
        return Ok(Policy::new(instance, &granted, &BTreeMap::new(), limits)?);
    }
    let name: EndpointName = SOURCE.parse().or_fail("the source's name")?;
    let endpoint = HttpCapability {
        url: source.clone(),
        url_env: None,
        hosts: BTreeSet::new(),
        methods: BTreeSet::from(["GET".to_owned()]),
        paths: BTreeSet::new(),
        auth: Auth::None,
        inject: Vec::new(),
        capture: BTreeSet::new(),
    };
    let granted = CapabilitySet { http: BTreeMap::from([(name.clone(), endpoint)]), ..CapabilitySet::none() };
    Ok(Policy::new(instance, &granted, &BTreeMap::from([(name, source.clone())]), limits)?)
}

/// A download carries no credential.
struct NoSecrets;

#[async_trait]
impl SecretSource for NoSecrets {
    async fn get(&self, name: &SecretName) -> Result<SecretString, Denial> {
        Err(Denial::new("E-SECRET-001", format!("a download has no secret `{name}`"), ""))
    }
}

#[cfg(test)]
mod tests {
    use super::start_of;

    #[test]
    fn a_range_begins_where_it_says() {
        assert_eq!(start_of("bytes 5-9/10"), Some(5));
        assert_eq!(start_of("bytes 0-0/*"), Some(0));
        assert_eq!(start_of("bytes */10"), None);
        assert_eq!(start_of("items 5-9/10"), None);
    }
}
