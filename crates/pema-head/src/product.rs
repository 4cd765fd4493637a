//! Products of matrices.
//!
//! Natively those of the head are gemm's, which has kernels for every processor. Its kernels for wasm keep
//! their sums in memory, not in registers, and take four times as long as the blocks here, which compilers
//! make vectors of. One row of `h` alone is gemm's everywhere: that product waits for memory.

use std::array;

use gemm::Parallelism;

/// Columns of a panel: two of wasm's vectors.
const COLUMNS: usize = 8;

/// Rows of a block: its sums, a row of a panel and a factor are in 12 registers, of the 16 that x86 has.
const ROWS: usize = 4;

/// Sums of products.
type Block = [[f32; COLUMNS]; ROWS];

/// A matrix where it lies: its entry `(i, j)` is `entries[i * strides[0] + j * strides[1]]`.
#[derive(Clone, Copy, Debug)]
pub struct Matrix<'a> {
    /// The entries, and others.
    pub entries: &'a [f32],
    /// `[rows, columns]`.
    pub shape: [usize; 2],
    /// Of a row and of a column; none is 0.
    pub strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// The transpose of a row-major matrix with so many columns.
    fn transposed(entries: &'a [f32], columns: usize) -> Self {
        Self { entries, shape: [columns, entries.len() / columns], strides: [1, columns] }
    }

    /// Its columns from `start` on, row by row; past its edge, zeros.
    fn panel<const N: usize>(self, start: usize, panel: &mut [[f32; N]]) {
        let [row_stride, column_stride] = self.strides;
        let columns = start..self.shape[1].min(start + N);
        if column_stride == 1 {
            for (i, panel) in panel.iter_mut().enumerate() {
                *panel = padded(&self.entries[i * row_stride..][columns.clone()]);
            }
        } else {
            for (i, column) in columns.enumerate() {
                let entries = self.entries[column * column_stride..].iter().step_by(row_stride);
                panel.iter_mut().zip(entries).for_each(|(panel, entry)| panel[i] = *entry);
            }
        }
    }

    /// All of it in panels, one after the other.
    fn panels<const N: usize>(self) -> Vec<[f32; N]> {
        let [rows, columns] = self.shape;
        let mut panels = vec![[0.0; N]; columns.div_ceil(N) * rows];
        let starts = (0..columns).step_by(N);
        panels.chunks_exact_mut(rows.max(1)).zip(starts).for_each(|(panel, start)| self.panel(start, panel));
        panels
    }
}

/// `out [m, n] += a b`, of `a^T [k, m]` and `b [k, n]`, in blocks.
///
/// # Panics
/// If the shapes do not fit each other.
pub fn add_product(a_transposed: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) {
    let ([k, m], [rows, n]) = (a_transposed.shape, b.shape);
    assert!(k == rows && out.len() == m * n, "matrices of other shapes");
    if out.is_empty() || k == 0 {
        return;
    }
    let factors = a_transposed.panels();
    let mut panel = vec![[0.0; COLUMNS]; k];
    for start in (0..n).step_by(COLUMNS) {
        b.panel(start, &mut panel);
        for (factors, out) in factors.chunks_exact(k).zip(out.chunks_mut(ROWS * n)) {
            let sums = block(factors.iter().copied(), &panel);
            sums.iter().zip(out.chunks_exact_mut(n)).for_each(|(sums, out)| add(sums, &mut out[start..]));
        }
    }
}

/// Rows `h [n, d]`, as products with the head want them.
pub(crate) struct Batch<'a> {
    h: &'a [f32],
    d: usize,
    /// `h^T [d, n]` in panels; none where the products are gemm's.
    panels: Vec<[f32; COLUMNS]>,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(h: &'a [f32], d: usize) -> Self {
        let panels = if is_in_blocks(h.len() / d) { Matrix::transposed(h, d).panels() } else { Vec::new() };
        Self { h, d, panels }
    }

    /// `n`: rows.
    pub(crate) fn n(&self) -> usize {
        self.h.len() / self.d
    }

    /// `out [rows, n] = w h^T`, of `w [rows, d]`.
    pub(crate) fn products(&self, w: &[f32], out: &mut [f32]) {
        let rows = w.len() / self.d;
        assert!(w.len() == rows * self.d && out.len() == rows * self.n(), "matrices of other shapes");
        if self.panels.is_empty() {
            by_gemm(Matrix::transposed(w, self.d), Matrix::transposed(self.h, self.d), out, false);
        } else {
            products_in_blocks(w, &self.panels, self.d, out);
        }
    }
}

/// `pull [n, d] += weights^T w`, of `weights [rows, n]` and `w [rows, d]`.
pub(crate) fn add_pull(w: &[f32], weights: &[f32], d: usize, pull: &mut [f32]) {
    let (rows, n) = (w.len() / d, pull.len() / d);
    assert!(w.len() == rows * d && weights.len() == rows * n && pull.len() == n * d, "matrices of other shapes");
    let [weights, w] =
        [(weights, n), (w, d)].map(|(entries, columns)| Matrix { entries, shape: [rows, columns], strides: [columns, 1] });
    if is_in_blocks(n) {
        add_product(weights, w, pull);
    } else {
        by_gemm(weights, w, pull, true);
    }
}

/// Whether products of `n` rows with the head are those in blocks.
fn is_in_blocks(n: usize) -> bool {
    cfg!(target_family = "wasm") && n > 1
}

/// See [`Batch::products`].
fn products_in_blocks(w: &[f32], panels: &[[f32; COLUMNS]], d: usize, out: &mut [f32]) {
    let rows = w.len() / d;
    let n = out.len() / rows.max(1);
    for (panel, start) in panels.chunks_exact(d).zip((0..n).step_by(COLUMNS)) {
        for first in (0..rows).step_by(ROWS) {
            // Past the last row, that again: its sums are left.
            let [w0, w1, w2, w3] = array::from_fn(|i| &w[(first + i).min(rows - 1) * d..][..d]);
            let factors = w0.iter().zip(w1).zip(w2).zip(w3).map(|(((w0, w1), w2), w3)| [*w0, *w1, *w2, *w3]);
            for (row, sums) in (first..rows).zip(&block(factors, panel)) {
                let out = &mut out[row * n..][start..n.min(start + COLUMNS)];
                out.copy_from_slice(&sums[..out.len()]);
            }
        }
    }
}

/// `sum_k factors_k^T panel_k`.
fn block(factors: impl Iterator<Item = [f32; ROWS]>, panel: &[[f32; COLUMNS]]) -> Block {
    let mut sums = Block::default();
    for (factors, panel) in factors.zip(panel) {
        for (sums, factor) in sums.iter_mut().zip(factors) {
            sums.iter_mut().zip(panel).for_each(|(sum, x)| *sum += factor * x);
        }
    }
    sums
}

/// The first entries, and zeros where there are too few.
fn padded<const N: usize>(entries: &[f32]) -> [f32; N] {
    entries.first_chunk().copied().unwrap_or_else(|| array::from_fn(|i| entries.get(i).copied().unwrap_or(0.0)))
}

/// Adds sums to as many entries as there are.
fn add(sums: &[f32; COLUMNS], entries: &mut [f32]) {
    match entries.first_chunk_mut::<COLUMNS>() {
        Some(entries) => entries.iter_mut().zip(sums).for_each(|(entry, sum)| *entry += sum),
        None => entries.iter_mut().zip(sums).for_each(|(entry, sum)| *entry += sum),
    }
}

/// `out [m, n] = a b`, of `a^T [k, m]` and `b [k, n]`, or added to what `out` has.
fn by_gemm(a_transposed: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], adds: bool) {
    let ([k, m], [rows, n]) = (a_transposed.shape, b.shape);
    let is_whole = |x: Matrix<'_>| {
        let last = (0..2).map(|i| x.shape[i].saturating_sub(1) * x.strides[i]).sum::<usize>();
        x.shape.contains(&0) || last < x.entries.len()
    };
    assert!(k == rows && out.len() == m * n && is_whole(a_transposed) && is_whole(b), "matrices of other shapes");
    let [[a_column, a_row], [b_row, b_column]] = [a_transposed, b].map(|x| x.strides.map(|stride| stride as isize));
    // As `out^T = b^T a^T`, column by column.
    // SAFETY: all three matrices are, as asserted, of these shapes and within their entries.
    unsafe {
        gemm::gemm(
            n,
            m,
            k,
            out.as_mut_ptr(),
            n as isize,
            1,
            adds,
            b.entries.as_ptr(),
            b_row,
            b_column,
            a_transposed.entries.as_ptr(),
            a_row,
            a_column,
            1.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[rows, n, d]`, on and beside the edges of blocks and panels.
    fn shapes() -> impl Iterator<Item = [usize; 3]> {
        let sizes = [1, 3, 4, 7, 8, 9, 17];
        sizes.into_iter().flat_map(move |rows| sizes.into_iter().flat_map(move |n| sizes.map(|d| [rows, n, d])))
    }

    fn matrix(entries: usize) -> Vec<f32> {
        (0..entries).map(|i| (i * 37 % 101) as f32 / 101.0 - 0.4).collect()
    }

    fn assert_close(ours: &[f32], theirs: &[f32], shape: [usize; 3]) {
        let is_close = |(ours, theirs): (&f32, &f32)| (ours - theirs).abs() < 1e-5;
        assert!(ours.iter().zip(theirs).all(is_close), "{shape:?}: {ours:?} instead of {theirs:?}");
    }

    #[test]
    fn products_in_blocks_are_gemm_s() {
        for shape @ [rows, n, d] in shapes() {
            let (w, h) = (matrix(rows * d), matrix(n * d));
            let (mut ours, mut theirs) = (vec![0.0; rows * n], vec![0.0; rows * n]);
            products_in_blocks(&w, &Matrix::transposed(&h, d).panels(), d, &mut ours);
            by_gemm(Matrix::transposed(&w, d), Matrix::transposed(&h, d), &mut theirs, false);
            assert_close(&ours, &theirs, shape);
        }
    }

    #[test]
    fn added_products_are_gemm_s() {
        for shape @ [rows, n, d] in shapes() {
            let (w, weights, sums) = (matrix(rows * d), matrix(rows * n), matrix(n * d));
            let transpose_of = |x: &[f32], columns: usize| -> Vec<f32> {
                (0..columns).flat_map(|j| x.iter().copied().skip(j).step_by(columns)).collect()
            };
            let mut theirs = sums.clone();
            let by_row = |entries, columns| Matrix { entries, shape: [rows, columns], strides: [columns, 1] };
            by_gemm(by_row(&weights, n), by_row(&w, d), &mut theirs, true);
            // Of either the rows lie together, or the columns.
            let weights_by_column = transpose_of(&weights, n);
            let w_by_column = transpose_of(&w, d);
            for a in [by_row(&weights, n), Matrix::transposed(&weights_by_column, rows)] {
                for b in [by_row(&w, d), Matrix::transposed(&w_by_column, rows)] {
                    let mut ours = sums.clone();
                    add_product(a, b, &mut ours);
                    assert_close(&ours, &theirs, shape);
                }
            }
        }
    }
}
