//! Keys and values of the tokens so far, and attention over them.
//!
//! Keys lie transposed, eight positions side by side, so that a lane is a position and scores need no addition across lanes. The query
//! heads that share a key head go through its keys together.

use crate::model::Shape;
use crate::vector::F32x4;

/// Positions per page.
const PAGE: usize = 64;
/// Positions whose keys lie side by side: two vectors.
const STRIP: usize = 8;
/// Query heads that go through keys and values together; what they sum up then just fits the registers.
const TOGETHER: usize = 3;

/// Keys and values of [`PAGE`] positions, all layers.
#[derive(Debug)]
struct Page {
    /// `[layer][kv head][strip][number]`, each for eight positions.
    keys: Vec<[F32x4; 2]>,
    /// `[layer][kv head][position]`, four vectors of four numbers at a time.
    values: Vec<[F32x4; 4]>,
}

/// The cache: grows by pages, so that nothing is ever copied.
#[derive(Debug)]
pub(crate) struct Cache {
    kv_heads: usize,
    head_width: usize,
    layers: usize,
    pages: Vec<Page>,
}

/// Where intermediate results go.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// Queries, each number in four lanes: `[number][head]`.
    queries: Vec<[F32x4; TOGETHER]>,
    /// Scores, then weights: `[quarter strip]`, four positions of each head.
    scores: Vec<[F32x4; TOGETHER]>,
}

impl Cache {
    pub(crate) fn new(shape: &Shape) -> Self {
        Self { kv_heads: shape.kv_heads, head_width: shape.head_width, layers: shape.layers, pages: Vec::new() }
    }

    /// Makes room for positions below `length`; false when there is no memory.
    pub(crate) fn reserve(&mut self, length: usize) -> bool {
        while self.pages.len() * PAGE < length {
            let heads = self.layers * self.kv_heads;
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            let (strips, quarters) = (heads * (PAGE / STRIP) * self.head_width, heads * PAGE * self.head_width / 16);
            if keys.try_reserve_exact(strips).is_err() || values.try_reserve_exact(quarters).is_err() {
                return false;
            }
            keys.resize(strips, [F32x4::ZERO; 2]);
            values.resize(quarters, [F32x4::ZERO; 4]);
            self.pages.push(Page { keys, values });
        }
        true
    }

    /// Gives back the pages that positions below `length` do not need.
    pub(crate) fn shrink(&mut self, length: usize) {
        self.pages.truncate(length.div_ceil(PAGE));
    }

    fn strips_per_head(&self) -> usize {
        PAGE / STRIP * self.head_width
    }

    fn quarters_per_head(&self) -> usize {
        PAGE * self.head_width / 16
    }

    /// Stores a token's keys and values of one layer.
    pub(crate) fn store(&mut self, layer: usize, position: usize, keys: &[F32x4], values: &[F32x4]) {
        let (strips, quarters, width) = (self.strips_per_head(), self.quarters_per_head(), self.head_width);
        let first_head = layer * self.kv_heads;
        let Some(page) = self.pages.get_mut(position / PAGE) else { return };
        let (strip, half, lane) = (position % PAGE / STRIP, position % STRIP / 4, position % 4);
        let heads = keys.chunks_exact(width / 4).zip(values.chunks_exact(width / 4));
        let places = page.keys.chunks_exact_mut(strips).zip(page.values.chunks_exact_mut(quarters)).skip(first_head);
        for ((key, value), (all_keys, all_values)) in heads.zip(places) {
            if let Some(strip) = all_keys.chunks_exact_mut(width).nth(strip) {
                for (numbers, places) in key.iter().zip(strip.as_chunks_mut::<4>().0) {
                    for (x, [low, high]) in numbers.to_array().into_iter().zip(places) {
                        let place = if half == 0 { low } else { high };
                        let mut lanes = place.to_array();
                        if let Some(at) = lanes.get_mut(lane) {
                            *at = x;
                        }
                        *place = F32x4::from_array(lanes);
                    }
                }
            }
            if let Some(place) = all_values.chunks_exact_mut(width / 16).nth(position % PAGE) {
                for (place, value) in place.iter_mut().zip(value.as_chunks::<4>().0) {
                    *place = *value;
                }
            }
        }
    }

    /// One token's attention in one layer, over all positions up to its own: `queries` and `out` hold all its heads.
    pub(crate) fn attend(
        &self,
        layer: usize,
        position: usize,
        queries: &[F32x4],
        scratch: &mut Scratch,
        out: &mut [F32x4],
    ) {
        let width = self.head_width / 4;
        let shared = queries.len() / (self.kv_heads * width).max(1) * width;
        for (head, (queries, out)) in queries.chunks_exact(shared).zip(out.chunks_exact_mut(shared)).enumerate() {
            let head = layer * self.kv_heads + head;
            for (queries, out) in queries.chunks(TOGETHER * width).zip(out.chunks_mut(TOGETHER * width)) {
                self.attend_together(head, position, queries, scratch, out);
            }
        }
    }

    /// Up to [`TOGETHER`] query heads on one key head; what is missing is computed with zeros and dropped.
    fn attend_together(
        &self,
        head: usize,
        position: usize,
        queries: &[F32x4],
        scratch: &mut Scratch,
        out: &mut [F32x4],
    ) {
        let width = self.head_width / 4;
        let scale = F32x4::splat(1.0 / (self.head_width as f32).sqrt());
        scratch.queries.clear();
        scratch.queries.resize(self.head_width, [F32x4::ZERO; TOGETHER]);
        for (h, query) in queries.chunks_exact(width).enumerate() {
            for (places, numbers) in scratch.queries.as_chunks_mut::<4>().0.iter_mut().zip(query) {
                for (place, x) in places.iter_mut().zip((*numbers * scale).broadcasts()) {
                    if let Some(place) = place.get_mut(h) {
                        *place = x;
                    }
                }
            }
        }
        self.score(head, position, scratch);
        let totals = softmax(&mut scratch.scores, position);
        let mut sums = [[F32x4::ZERO; 4]; TOGETHER];
        for quarter in 0..self.head_width / 16 {
            self.mix(head, position, quarter, &scratch.scores, &mut sums);
            for ((sums, total), out) in sums.iter().zip(totals).zip(out.chunks_exact_mut(width)) {
                let factor = F32x4::splat(1.0 / total);
                for (out, sum) in out.iter_mut().skip(4 * quarter).zip(sums) {
                    *out = *sum * factor;
                }
            }
        }
    }

    /// Products of queries and keys.
    fn score(&self, head: usize, position: usize, scratch: &mut Scratch) {
        let strips = self.strips_per_head();
        scratch.scores.clear();
        let mut left = position / STRIP + 1;
        for page in &self.pages {
            let keys = page.keys.chunks_exact(strips).nth(head).unwrap_or_default();
            for strip in keys.chunks_exact(self.head_width).take(left) {
                let [mut low, mut high] = [[F32x4::ZERO; TOGETHER]; 2];
                for ([first, second], query) in strip.iter().zip(&scratch.queries) {
                    for ((low, high), q) in low.iter_mut().zip(&mut high).zip(query) {
                        *low = first.mul_add(*q, *low);
                        *high = second.mul_add(*q, *high);
                    }
                }
                scratch.scores.push(low);
                scratch.scores.push(high);
            }
            left = left.saturating_sub(PAGE / STRIP);
            if left == 0 {
                break;
            }
        }
    }

    /// Sums of values with their weights: one quarter of a head's vectors.
    fn mix(
        &self,
        head: usize,
        position: usize,
        quarter: usize,
        weights: &[[F32x4; TOGETHER]],
        sums: &mut [[F32x4; 4]; TOGETHER],
    ) {
        let (quarters, width) = (self.quarters_per_head(), self.head_width / 16);
        let [mut a, mut b, mut c] = [[F32x4::ZERO; 4]; TOGETHER];
        let weights = weights.get(..position / 4 + 1).unwrap_or(weights);
        for (page, weights) in self.pages.iter().zip(weights.chunks(PAGE / 4)) {
            let values = page.values.chunks_exact(quarters).nth(head).unwrap_or_default();
            for (values, weights) in values.chunks_exact(4 * width).zip(weights) {
                let [p, q, r] = weights.map(F32x4::broadcasts);
                let values = values.iter().skip(quarter).step_by(width);
                for (((value, p), q), r) in values.zip(p).zip(q).zip(r) {
                    for (((v, a), b), c) in value.iter().zip(&mut a).zip(&mut b).zip(&mut c) {
                        *a = v.mul_add(p, *a);
                        *b = v.mul_add(q, *b);
                        *c = v.mul_add(r, *c);
                    }
                }
            }
        }
        *sums = [a, b, c];
    }
}

/// Scores to weights: `e^(score - largest)`, nothing beyond `position`; returns each head's sum of them.
fn softmax(scores: &mut [[F32x4; TOGETHER]], position: usize) -> [f32; TOGETHER] {
    // The last strip also has positions that come later, or that an earlier conversation left behind.
    fill_beyond(scores, position, f32::NEG_INFINITY);
    let mut largest = [F32x4::splat(f32::NEG_INFINITY); TOGETHER];
    for scores in scores.iter() {
        for (largest, score) in largest.iter_mut().zip(scores) {
            *largest = largest.max(*score);
        }
    }
    let largest = largest.map(|l| F32x4::splat(l.largest()));
    for scores in scores.iter_mut() {
        for (score, largest) in scores.iter_mut().zip(largest) {
            *score = (*score - largest).exp();
        }
    }
    fill_beyond(scores, position, 0.0);
    let mut sums = [F32x4::ZERO; TOGETHER];
    for scores in scores.iter() {
        for (sum, score) in sums.iter_mut().zip(scores) {
            *sum += *score;
        }
    }
    sums.map(F32x4::sum)
}

fn fill_beyond(scores: &mut [[F32x4; TOGETHER]], position: usize, filling: f32) {
    for (four, scores) in scores.iter_mut().enumerate().skip(position / 4) {
        for score in scores {
            let mut lanes = score.to_array();
            for lane in lanes.iter_mut().skip((position + 1).saturating_sub(4 * four)) {
                *lane = filling;
            }
            *score = F32x4::from_array(lanes);
        }
    }
}
