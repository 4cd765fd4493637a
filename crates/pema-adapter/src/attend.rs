//! Attention over the prompt: a single head in rank space over the hidden states of all its tokens.
//!
//! `f(prompt)` is one vector for all that a prompt says. With [`Contexts::PromptAll`] the memory holds
//! the hidden state of each of its tokens, from the same prefill, so that the adapter may look for what
//! it needs at this word: with `c` what it has seen so far (`s h_seen A`, and what it recalled),
//!
//! `z = act(c + sum_j a_j v_j)`,  `[a_0, a_1, ..] = softmax([c w, c Q . k_1 / sqrt(r), c Q . k_2 / sqrt(r), ..])`
//!
//! over the prompt's tokens, `k_j = u_j K`, `v_j = u_j V`, `u_j` the hidden state at unit root mean
//! square and `c w` a sink, so that nothing need be attended to. Places need no term of their own: the
//! PLM's hidden states tell them. With local context and recall this is a small decoder on the PLM's
//! encoding of the prompt. Nothing more is sent than for `f(prompt)`.
//!
//! All of it is one matrix `[2 d + r + 1, r]`, whose parts [`AttentionWeights`] names.
//!
//! [`Contexts::PromptAll`]: pema_core::align::Contexts::PromptAll

use std::collections::HashMap;

use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::attention::{AttentionWeights, RULED_OUT};
use crate::memory::{Memory, Rows, RowsError};
use crate::product::product;

/// Hidden states in one tensor at most: 128 MiB, all that WebGPU promises to bind, has room for this many
/// of 4096 entries.
const ROWS_AT_ONCE: usize = 8192;

/// The prompts of a batch's rows, each once: `b` of them, of at most `p` tokens, each the prompt of at
/// most `m` rows.
#[derive(Clone, Debug)]
pub struct AttendContext {
    /// Hidden states of the prompts' tokens at unit root mean square, one prompt after the other,
    /// `[tokens, d]` in parts of [`ROWS_AT_ONCE`].
    states: Vec<Tensor<2>>,
    /// Places in `states` of each prompt's tokens, any where a prompt is shorter: `[b p]`.
    tokens: Tensor<1, Int>,
    /// 0 for a token, [`RULED_OUT`] where a prompt is shorter than the longest: `[b, 1, p]`.
    padding: Tensor<3>,
    /// Each prompt's rows of the batch, any where it has fewer: `[b m]`.
    rows: Tensor<1, Int>,
    /// Each row's place in `rows`: `[n]`.
    places: Tensor<1, Int>,
}

impl AttendContext {
    /// The context of `prompt_of.len()` rows, each of one of the prompts of `lengths` tokens, which are not
    /// 0, with the hidden states `h [sum of lengths, d]`, row-major.
    ///
    /// # Panics
    ///
    /// If a row is of a prompt that there is not.
    pub fn new(mut h: Vec<f32>, d: usize, lengths: &[usize], prompt_of: &[usize], device: &Device) -> Self {
        h.chunks_exact_mut(d).for_each(to_unit_rms);
        let part = |h: &[f32]| Tensor::from_data(TensorData::new(h.to_vec(), [h.len() / d, d]), device);
        let states = h.chunks(ROWS_AT_ONCE * d).map(part).collect();

        let (b, p) = (lengths.len(), lengths.iter().copied().max().unwrap_or(0));
        let (mut tokens, mut padding, mut first) = (Vec::with_capacity(b * p), Vec::with_capacity(b * p), 0);
        for &length in lengths {
            tokens.extend((0..p).map(|at| if at < length { (first + at) as i32 } else { 0 }));
            padding.extend((0..p).map(|at| if at < length { 0.0 } else { RULED_OUT }));
            first += length;
        }
        let mut rows_of = vec![Vec::new(); b];
        for (row, &prompt) in prompt_of.iter().enumerate() {
            rows_of[prompt].push(row);
        }
        let m = rows_of.iter().map(Vec::len).max().unwrap_or(0);
        let (mut rows, mut places) = (vec![0; b * m], vec![0; prompt_of.len()]);
        for (prompt, rows_of) in rows_of.into_iter().enumerate() {
            for (place, row) in (prompt * m..).zip(rows_of) {
                rows[place] = row as i32;
                places[row] = place as i32;
            }
        }
        let upload = |values: Vec<i32>| {
            let len = values.len();
            Tensor::from_data(TensorData::new(values, [len]), device)
        };
        Self {
            states,
            tokens: upload(tokens),
            padding: Tensor::from_data(TensorData::new(padding, [b, 1, p]), device),
            rows: upload(rows),
            places: upload(places),
        }
    }

    /// The context of the memory's pairs at `indices`; it holds all of its prompts' states.
    pub(crate) fn of_pairs<R: Rows>(memory: &Memory<R>, indices: &[usize], device: &Device) -> Result<Self, RowsError> {
        let mut known = HashMap::new();
        let (mut rows, mut lengths, mut prompt_of) = (Vec::new(), Vec::new(), Vec::with_capacity(indices.len()));
        for &index in indices {
            let of_prompt = memory.prompt_rows(index);
            prompt_of.push(*known.entry(of_prompt.end).or_insert_with(|| {
                lengths.push(of_prompt.len());
                rows.extend(of_prompt);
                lengths.len() - 1
            }));
        }
        Ok(Self::new(memory.contexts_at(&rows)?, memory.d(), &lengths, &prompt_of, device))
    }

    /// `sum_j a_j v_j` `[n, r]`, given `c [n, r]`.
    ///
    /// Each prompt's states are projected once, and rows of one prompt are multiplied with its keys
    /// together: nothing is of size `[n, p, r]` or `[n, tokens]`.
    pub(crate) fn attended(&self, weights: &Tensor<2>, c: Tensor<2>) -> Tensor<2> {
        let ([b, _, p], [_, r]) = (self.padding.dims(), c.dims());
        let m = self.rows.dims()[0] / b;
        let weights = AttentionWeights { matrix: weights, d: (weights.dims()[0] - r - 1) / 2, r };
        let projected = |matrix: Tensor<2>| {
            let parts = self.states.iter().map(|states| product(states.clone(), matrix.clone()));
            Tensor::cat(parts.collect(), 0).select(0, self.tokens.clone()).reshape([b, p, r])
        };

        let c = c.select(0, self.rows.clone()); // [b m, r]
        let query = product(c.clone(), weights.query()).reshape([b, m, r]);
        let scores = query.matmul(projected(weights.keys()).swap_dims(1, 2)).div_scalar((r as f64).sqrt()); // [b, m, p]
        let sink = product(c, weights.sink()).reshape([b, m, 1]);
        let scores = Tensor::cat(vec![sink, scores + self.padding.clone()], 2);
        let attention = softmax(scores, 2).slice([0..b, 0..m, 1..p + 1]);
        attention.matmul(projected(weights.values())).reshape([b * m, r]).select(0, self.places.clone())
    }
}

/// Scales to a root mean square of 1; zeros stay.
fn to_unit_rms(row: &mut [f32]) {
    let mean_square = row.iter().map(|x| x * x).sum::<f32>() / row.len() as f32;
    let scale = mean_square.max(f32::MIN_POSITIVE).sqrt().recip();
    row.iter_mut().for_each(|x| *x *= scale);
}
