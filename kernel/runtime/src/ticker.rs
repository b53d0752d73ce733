//! The epoch ticker: one thread, one tick each 10 ms, asleep while no guest runs.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::{JoinHandle, Thread};
use std::time::Duration;
use wasmtime::EngineWeak;

/// Milliseconds of one tick.
pub(crate) const TICK_MS: u64 = 10;
/// Ticks without a guest before the thread goes to sleep: waking it for each of many short calls would cost more.
const IDLE_TICKS: u32 = 100;

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    engines: Mutex<Vec<EngineWeak>>,
    ticks: AtomicU64,
    running: AtomicUsize,
    parked: AtomicBool,
    stop: AtomicBool,
    thread: OnceLock<Thread>,
}

impl Ticker {
    /// `manual`: no thread; ticks come from [`tick`](Self::tick) alone.
    pub(crate) fn new(manual: bool) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let thread = if manual {
            None
        } else {
            let inner = shared.clone();
            let thread = std::thread::Builder::new().name("carapace-ticker".into()).spawn(move || inner.run())?;
            let _ = shared.thread.set(thread.thread().clone());
            Some(thread)
        };
        Ok(Self { shared, thread })
    }

    pub(crate) fn add(&self, engine: &wasmtime::Engine) {
        self.shared.engines.lock().unwrap_or_else(PoisonError::into_inner).push(engine.weak());
    }

    /// Ticks so far.
    pub(crate) fn now(&self) -> u64 {
        self.shared.ticks.load(Relaxed)
    }

    /// One tick, by hand.
    pub(crate) fn tick(&self) {
        self.shared.tick();
    }

    /// Whether the thread sleeps.
    pub(crate) fn parked(&self) -> bool {
        self.shared.parked.load(SeqCst)
    }

    /// A guest runs until the value is dropped.
    pub(crate) fn running(&self) -> Running {
        self.shared.running.fetch_add(1, SeqCst);
        if self.shared.parked.load(SeqCst)
            && let Some(thread) = self.shared.thread.get()
        {
            thread.unpark();
        }
        Running(self.shared.clone())
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn tick(&self) {
        // The counter first: a guest that sees the new epoch must see the new tick, too.
        self.ticks.fetch_add(1, SeqCst);
        for engine in self.engines.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            if let Some(engine) = engine.upgrade() {
                engine.increment_epoch();
            }
        }
    }

    fn run(&self) {
        let mut idle = 0;
        while !self.stop.load(SeqCst) {
            if self.running.load(SeqCst) > 0 {
                idle = 0;
            } else {
                idle += 1;
            }
            if idle > IDLE_TICKS {
                self.parked.store(true, SeqCst);
                // Between the flag and the sleep somebody may have come; whoever comes later unparks.
                while self.running.load(SeqCst) == 0 && !self.stop.load(SeqCst) {
                    std::thread::park();
                }
                self.parked.store(false, SeqCst);
                idle = 0;
            }
            std::thread::sleep(Duration::from_millis(TICK_MS));
            self.tick();
        }
    }
}

pub(crate) struct Running(Arc<Shared>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_sleeps_while_nothing_runs_and_wakes_for_a_guest() {
        let ticker = Ticker::new(false).unwrap();
        while !ticker.parked() {
            std::thread::yield_now();
        }
        let before = ticker.now();
        let running = ticker.running();
        while ticker.now() < before + 2 {
            std::thread::yield_now();
        }
        drop(running);
        while !ticker.parked() {
            std::thread::yield_now();
        }
    }
}
