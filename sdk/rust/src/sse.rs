//! Server-sent events (WHATWG HTML, "server-sent events"), from chunks cut anywhere.

use crate::http::{self, Response};

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Its type; `message` if none was given.
    pub name: String,
    /// Its data lines, joined by line feeds.
    pub data: String,
}

/// Longest line and longest event, bytes.
pub const MAX: usize = 8 << 20;

/// A line or an event longer than [`MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLong;

/// Reads events from bytes.
#[derive(Debug, Default)]
pub struct Reader {
    line: Vec<u8>,
    // A CR ended the last line: an LF right after it belongs to it.
    after_cr: bool,
    started: bool,
    name: String,
    data: String,
    has_data: bool,
}

impl Reader {
    /// Takes bytes; appends the events they complete.
    ///
    /// # Errors
    /// A line or an event is too long.
    pub fn push(&mut self, mut bytes: &[u8], out: &mut Vec<Event>) -> Result<(), TooLong> {
        while !bytes.is_empty() {
            if std::mem::take(&mut self.after_cr)
                && let Some(rest) = bytes.strip_prefix(b"\n")
            {
                bytes = rest;
                continue;
            }
            let end = bytes.iter().position(|b| matches!(b, b'\n' | b'\r'));
            let (piece, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            if self.line.len() + piece.len() > MAX {
                return Err(TooLong);
            }
            self.line.extend_from_slice(piece);
            let Some((ending, rest)) = rest.split_first() else { break };
            self.after_cr = *ending == b'\r';
            bytes = rest;
            self.end_of_line(out)?;
        }
        Ok(())
    }

    /// The stream ended. The specification drops an event without its blank line; many servers leave that out after the last one,
    /// so it counts here.
    pub fn finish(mut self) -> Option<Event> {
        let mut out = Vec::new();
        if !self.line.is_empty() {
            self.end_of_line(&mut out).ok()?;
        }
        self.dispatch(&mut out);
        out.pop()
    }

    fn end_of_line(&mut self, out: &mut Vec<Event>) -> Result<(), TooLong> {
        let mut line = std::mem::take(&mut self.line);
        if !std::mem::replace(&mut self.started, true) && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        if line.is_empty() {
            self.dispatch(out);
            return Ok(());
        }
        let text = String::from_utf8_lossy(&line);
        let (field, value) = text.split_once(':').unwrap_or((&text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.data.len() + value.len() > MAX {
                    return Err(TooLong);
                }
                if self.has_data {
                    self.data.push('\n');
                }
                self.has_data = true;
                self.data.push_str(value);
            }
            "event" => value.clone_into(&mut self.name),
            // `id`, `retry`, comments, and what is not known.
            _ => {}
        }
        Ok(())
    }

    fn dispatch(&mut self, out: &mut Vec<Event>) {
        let name = std::mem::take(&mut self.name);
        let data = std::mem::take(&mut self.data);
        if std::mem::take(&mut self.has_data) {
            out.push(Event { name: if name.is_empty() { "message".to_owned() } else { name }, data });
        }
    }
}

/// The events of a response, each as it arrives.
pub fn events(response: &Response) -> impl Iterator<Item = Result<Event, http::Error>> + '_ {
    crate::stream::items(
        response,
        Some(Reader::default()),
        |reader, bytes, out| reader.push(bytes, out).map_err(|TooLong| "an event of more than 8 MiB"),
        |reader, out| out.extend(reader.finish()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(chunks: &[&[u8]]) -> Vec<Event> {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        for chunk in chunks {
            reader.push(chunk, &mut out).unwrap();
        }
        out.extend(reader.finish());
        out
    }

    fn message(data: &str) -> Event {
        Event { name: "message".into(), data: data.into() }
    }

    #[test]
    fn lines_end_with_lf_cr_or_both() {
        for text in [
            "data: a\ndata: b\n\ndata: c\n\n",
            "data: a\rdata: b\r\rdata: c\r\r",
            "data: a\r\ndata: b\r\n\r\ndata: c\r\n\r\n",
        ] {
            assert_eq!(read(&[text.as_bytes()]), [message("a\nb"), message("c")], "{text:?}");
        }
    }

    #[test]
    fn the_examples_of_the_specification_read_as_it_says() {
        // https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
        assert_eq!(read(&[b"data: YHOO\ndata: +2\ndata: 10\n\n"]), [message("YHOO\n+2\n10")]);
        assert_eq!(
            read(&[b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n"]),
            [message("first event"), message("second event"), message(" third event")]
        );
        assert_eq!(read(&[b"data\n\ndata\ndata\n\ndata:"]), [message(""), message("\n"), message("")]);
        assert_eq!(read(&[b"data:test\n\ndata: test\n\n"]), [message("test"), message("test")]);
    }

    #[test]
    fn a_byte_order_mark_comments_and_unknown_fields_are_skipped() {
        let text = b"\xef\xbb\xbfevent: error\nretry: 5\n: hi\nfoo: bar\ndata: x\n\nevent: lost\n\ndata: y\n\n";
        assert_eq!(read(&[text]), [Event { name: "error".into(), data: "x".into() }, message("y")]);
    }

    #[test]
    fn an_event_without_its_blank_line_counts_at_the_end() {
        assert_eq!(read(&[b"data: [DONE]"]), [message("[DONE]")]);
        assert_eq!(read(&[b"data: [DONE]\n"]), [message("[DONE]")]);
        assert_eq!(read(&[b": only a comment"]), []);
    }

    #[test]
    fn a_line_without_an_end_is_refused_before_it_fills_the_memory() {
        let (mut reader, mut out, chunk) = (Reader::default(), Vec::new(), vec![b'x'; 1 << 20]);
        let result = (0..9).try_for_each(|_| reader.push(&chunk, &mut out));
        assert_eq!(result, Err(TooLong));
    }

    #[test]
    fn many_lines_of_one_event_are_refused_too() {
        let (mut reader, mut out) = (Reader::default(), Vec::new());
        let line = [b"data:".to_vec(), vec![b'x'; 1 << 20], b"\n".to_vec()].concat();
        let result = (0..9).try_for_each(|_| reader.push(&line, &mut out));
        assert_eq!(result, Err(TooLong));
    }

    #[test]
    fn a_stream_cut_at_every_byte_reads_the_same() {
        let text = "\u{feff}event: a\r\ndata: grün 日本\r\n\r\ndata: x\rdata: y\r\r: c\n\ndata: [DONE]".as_bytes();
        let whole = read(&[text]);
        assert_eq!(whole.len(), 3);
        for cut in 0..=text.len() {
            let (a, b) = text.split_at(cut);
            assert_eq!(read(&[a, b]), whole, "cut at {cut}");
        }
        assert_eq!(read(&text.chunks(1).collect::<Vec<_>>()), whole);
    }

    proptest! {
        #[test]
        fn any_stream_reads_the_same_however_it_is_cut(
            text in r"((data|event|id|)(: ?[a-c]{0,3}|)(\n|\r|\r\n)|\n|\r\n){0,20}", sizes in prop::collection::vec(1usize..7, 1..40)
        ) {
            let bytes = text.as_bytes();
            let (mut reader, mut out, mut rest) = (Reader::default(), Vec::new(), bytes);
            for size in sizes.iter().cycle() {
                if rest.is_empty() { break; }
                let (a, b) = rest.split_at((*size).min(rest.len()));
                reader.push(a, &mut out).unwrap();
                rest = b;
            }
            out.extend(reader.finish());
            prop_assert_eq!(out, read(&[bytes]));
        }

        #[test]
        fn what_was_written_is_read(data in prop::collection::vec("[^\r\n]{0,20}", 1..5)) {
            let text: String = data.iter().map(|l| format!("data: {l}\n")).collect();
            prop_assert_eq!(read(&[format!("{text}\n").as_bytes()]), [message(&data.join("\n"))]);
        }
    }
}
