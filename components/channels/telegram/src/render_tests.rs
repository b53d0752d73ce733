//! Whatever a model writes, Telegram takes it: no message is too long or has too many styles, none breaks what is whole, nothing is lost.

use crate::outgoing::LIMIT;
use carapace_chat_text::{Style, parse};
use carapace_sdk::channel::Conversation;
use carapace_sdk::testing::TestHost;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::Value;
use std::cell::RefCell;

/// Styles of one message; Telegram ignores what is more.
const ENTITIES: usize = 100;

fn bare(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// What an entity stands over, and for a link where it leads.
fn over(text: &str, entity: &Value) -> (String, String, Option<String>) {
    let units: Vec<u16> = text.encode_utf16().collect();
    let (offset, length) = (entity["offset"].as_u64().unwrap() as usize, entity["length"].as_u64().unwrap() as usize);
    assert!(length > 0 && offset + length <= units.len(), "{entity} of {text:?}");
    let words =
        String::from_utf16(&units[offset..offset + length]).expect("an entity begins and ends between characters");
    (entity["type"].as_str().unwrap().to_owned(), bare(&words), entity["url"].as_str().map(str::to_owned))
}

#[carapace_sdk::test]
fn no_message_is_too_long_none_breaks_a_block_or_a_link_and_nothing_is_lost(host: &mut TestHost) {
    let fragment = prop_oneof![
        "\\PC{0,40}",
        "[a-z*_`~\\[\\]()#>| \n-]{0,40}",
        "[a-zäöü🦀 .]{100}\n\n",
        "\n\n```[a-z]{0,3}\n[a-z \n🦀]{0,900}\n```\n",
        "\\[[a-z `*🦀]{1,30}\\]\\(https://b\\.c/[a-z]\\) ",
        "`[a-z]{1,20}` ",
        "\n> ",
    ];
    let markdown = prop_oneof![
        proptest::collection::vec(fragment, 0..80).prop_map(|all| all.concat()),
        // A list of nothing but links.
        proptest::collection::vec("- \\[[a-z]{1,5}\\]\\(https://b\\.c/[a-z]\\)\n", 0..250).prop_map(|all| all.concat()),
    ];
    let (host, to) = (RefCell::new(host), Conversation::direct("7"));
    let mut runner = TestRunner::new(Config { cases: 128, ..Config::default() });
    let checked = runner.run(&markdown, |markdown| {
        let text = parse(&markdown);
        prop_assume!(!text.plain.is_empty());
        let parts = host.borrow_mut().render(&to, &markdown).unwrap();
        let mut found = Vec::new();
        for part in &parts {
            let data: Value = serde_json::from_slice(&part.data).unwrap();
            prop_assert_eq!(data["text"].as_str(), Some(part.text.as_str()));
            prop_assert!(part.text.encode_utf16().count() <= LIMIT && !part.text.trim().is_empty());
            let entities = data["entities"].as_array().map(Vec::as_slice).unwrap_or_default();
            prop_assert!(entities.len() <= ENTITIES);
            found.extend(entities.iter().map(|e| over(&part.text, e)));
        }
        prop_assert_eq!(parts.iter().map(|p| bare(&p.text)).collect::<String>(), bare(&text.plain));
        for span in &text.spans {
            let inside = &text.plain[span.range.clone()];
            let wanted = match &span.style {
                Style::Link(url) if url.starts_with("https://") => ("text_link", Some(url.clone())),
                Style::Block(_) => ("pre", None),
                Style::Code => ("code", None),
                _ => continue,
            };
            let same = |(kind, words, url): &(String, String, Option<String>)| {
                (kind.as_str(), words.as_str(), url) == (wanted.0, &bare(inside), &wanted.1)
            };
            let short = inside.encode_utf16().count() <= LIMIT;
            prop_assert!(!short || bare(inside).is_empty() || found.iter().any(same), "{span:?} is broken or gone");
        }
        Ok(())
    });
    if let Err(e) = checked {
        panic!("{e}");
    }
}
