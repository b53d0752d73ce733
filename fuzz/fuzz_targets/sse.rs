//! An event stream is a server's bytes, cut anywhere: it reads the same however it is cut.
#![no_main]

// The file itself: the crate around it is a component's, with bindings that no fuzzer needs.
#[path = "../../components/lib/provider-wire/src/sse.rs"]
mod sse;

use sse::{Event, Reader};

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Vec<Event> {
    let (mut reader, mut events) = (Reader::default(), Vec::new());
    for piece in pieces {
        reader.push(piece, &mut events).expect("the fuzzer's inputs are shorter than any limit");
    }
    events.extend(reader.finish());
    events
}

// The first byte says how long the pieces are.
libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let Some((size, bytes)) = input.split_first() else { return };
    let size = usize::from(*size) + 1;
    let whole = read(std::iter::once(bytes));
    assert_eq!(read(bytes.chunks(size)), whole, "cut every {size} bytes");
    for event in &whole {
        assert!(!event.name.is_empty());
        assert!(!event.data.contains('\r'));
    }
});
