//! Files that go along with an answer: as files where the channel can, in words where it cannot.

use carapace_contract::channel::{ChannelInfo, Content, MAX_FILES};

/// What the channel can be given of it.
pub(crate) fn fitting(channel: Option<&ChannelInfo>, mut content: Content) -> Content {
    let limit = channel.filter(|c| c.media).map_or(0, |c| c.description.file_limit);
    let mut files = Vec::new();
    for file in std::mem::take(&mut content.files) {
        let why = if file.size > limit {
            if limit == 0 { "files cannot be sent here" } else { "it is too large to be sent here" }
        } else if files.len() == MAX_FILES {
            "no more than ten files are sent at once"
        } else {
            files.push(file);
            continue;
        };
        if !content.text.is_empty() {
            content.text.push_str("\n\n");
        }
        // Markdown: a file's name is no markup.
        let plain: String = file.in_words().chars().flat_map(escaped).collect();
        content.text.push_str(&format!("({plain}: {why})"));
    }
    content.files = files;
    content
}

/// As CommonMark wants it: any ASCII punctuation may be escaped.
fn escaped(c: char) -> impl Iterator<Item = char> {
    ["\\*_`[]<>~&!#|".contains(c).then_some('\\'), Some(c)].into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use carapace_contract::Digest;
    use carapace_contract::channel::Description;
    use carapace_contract::media::Media;
    use std::collections::BTreeMap;

    fn channel(file_limit: u64, media: bool) -> ChannelInfo {
        ChannelInfo {
            instance: "local/chat/main".parse().unwrap(),
            digest: Digest::of(b""),
            description: Description { file_limit, ..Description::default() },
            webhooks: Vec::new(),
            spool: false,
            sockets: BTreeMap::new(),
            media,
        }
    }

    fn file(name: &str, size: u64) -> Media {
        Media { id: "0".into(), size, mime: "a/b".into(), pixels: None, name: Some(name.to_owned()) }
    }

    #[test]
    fn what_cannot_be_sent_is_said() {
        let content = |files| Content { text: "here".to_owned(), files, ..Content::default() };
        let given = fitting(Some(&channel(10, true)), content(vec![file("a", 10), file("b_c", 11)]));
        assert_eq!(given.files, [file("a", 10)]);
        assert_eq!(given.text, "here\n\n(b\\_c (a/b, 11 bytes): it is too large to be sent here)");
        for nowhere in [Some(channel(0, true)), Some(channel(10, false)), None] {
            let given = fitting(nowhere.as_ref(), content(vec![file("a", 1)]));
            assert!(given.files.is_empty());
            assert_eq!(given.text, "here\n\n(a (a/b, 1 bytes): files cannot be sent here)");
        }
        let many = fitting(Some(&channel(10, true)), content(vec![file("a", 1); 12]));
        assert_eq!((many.files.len(), many.text.matches("no more than ten").count()), (10, 2));
    }
}
