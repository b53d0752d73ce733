//! What a turn sees of its session: everything before it, or only the answers it follows.

use crate::agent::Inner;
use crate::journal::{self, Job};
use crate::rows::{Exchange, Transcript};
use carapace_contract::Ulid;
use carapace_contract::turn::TurnError;
use carapace_store::Store;
use std::collections::HashMap;

impl Inner {
    /// The transcript of `job`'s turn, from at most `most` rows and as many exchanges.
    pub(crate) async fn transcript(&self, job: &Job, most: usize) -> Result<Transcript, TurnError> {
        let rows = journal::read_rows(&self.store, &job.session, most).await?;
        let mut transcript = Transcript::of(rows, job.run);
        if transcript.current.began().is_none() {
            // A resumed run with more rows than were read: without its beginning nothing of it can be trusted.
            transcript.current.rows = journal::read_run(&self.store, job.run).await?;
        }
        if let Some(after) = job.request.options.after {
            transcript.earlier = follow(&self.store, transcript.earlier, after, most).await?;
        }
        for exchange in &mut transcript.earlier {
            if let (Some(began), Some(run)) = (exchange.began(), exchange.run())
                && began.brought
            {
                exchange.brought = journal::read_history(&self.store, run).await?;
            }
        }
        Ok(transcript)
    }
}

/// The exchanges that lead to `after`'s answer, oldest first. One that follows nothing saw all that was before it.
async fn follow(store: &Store, earlier: Vec<Exchange>, after: Ulid, most: usize) -> Result<Vec<Exchange>, TurnError> {
    let mut known: HashMap<Ulid, (usize, Exchange)> = HashMap::new();
    for (place, exchange) in earlier.into_iter().enumerate() {
        if let Some(run) = exchange.run() {
            known.insert(run, (place, exchange));
        }
    }
    let mut followed: Vec<Exchange> = Vec::new();
    let mut next = Some(after);
    while let Some(run) = next
        && followed.len() < most
    {
        let (place, exchange) = match known.remove(&run) {
            Some(found) => found,
            // Further back than what was read, with much beside it since.
            None => (0, Exchange::of(journal::read_run(store, run).await?)),
        };
        // Erased: what led to it cannot be told any more.
        let Some(began) = exchange.began() else { break };
        next = began.after;
        followed.push(exchange);
        if next.is_none() {
            let mut before: Vec<(usize, Exchange)> = known.drain().map(|(_, e)| e).filter(|e| e.0 < place).collect();
            before.sort_by_key(|(place, _)| *place);
            followed.extend(before.into_iter().rev().map(|(_, e)| e));
        }
    }
    followed.reverse();
    Ok(followed)
}
