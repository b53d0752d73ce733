//! Keys and values of the tokens so far, and attention over them.
//!
//! A lane is a query: up to eight of them, heads that share a key head and tokens of a batch alike, go through keys and values
//! together. A vector of four positions' keys, or of four numbers of a value, is multiplied with the queries in all its rotations,
//! as in `matrix`. What a query sums up and in which order depends on its own position only, never on who goes with it.

use crate::model::Shape;
use crate::vector::F32x4;
use std::array::from_fn;

/// Positions per page.
const PAGE: usize = 64;
/// Positions whose keys lie side by side.
const STRIP: usize = 4;
/// Weights come in multiples of this, so that the innermost loops can be unrolled.
const WHOLE: usize = 8;

/// Keys and values of [`PAGE`] positions, all layers.
#[derive(Debug)]
struct Page {
    /// `[layer][kv head][strip][number]`, each for four positions.
    keys: Vec<F32x4>,
    /// `[layer][kv head][quarter of the numbers][position]`, each four numbers.
    values: Vec<F32x4>,
}

/// The cache: grows by pages, so that nothing is ever copied.
#[derive(Debug)]
pub(crate) struct Cache {
    heads: usize,
    kv_heads: usize,
    head_width: usize,
    layers: usize,
    pages: Vec<Page>,
}

/// Where intermediate results go.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    /// `[number][four queries]`
    queries: Vec<F32x4>,
    /// Scores, then weights: `[position][four queries]`.
    weights: Vec<F32x4>,
}

/// One head of one token.
#[derive(Debug, Clone, Copy)]
struct Query {
    /// The token's, and the last one that it sees.
    position: usize,
    /// Where its numbers begin in the batch's.
    at: usize,
}

/// Four queries; lanes may stay empty.
type Lanes = [Option<Query>; 4];

impl Cache {
    pub(crate) fn new(shape: &Shape) -> Self {
        let Shape { heads, kv_heads, head_width, layers, .. } = *shape;
        Self { heads, kv_heads, head_width, layers, pages: Vec::new() }
    }

    /// Makes room for positions below `length`; false when there is no memory.
    pub(crate) fn reserve(&mut self, length: usize) -> bool {
        while self.pages.len() * PAGE < length {
            let (mut keys, mut values) = (Vec::new(), Vec::new());
            let vectors = self.layers * self.kv_heads * self.per_head();
            if keys.try_reserve_exact(vectors).is_err() || values.try_reserve_exact(vectors).is_err() {
                return false;
            }
            keys.resize(vectors, F32x4::ZERO);
            values.resize(vectors, F32x4::ZERO);
            self.pages.push(Page { keys, values });
        }
        true
    }

    /// Gives back the pages that positions below `length` do not need.
    pub(crate) fn shrink(&mut self, length: usize) {
        self.pages.truncate(length.div_ceil(PAGE));
    }

    /// Vectors of one head's keys in a page, and of its values.
    fn per_head(&self) -> usize {
        PAGE * self.head_width / 4
    }

    /// Stores a token's keys and values of one layer.
    pub(crate) fn store(&mut self, layer: usize, position: usize, keys: &[F32x4], values: &[F32x4]) {
        let (per_head, width) = (self.per_head(), self.head_width);
        let Some(page) = self.pages.get_mut(position / PAGE) else { return };
        let (strip, lane) = (position % PAGE / STRIP, position % STRIP);
        let heads = keys.chunks_exact(width / 4).zip(values.chunks_exact(width / 4));
        let places = page.keys.chunks_exact_mut(per_head).zip(page.values.chunks_exact_mut(per_head));
        for ((key, value), (all_keys, all_values)) in heads.zip(places.skip(layer * self.kv_heads)) {
            let numbers = key.iter().flat_map(|four| four.to_array());
            for (x, place) in numbers.zip(all_keys.iter_mut().skip(strip * width)) {
                place.set(lane, x);
            }
            for (four, places) in value.iter().zip(all_values.chunks_exact_mut(PAGE)) {
                if let Some(place) = places.get_mut(position % PAGE) {
                    *place = *four;
                }
            }
        }
    }

    /// Attention in one layer of tokens from position `first` on, each over all positions up to its own. `queries` and `out` hold all
    /// heads of all these tokens.
    pub(crate) fn attend(
        &self,
        layer: usize,
        first: usize,
        queries: &[F32x4],
        scratch: &mut Scratch,
        out: &mut [F32x4],
    ) {
        let (width, shared) = (self.head_width / 4, self.heads / self.kv_heads);
        let count = queries.len() / (self.kv_heads * width);
        for head in 0..self.kv_heads {
            let query = |n: usize| {
                let (token, member) = (n / shared, n % shared);
                let at = (token * self.heads + head * shared + member) * width;
                (n < count).then_some(Query { position: first + token, at })
            };
            for n in (0..count).step_by(8) {
                let [low, high]: [Lanes; 2] = [n, n + 4].map(|n| from_fn(|i| query(n + i)));
                let head = layer * self.kv_heads + head;
                if n + 4 < count {
                    self.attend_together::<2, 4>(head, [low, high], queries, scratch, out);
                } else {
                    self.attend_together::<1, 8>(head, [low], queries, scratch, out);
                }
            }
        }
    }

    /// Some queries on one key head, `STEP` vectors of keys or values in a round of the innermost loops: compilers keep no vector in a
    /// register from one round to the next, and put all of a round's loads first, so that it must neither be short nor long.
    fn attend_together<const Q: usize, const STEP: usize>(
        &self,
        head: usize,
        lanes: [Lanes; Q],
        queries: &[F32x4],
        scratch: &mut Scratch,
        out: &mut [F32x4],
    ) {
        let width = self.head_width / 4;
        let scale = F32x4::splat(1.0 / (self.head_width as f32).sqrt());
        scratch.queries.clear();
        for i in 0..width {
            let fours = lanes.map(|four| {
                let numbers =
                    four.map(|query| query.and_then(|q| queries.get(q.at + i)).copied().unwrap_or(F32x4::ZERO));
                F32x4::transpose(numbers.map(|four| four * scale))
            });
            scratch.queries.extend((0..4).flat_map(|n| fours.into_iter().filter_map(move |four| four.get(n).copied())));
        }
        let last = lanes.iter().flatten().flatten().map(|q| q.position).max().unwrap_or_default();
        self.score::<Q, STEP>(head, last + 1, scratch);
        let totals = softmax(scratch.weights.as_chunks_mut::<Q>().0, &lanes);
        let factors = totals.map(|total| F32x4::splat(1.0) / total);
        for quarter in 0..width {
            let sums = self.mix::<Q, STEP>(head, quarter, &scratch.weights);
            for ((four, sums), factor) in lanes.iter().zip(sums).zip(factors) {
                let numbers = F32x4::transpose(F32x4::unrotate(sums).map(|sum| sum * factor));
                for (query, numbers) in four.iter().zip(numbers) {
                    if let Some(place) = query.and_then(|q| out.get_mut(q.at + quarter)) {
                        *place = numbers;
                    }
                }
            }
        }
    }

    /// Products of queries and the keys of the first `length` positions.
    fn score<const Q: usize, const STEP: usize>(&self, head: usize, length: usize, scratch: &mut Scratch) {
        scratch.weights.clear();
        let queries = scratch.queries.as_chunks::<Q>().0.as_chunks::<STEP>().0;
        let pages = self.pages.iter().filter_map(|page| page.keys.chunks_exact(self.per_head()).nth(head));
        for strip in pages.flat_map(|keys| keys.chunks_exact(self.head_width)).take(length.div_ceil(STRIP)) {
            let mut sums = [[F32x4::ZERO; 4]; Q];
            for (keys, queries) in strip.as_chunks::<STEP>().0.iter().zip(queries) {
                for (key, queries) in keys.iter().zip(queries) {
                    add_products(*key, queries, &mut sums);
                }
            }
            let positions = sums.map(F32x4::unrotate);
            scratch
                .weights
                .extend((0..STRIP).flat_map(|p| positions.into_iter().filter_map(move |four| four.get(p).copied())));
        }
        scratch.weights.resize(length.next_multiple_of(WHOLE) * Q, F32x4::ZERO);
    }

    /// Sums of values with their weights: four numbers of them, rotated.
    fn mix<const Q: usize, const STEP: usize>(
        &self,
        head: usize,
        quarter: usize,
        weights: &[F32x4],
    ) -> [[F32x4; 4]; Q] {
        let weights = weights.as_chunks::<Q>().0.as_chunks::<STEP>().0;
        let mut sums = [[F32x4::ZERO; 4]; Q];
        for (page, weights) in self.pages.iter().zip(weights.chunks(PAGE / STEP)) {
            let values = page.values.chunks_exact(PAGE).nth(head * self.head_width / 4 + quarter).unwrap_or_default();
            for (values, weights) in values.as_chunks::<STEP>().0.iter().zip(weights) {
                for (value, weights) in values.iter().zip(weights) {
                    add_products(*value, weights, &mut sums);
                }
            }
        }
        sums
    }
}

/// Adds the products of each four queries' numbers with the vector's: `i` with `i + k` in lane `i` of the `k`th sum.
#[inline(always)]
fn add_products<const Q: usize>(vector: F32x4, queries: &[F32x4; Q], sums: &mut [[F32x4; 4]; Q]) {
    for (k, rotated) in vector.rotations().into_iter().enumerate() {
        for (sums, query) in sums.iter_mut().zip(queries) {
            if let Some(sum) = sums.get_mut(k) {
                *sum = rotated.mul_add(*query, *sum);
            }
        }
    }
}

/// Scores to weights: `e^(score - largest)`, nothing beyond a query's position; returns the sum of them for each.
fn softmax<const Q: usize>(scores: &mut [[F32x4; Q]], lanes: &[Lanes; Q]) -> [F32x4; Q] {
    // There are scores of positions that come later, or that an earlier conversation left behind.
    fill_beyond(scores, lanes, f32::NEG_INFINITY);
    let mut largest = [F32x4::splat(f32::NEG_INFINITY); Q];
    for scores in scores.iter() {
        for (largest, score) in largest.iter_mut().zip(scores) {
            *largest = largest.max(*score);
        }
    }
    for scores in scores.iter_mut() {
        for (score, largest) in scores.iter_mut().zip(largest) {
            *score = (*score - largest).exp();
        }
    }
    fill_beyond(scores, lanes, 0.0);
    let mut sums = [F32x4::ZERO; Q];
    for scores in scores.iter() {
        for (sum, score) in sums.iter_mut().zip(scores) {
            *sum += *score;
        }
    }
    sums
}

fn fill_beyond<const Q: usize>(scores: &mut [[F32x4; Q]], lanes: &[Lanes; Q], filling: f32) {
    for (four, lanes) in lanes.iter().enumerate() {
        for (lane, query) in lanes.iter().enumerate() {
            let Some(query) = query else { continue };
            for score in scores.iter_mut().skip(query.position + 1).filter_map(|scores| scores.get_mut(four)) {
                score.set(lane, filling);
            }
        }
    }
}
