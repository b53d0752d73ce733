//! Choosing the next token.

use crate::tokeniser::Token;

/// How to choose. The default is the likeliest token, always.
#[derive(Debug, Clone, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest; 1 follows the model's own probabilities; between, likelier ones gain.
    pub temperature: f32,
    /// Only so many of the likeliest are considered; 0 = all.
    pub top_k: usize,
    /// Only the likeliest that together have this probability are considered; 1 = all.
    pub top_p: f32,
    /// Divides (or, when negative, multiplies) the logits of recent tokens; 1 = none.
    pub repetition: f32,
    /// Same seed, same choices.
    pub seed: u64,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.0, top_k: 0, top_p: 1.0, repetition: 1.0, seed: 0 }
    }
}

/// Chooses tokens one after the other.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    state: u64,
}

impl Sampler {
    /// A sampler at the beginning of its choices.
    pub fn new(sampling: Sampling) -> Self {
        let state = sampling.seed;
        Self { sampling, state }
    }

    /// The next token; `recent` are those that a repetition is measured by. None without logits.
    pub fn choose(&mut self, logits: &[f32], recent: &[Token]) -> Option<Token> {
        let s = &self.sampling;
        let mut candidates: Vec<(f32, u32)> = logits.iter().copied().zip(0..).collect();
        if s.repetition != 1.0 {
            let mut seen: Vec<usize> = recent.iter().map(|t| t.index()).collect();
            seen.sort_unstable();
            seen.dedup();
            for token in seen {
                if let Some((logit, _)) = candidates.get_mut(token) {
                    *logit = if *logit > 0.0 { *logit / s.repetition } else { *logit * s.repetition };
                }
            }
        }
        // Of equals the lower number, so that the choice is always the same.
        let likelier = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
        let best = candidates.iter().copied().min_by(likelier)?;
        if s.temperature.is_nan() || s.temperature <= 0.0 {
            return Some(Token(best.1));
        }
        // What is e^-20 as likely as the best is never chosen; without it there is less to sort.
        candidates.retain(|c| c.0 >= best.0 - 20.0 * s.temperature);
        candidates.sort_unstable_by(likelier);
        if s.top_k > 0 {
            candidates.truncate(s.top_k);
        }
        let weights: Vec<f32> = candidates.iter().map(|c| ((c.0 - best.0) / s.temperature).exp()).collect();
        let total: f32 = weights.iter().sum();
        let (mut kept, mut count) = (0.0, 0);
        for weight in &weights {
            kept += weight;
            count += 1;
            if kept >= s.top_p * total {
                break;
            }
        }
        let mut left = self.uniform() * kept;
        let chosen = weights.iter().take(count).position(|w| {
            left -= w;
            left < 0.0
        });
        candidates.get(chosen.unwrap_or(count - 1)).map(|c| Token(c.1))
    }

    /// From 0 up to but without 1: SplitMix64, <https://prng.di.unimi.it/splitmix64.c>.
    fn uniform(&mut self) -> f32 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u32 << 24) as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(sampling: Sampling, logits: &[f32], n: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        (0..n).map(|_| sampler.choose(logits, &[]).unwrap().0).collect()
    }

    #[test]
    fn without_temperature_the_likeliest_is_taken_and_of_equals_the_first() {
        assert_eq!(draws(Sampling::default(), &[0.0, 3.0, 3.0, 1.0], 3), [1, 1, 1]);
        assert_eq!(Sampler::new(Sampling::default()).choose(&[], &[]), None);
    }

    #[test]
    fn draws_follow_the_probabilities_and_the_seed_repeats_them() {
        let sampling = Sampling { temperature: 1.0, seed: 7, ..Sampling::default() };
        let logits = [0.7f32.ln(), 0.2f32.ln(), 0.1f32.ln()];
        let drawn = draws(sampling.clone(), &logits, 10_000);
        for (token, share) in [(0, 0.7), (1, 0.2), (2, 0.1)] {
            let got = drawn.iter().filter(|&&t| t == token).count() as f64 / 10_000.0;
            assert!((got - share).abs() < 0.02, "token {token}: {got}");
        }
        assert_eq!(drawn, draws(sampling.clone(), &logits, 10_000));
        assert_ne!(drawn, draws(Sampling { seed: 8, ..sampling }, &logits, 10_000));
    }

    #[test]
    fn top_p_and_top_k_cut_the_tail() {
        let logits = [0.5f32.ln(), 0.3f32.ln(), 0.2f32.ln()];
        let p = Sampling { temperature: 1.0, top_p: 0.6, ..Sampling::default() };
        assert!(draws(p, &logits, 1000).iter().all(|&t| t < 2));
        let k = Sampling { temperature: 1.0, top_k: 1, ..Sampling::default() };
        assert!(draws(k, &logits, 1000).iter().all(|&t| t == 0));
    }

    #[test]
    fn a_repetition_is_made_less_likely() {
        let mut sampler = Sampler::new(Sampling { repetition: 1.3, ..Sampling::default() });
        assert_eq!(sampler.choose(&[2.0, 1.8], &[Token(0), Token(0)]), Some(Token(1)));
        assert_eq!(sampler.choose(&[-1.0, -1.1], &[Token(0)]), Some(Token(1)));
    }
}
