//! What the tokenizer reads from.

use html5gum::Reader;
use std::convert::Infallible;

/// Text in memory. The library's own reader is inlined into each of the tokenizer's eighty states, which costs more space
/// than it saves time.
pub(crate) struct Text<'t>(pub(crate) &'t [u8]);

impl Reader for Text<'_> {
    type Error = Infallible;

    #[inline(never)]
    fn read_byte(&mut self) -> Result<Option<u8>, Infallible> {
        Ok(self.0.split_off_first().copied())
    }

    #[inline(never)]
    fn try_read_string(&mut self, wanted: &[u8], case_sensitive: bool) -> Result<bool, Infallible> {
        let Some((start, rest)) = self.0.split_at_checked(wanted.len()) else { return Ok(false) };
        let found = if case_sensitive { start == wanted } else { start.eq_ignore_ascii_case(wanted) };
        if found {
            self.0 = rest;
        }
        Ok(found)
    }

    #[inline(never)]
    fn read_until<'b>(&'b mut self, needle: &[u8], _: &'b mut [u8; 4]) -> Result<Option<&'b [u8]>, Infallible> {
        let plain = self.0.iter().position(|byte| needle.contains(byte)).unwrap_or(self.0.len());
        // What is looked for comes alone.
        Ok(self.0.split_off(..plain.max(1).min(self.0.len())).filter(|piece| !piece.is_empty()))
    }
}
