//! Tests of a component, without a kernel: in this process against a [`FakeHost`], or, the same test, against the built component.
//!
//! ```ignore
//! #[carapace_sdk::test]
//! fn two_dice(host: &mut TestHost) {
//!     host.random([0, 4]);
//!     assert_eq!(host.call_tool("dice_roll", json!({ "count": 2 })).unwrap().text(), "1 5");
//! }
//! ```
//!
//! Which of the two is decided by the environment: with `CARAPACE_TEST_COMPONENT` (a package) and `CARAPACE_TEST_HOST` (the `carapace` that
//! runs it), which `carapace plugin test` sets, calls go to the component. What it finds there is the same fake, behind the kernel's own
//! verification, linking and limits. A call that ends without an answer (a panic, a limit) fails the test with the kernel's text and what
//! was logged.
//!
//! The feature is for tests only: `carapace-sdk = { …, features = ["testing"] }` under `[dev-dependencies]`.

mod answer;
mod channel;
mod fake;
mod journal;
mod output;
#[doc(hidden)]
pub mod protocol;
mod recording;
mod remote;
mod test_host;

pub use answer::Answer;
pub use channel::Led;
pub use fake::FakeHost;
pub use journal::{LogLine, Sent};
pub use output::Output;
pub use test_host::TestHost;

use std::cell::RefCell;
use std::rc::Rc;

thread_local! {
    static CURRENT: RefCell<Option<Rc<RefCell<FakeHost>>>> = const { RefCell::new(None) };
}

/// The fake host of the test that runs on this thread.
#[allow(clippy::panic, reason = "a test that calls an import without a host is wrong, and must say so")]
pub(crate) fn current<R>(f: impl FnOnce(&mut FakeHost) -> R) -> R {
    let host = CURRENT.with_borrow(Clone::clone);
    let Some(host) = host else {
        panic!("an import was called outside of a #[carapace_sdk::test], or on another thread than the test's");
    };
    f(&mut host.borrow_mut())
}

/// What a test may return.
pub trait Verdict {
    /// Panics if it says that the test failed.
    fn check(self);
}

impl Verdict for () {
    fn check(self) {}
}

impl<E: std::fmt::Debug> Verdict for Result<(), E> {
    #[allow(clippy::panic, reason = "so a test fails")]
    fn check(self) {
        if let Err(e) = self {
            panic!("the test returned {e:?}");
        }
    }
}

/// Runs a test. Called by `#[carapace_sdk::test]`.
#[doc(hidden)]
pub fn run<V: Verdict>(component: crate::__private::Component, test: impl FnOnce(&mut TestHost) -> V) {
    struct Clear;
    impl Drop for Clear {
        fn drop(&mut self) {
            CURRENT.set(None);
        }
    }
    let mut host = TestHost::new(component);
    CURRENT.set(Some(host.fake()));
    let _clear = Clear;
    test(&mut host).check();
}
