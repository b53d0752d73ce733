//! What people write, as Slack hands it on: <https://docs.slack.dev/messaging/formatting-message-text/#retrieving-messages>.

/// As a person reads it. Mentions of `me` become `@name`, whose name is known.
pub(crate) fn plain(text: &str, me: &str, name: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, after) = rest.split_at(at);
        unescape(before, &mut out);
        let Some(end) = after.find('>') else {
            rest = after;
            break;
        };
        reference(after.get(1..end).unwrap_or_default(), me, name, &mut out);
        rest = after.get(end + 1..).unwrap_or_default();
    }
    unescape(rest, &mut out);
    out
}

/// What stands between `<` and `>`.
fn reference(inside: &str, me: &str, name: &str, out: &mut String) {
    let (what, label) = match inside.split_once('|') {
        Some((what, label)) => (what, (!label.is_empty()).then_some(label)),
        None => (inside, None),
    };
    let mut part = |sign: &str, id: &str| {
        out.push_str(sign);
        unescape(label.unwrap_or(id), out);
    };
    if let Some(user) = what.strip_prefix('@') {
        part("@", if user == me { name } else { user });
    } else if let Some(channel) = what.strip_prefix('#') {
        part("#", channel);
    } else if let Some(special) = what.strip_prefix('!') {
        // `!here`, `!channel`; a group is `!subteam^ID`, a date `!date^…^…`.
        let word = special.split('^').next().unwrap_or_default();
        match (word, label) {
            ("date" | "subteam", Some(label)) => unescape(label, out),
            _ => {
                out.push('@');
                out.push_str(word);
            }
        }
    } else {
        let url = what.strip_prefix("mailto:").or_else(|| what.strip_prefix("tel:")).unwrap_or(what);
        match label {
            Some(label) if !url.ends_with(label) => {
                unescape(label, out);
                out.push_str(" (");
                unescape(url, out);
                out.push(')');
            }
            _ => unescape(url, out),
        }
    }
}

fn unescape(text: &str, out: &mut String) {
    out.push_str(&text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"));
}

/// Whether a text names somebody.
pub(crate) fn names(text: &str, user: &str) -> bool {
    !user.is_empty()
        && text.match_indices("<@").any(|(at, sign)| {
            let rest = text.get(at + sign.len()..).unwrap_or_default();
            rest.strip_prefix(user).is_some_and(|r| r.starts_with(['>', '|']))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_read_as_a_person_reads_them() {
        for (slack, read) in [
            ("<@U1> and <@U2|ann> in <#C1|general>", "@carapace and @ann in #general"),
            ("see <https://example.com/a?b=1&amp;c=2|the page>", "see the page (https://example.com/a?b=1&c=2)"),
            ("<https://example.com> <http://example.com|example.com>", "https://example.com http://example.com"),
            ("<mailto:a@example.com|a@example.com> <!here> <!subteam^S1|@team>", "a@example.com @here @team"),
            ("1 &lt; 2 &amp;&amp; 3 &gt; 2, &amp;lt; stays", "1 < 2 && 3 > 2, &lt; stays"),
            ("open < and nothing", "open < and nothing"),
        ] {
            assert_eq!(plain(slack, "U1", "carapace"), read);
        }
        assert!(names("hi <@U1>", "U1") && names("<@U1|c>", "U1") && !names("<@U12>", "U1") && !names("U1 <@>", ""));
    }
}
