//! From tokens' bytes to text that can be shown: whole characters, and nothing of a stop string.

/// Puts characters together from pieces of bytes, and ends before a stop string.
#[derive(Debug, Default)]
pub struct TextStream {
    stops: Vec<String>,
    /// The beginning of a character.
    bytes: Vec<u8>,
    /// Text that may turn out to be the beginning of a stop string.
    held: String,
    stopped: bool,
}

impl TextStream {
    /// A stream that ends before the first of these strings; empty ones are ignored.
    pub fn new(stops: impl IntoIterator<Item = String>) -> Self {
        Self { stops: stops.into_iter().filter(|s| !s.is_empty()).collect(), ..Self::default() }
    }

    /// Whether a stop string was met. What is pushed afterwards is dropped.
    pub fn stopped(&self) -> bool {
        self.stopped
    }

    /// Takes a token's bytes, gives the text that is certain now. Bytes that are no UTF-8 become U+FFFD.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        self.bytes.extend_from_slice(bytes);
        let complete = self.bytes.len() - beginning(&self.bytes);
        let rest = self.bytes.split_off(complete);
        let whole = std::mem::replace(&mut self.bytes, rest);
        self.certain(&String::from_utf8_lossy(&whole))
    }

    /// The end: gives what was held back.
    pub fn finish(&mut self) -> String {
        let rest = std::mem::take(&mut self.bytes);
        let mut text = self.certain(&String::from_utf8_lossy(&rest));
        if !self.stopped {
            text.push_str(&std::mem::take(&mut self.held));
        }
        text
    }

    fn certain(&mut self, more: &str) -> String {
        if self.stopped {
            return String::new();
        }
        self.held.push_str(more);
        if let Some(at) = self.stops.iter().filter_map(|stop| self.held.find(stop)).min() {
            self.stopped = true;
            self.held.truncate(at);
            return std::mem::take(&mut self.held);
        }
        let longest = |stop: &String| {
            let begins =
                |n: &usize| stop.is_char_boundary(*n) && stop.get(..*n).is_some_and(|s| self.held.ends_with(s));
            (1..stop.len()).rev().find(begins).unwrap_or(0)
        };
        let kept = self.stops.iter().map(longest).max().unwrap_or(0);
        let held = self.held.split_off(self.held.len() - kept);
        std::mem::replace(&mut self.held, held)
    }
}

/// How many of the last bytes are the beginning of a character that is not complete.
fn beginning(bytes: &[u8]) -> usize {
    for back in 1..=3.min(bytes.len()) {
        let Some(byte) = bytes.get(bytes.len() - back) else { break };
        let length = match byte {
            0x80..=0xbf => continue,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let valid = bytes.get(bytes.len() - back..).map(std::str::from_utf8);
        // `error_len` is none exactly for a beginning that more bytes could complete.
        let open = matches!(valid, Some(Err(e)) if e.error_len().is_none());
        return if length > back && open { back } else { 0 };
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn stream(stops: &[&str]) -> TextStream {
        TextStream::new(stops.iter().map(|s| (*s).to_owned()))
    }

    #[test]
    fn half_a_character_waits_for_its_other_half() {
        let mut s = stream(&[]);
        assert_eq!(s.push(&[0xf0, 0x9f]), "");
        assert_eq!(s.push(&[0x99]), "");
        assert_eq!(s.push(&[0x82, b'!']), "🙂!");
        assert_eq!(s.push(&[0xe2, 0x82]), "");
        assert_eq!(s.finish(), "\u{fffd}");
    }

    #[test]
    fn a_stop_string_across_tokens_is_never_shown() {
        let mut s = stream(&["END", "\n\n"]);
        assert_eq!(s.push(b"one E"), "one ");
        assert_eq!(s.push(b"Nx\n"), "ENx");
        assert_eq!(s.push(b"two"), "\ntwo");
        assert_eq!(s.push(b" EN"), " ");
        assert_eq!(s.push(b"D more"), "");
        assert!(s.stopped());
        assert_eq!(s.push(b"more") + &s.finish(), "");
    }

    proptest! {
        #[test]
        fn cut_anywhere_the_text_is_the_same(text in "\\PC{0,30}", cuts in proptest::collection::vec(1usize..5, 0..60)) {
            let (mut s, mut out, mut rest) = (stream(&["never \u{1}"]), String::new(), text.as_bytes());
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                out += &s.push(head);
                rest = tail;
            }
            out += &s.push(rest);
            out += &s.finish();
            prop_assert_eq!(out, text);
        }

        #[test]
        fn any_bytes_come_out_as_the_standard_library_reads_them(bytes: Vec<u8>, cuts in proptest::collection::vec(1usize..4, 0..60)) {
            let (mut s, mut out, mut rest) = (stream(&[]), String::new(), bytes.as_slice());
            for cut in cuts {
                let (head, tail) = rest.split_at(cut.min(rest.len()));
                out += &s.push(head);
                rest = tail;
            }
            out += &s.push(rest);
            out += &s.finish();
            prop_assert_eq!(out, String::from_utf8_lossy(&bytes));
        }
    }
}
