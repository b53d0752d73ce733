//! `carapace secrets …`: values go in, never out.

#![allow(clippy::indexing_slicing, reason = "only JSON is indexed, and that gives null where there is nothing")]

use super::plugin::print_json;
use crate::assembly::instance_id;
use crate::failure::{Exit, Failure, OrFail, Outcome};
use crate::owner::carry_out;
use carapace_config::{ConfigHandle, StatePaths};
use carapace_contract::SecretName;
use carapace_contract::control::{ControlRequest, Sensitive};
use std::io::{IsTerminal, Read};
use std::sync::Arc;

fn name(text: &str) -> Outcome<SecretName> {
    text.parse().map_err(|e: carapace_contract::NameError| Failure::new(Exit::Usage, e.to_string()))
}

/// 256 bits, in letters that go anywhere.
fn generated() -> Outcome<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).or_fail("no randomness for a secret")?;
    Ok(hex::encode(bytes))
}

/// Stores one; the value comes from standard input, is asked for without echo, or made.
pub(crate) async fn set(
    paths: &StatePaths,
    config: Arc<ConfigHandle>,
    secret: &str,
    instance: &str,
    generate: bool,
) -> Outcome {
    let (instance, secret) = (instance_id(instance)?, name(secret)?);
    let value = if generate {
        generated()?
    } else if std::io::stdin().is_terminal() {
        crate::hidden::ask(&format!("{secret} of {instance}: "))?
    } else {
        let mut value = String::new();
        std::io::stdin().lock().take(64 << 10).read_to_string(&mut value)?;
        value.trim_end_matches(['\r', '\n']).to_owned()
    };
    if value.is_empty() {
        return Err(Failure::new(Exit::Usage, "no value was given")
            .help(format!("printf %s \"$VALUE\" | carapace secrets set {secret} --instance {instance}")));
    }
    let value = Sensitive(value);
    carry_out(paths, config, ControlRequest::SecretSet { instance: instance.clone(), name: secret.clone(), value })
        .await?;
    println!("{instance}/{secret} is stored.");
    Ok(())
}

/// Names, never values.
pub(crate) async fn list(paths: &StatePaths, config: Arc<ConfigHandle>, as_json: bool) -> Outcome {
    let list = carry_out(paths, config, ControlRequest::SecretList).await?;
    if as_json {
        print_json(&list);
        return Ok(());
    }
    let names: Vec<&str> = list.as_array().into_iter().flatten().filter_map(|s| s["name"].as_str()).collect();
    if names.is_empty() {
        println!("No secret is stored.");
    }
    names.iter().for_each(|n| println!("{n}"));
    Ok(())
}

/// Removes one.
pub(crate) async fn remove(paths: &StatePaths, config: Arc<ConfigHandle>, secret: &str, instance: &str) -> Outcome {
    let (instance, secret) = (instance_id(instance)?, name(secret)?);
    let request = ControlRequest::SecretRemove { instance: instance.clone(), name: secret.clone() };
    let answer = carry_out(paths, config, request).await?;
    if answer["removed"] != true {
        return Err(
            Failure::new(Exit::Failed, format!("there is no secret {instance}/{secret}")).help("carapace secrets list")
        );
    }
    println!("{instance}/{secret} is removed.");
    Ok(())
}
