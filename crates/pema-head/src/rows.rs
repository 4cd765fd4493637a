//! Rows of the head, and what one pass over them gives.
//!
//! A tile of rows goes through everything while the cache holds it: its logits, their exponentials, and
//! what these pull the gradient to. As products with the whole head, one after the other, it would be
//! read from memory twice, and across its rows the second time.

use std::{fmt, ops::Range, sync::Arc};

use crate::{
    LogitShape, SoftmaxPart,
    exp::exp,
    product::{Batch, add_pull},
};

/// Rows of the head in a tile: at `d` 576, 288 KiB beside their logits, which a core's cache holds.
const TILE_ROWS: usize = 128;

/// Rows of the batch that go through the head together.
const BATCH_ROWS: usize = 256;

/// Parts of the head that are done side by side and then joined: so many on every machine, so that the
/// number of its cores changes no result.
const PARTS: usize = 16;

/// Some rows of the head, or all. Cheap to clone.
#[derive(Clone)]
pub struct HeadRows {
    /// `[rows, d]`.
    w: Arc<Vec<f32>>,
    d: usize,
    shape: LogitShape,
}

impl HeadRows {
    /// Takes `w [rows, d]`, row-major.
    ///
    /// # Panics
    /// If `w` is not whole rows of `d` entries, `d` at least 1.
    pub fn new(w: Vec<f32>, d: usize, shape: LogitShape) -> Self {
        assert!(w.len().is_multiple_of(d), "{} entries are no rows of {d}", w.len());
        Self { w: Arc::new(w), d, shape }
    }

    /// How many rows there are.
    pub fn count(&self) -> usize {
        self.w.len() / self.d
    }

    /// `d`: entries of a row.
    pub fn d(&self) -> usize {
        self.d
    }

    /// How products become logits.
    pub fn shape(&self) -> LogitShape {
        self.shape
    }

    /// One row, `[d]`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn row(&self, row: usize) -> &[f32] {
        &self.w[row * self.d..][..self.d]
    }

    /// Logits `[n, rows]` of `h [n, d]`.
    ///
    /// # Panics
    /// If `h` is not whole rows of `d` entries.
    pub fn logits(&self, h: &[f32]) -> Vec<f32> {
        let batch = Batch::new(h, self.d);
        let (n, count) = (batch.n(), self.count());
        let of_part = |part: Range<usize>| -> Vec<f32> {
            let mut logits = vec![0.0; part.len() * n];
            for (w, logits) in self.tiles(part).zip(logits.chunks_mut(TILE_ROWS * n)) {
                batch.products(w, logits);
            }
            logits
        };
        let mut all = vec![0.0; n * count];
        let parts = self.parts();
        for (part, logits) in parts.clone().into_iter().zip(in_parallel(parts, of_part)) {
            for (row, products) in part.zip(logits.chunks_exact(n)) {
                for (i, product) in products.iter().enumerate() {
                    all[i * count + row] = self.shape.logit(*product);
                }
            }
        }
        all
    }

    /// The softmax of `h [n, d]` over these rows.
    ///
    /// # Panics
    /// If `h` is not whole rows of `d` entries.
    pub fn softmax(&self, h: &[f32], wants_pull: bool) -> SoftmaxPart {
        let softmax_of = |h: &[f32]| {
            let batch = Batch::new(h, self.d);
            let parts = in_parallel(self.parts(), |part| self.softmax_of_part(part, &batch, wants_pull));
            let empty = SoftmaxPart::empty(batch.n(), self.d, wants_pull);
            parts.iter().fold(empty, SoftmaxPart::join)
        };
        let mut all = SoftmaxPart::empty(0, self.d, wants_pull);
        for h in h.chunks(BATCH_ROWS * self.d) {
            let SoftmaxPart { top, mass, pull } = softmax_of(h);
            all.top.extend(top);
            all.mass.extend(mass);
            all.pull.extend(pull);
        }
        all
    }

    fn softmax_of_part(&self, part: Range<usize>, batch: &Batch<'_>, wants_pull: bool) -> SoftmaxPart {
        let n = batch.n();
        let SoftmaxPart { mut top, mut mass, mut pull } = SoftmaxPart::empty(n, self.d, wants_pull);
        let mut room = vec![0.0; TILE_ROWS * n];
        for w in self.tiles(part) {
            let logits = &mut room[..w.len() / self.d * n]; // [rows, n]
            batch.products(w, logits);
            if self.shape != LogitShape::PLAIN {
                logits.iter_mut().for_each(|logit| *logit = self.shape.logit(*logit));
            }
            let mut new_top = top.clone();
            for logits in logits.chunks_exact(n) {
                new_top.iter_mut().zip(logits).for_each(|(top, logit)| *top = top.max(*logit));
            }
            for (i, (top, new_top)) in top.iter().zip(&new_top).enumerate().filter(|(_, (top, new_top))| top != new_top) {
                let fade = exp(top - new_top);
                mass[i] *= fade;
                pull.iter_mut().skip(i * self.d).take(self.d).for_each(|pull| *pull *= fade);
            }
            top = new_top;
            for logits in logits.chunks_exact_mut(n) {
                for ((logit, top), mass) in logits.iter_mut().zip(&top).zip(&mut mass) {
                    let weight = exp(*logit - top);
                    *mass += weight;
                    *logit = weight * self.shape.slope(*logit);
                }
            }
            if wants_pull {
                add_pull(w, logits, self.d, &mut pull);
            }
        }
        SoftmaxPart { top, mass, pull }
    }

    /// The rows of a part, in tiles.
    fn tiles(&self, part: Range<usize>) -> impl Iterator<Item = &[f32]> {
        self.w[part.start * self.d..part.end * self.d].chunks(TILE_ROWS * self.d)
    }

    /// All rows, in at most [`PARTS`] parts of whole tiles.
    fn parts(&self) -> Vec<Range<usize>> {
        let rows = self.count().div_ceil(PARTS).next_multiple_of(TILE_ROWS);
        let starts = (0..self.count()).step_by(rows);
        starts.map(|start| start..self.count().min(start + rows)).collect()
    }
}

impl fmt::Debug for HeadRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HeadRows").field("count", &self.count()).field("d", &self.d).finish_non_exhaustive()
    }
}

/// What each part gives, in their order.
fn in_parallel<T: Send>(parts: Vec<Range<usize>>, of_part: impl Fn(Range<usize>) -> T + Send + Sync) -> Vec<T> {
    #[cfg(not(target_family = "wasm"))]
    let results = {
        use rayon::iter::{IntoParallelIterator, ParallelIterator};
        parts.into_par_iter().map(of_part).collect()
    };
    // A tab has its pool of workers instead.
    #[cfg(target_family = "wasm")]
    let results = parts.into_iter().map(of_part).collect();
    results
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_are_whole_tiles_and_cover_all_rows() {
        for count in [1, 127, 128, 129, 2048, 2049, 49152] {
            let rows = HeadRows::new(vec![0.0; count], 1, LogitShape::PLAIN);
            let parts = rows.parts();
            assert!(parts.len() <= PARTS && parts[0].start == 0 && parts[parts.len() - 1].end == count);
            assert!(parts.windows(2).all(|pair| pair[0].end == pair[1].start && pair[0].len().is_multiple_of(TILE_ROWS)));
        }
    }
}
