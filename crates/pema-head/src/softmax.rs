//! The softmax of a batch over the head's rows, in parts: each over some of the rows, joined after.

use crate::LogitShape;

/// A softmax over some rows of the vocabulary.
#[derive(Clone, Debug)]
pub struct SoftmaxPart {
    /// `max_v l_v`, `[n]`.
    pub top: Vec<f32>,
    /// `sum_v exp(l_v - top)`, `[n]`.
    pub mass: Vec<f32>,
    /// `sum_v exp(l_v - top) dl_v/dh / scale`, `[n, d]`; empty where no gradient is wanted.
    pub pull: Vec<f32>,
}

impl SoftmaxPart {
    /// Over no rows of the head, for `n` rows of `d` entries.
    pub fn empty(n: usize, d: usize, wants_pull: bool) -> Self {
        Self { top: vec![f32::NEG_INFINITY; n], mass: vec![0.0; n], pull: vec![0.0; if wants_pull { n * d } else { 0 }] }
    }

    /// `[top, mass, pull]`, as a worker says them.
    pub fn into_numbers(self) -> Vec<f32> {
        [self.top, self.mass, self.pull].concat()
    }

    /// The same back; none if there are not as many as for `n` rows.
    pub fn of_numbers(mut numbers: Vec<f32>, n: usize, d: usize, wants_pull: bool) -> Option<Self> {
        if numbers.len() != 2 * n + if wants_pull { n * d } else { 0 } {
            return None;
        }
        let pull = numbers.split_off(2 * n);
        let mass = numbers.split_off(n);
        Some(Self { top: numbers, mass, pull })
    }

    /// Over these rows and those of another part, of the same batch.
    ///
    /// # Panics
    /// If the other is of another batch.
    pub fn join(mut self, other: &Self) -> Self {
        let n = self.top.len();
        let d = self.pull.len() / n.max(1);
        for i in 0..n {
            let top = self.top[i].max(other.top[i]);
            let (own, others) = ((self.top[i] - top).exp(), (other.top[i] - top).exp());
            self.top[i] = top;
            self.mass[i] = own * self.mass[i] + others * other.mass[i];
            let pulls = self.pull[i * d..][..d].iter_mut().zip(&other.pull[i * d..][..d]);
            pulls.for_each(|(pull, other)| *pull = own * *pull + others * other);
        }
        self
    }

    /// Losses `[n]` and, where it has a pull, their gradients `[n, d]`, of a softmax over all rows for
    /// `h [n, d]`; `row` gives the head's row `[d]` of the `i`-th target.
    ///
    /// # Panics
    /// If `h` is of another batch.
    pub fn losses<R: AsRef<[f32]>>(self, h: &[f32], shape: LogitShape, row: impl Fn(usize) -> R) -> (Vec<f32>, Vec<f32>) {
        let Self { top, mass, mut pull } = self;
        let d = h.len() / top.len().max(1);
        let mut losses = Vec::with_capacity(top.len());
        for (i, (top, mass)) in top.into_iter().zip(mass).enumerate() {
            let row = row(i);
            let row = row.as_ref();
            let product = h[i * d..][..d].iter().zip(row).map(|(h, w)| h * w).sum::<f32>();
            let logit = shape.logit(product);
            losses.push(mass.ln() + top - logit);
            // dL/dh = scale (sum_v p_v slope_v W_v - slope_y W_y)
            let slope = shape.slope(logit);
            let of_row = pull.iter_mut().skip(i * d).zip(row);
            of_row.for_each(|(pull, w)| *pull = shape.scale * (*pull / mass - slope * w));
        }
        (losses, pull)
    }
}
