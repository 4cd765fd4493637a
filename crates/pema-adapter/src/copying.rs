//! Copying: the adapter may point at tokens of the prompt, as pointer sentinel mixtures do (Merity
//! et al. 2017, arXiv 1609.07843).
//!
//! Where a target repeats words of its input, learning each word through `B_pd` takes more pairs
//! than a data owner has. So the adapter's distribution becomes
//!
//! `p(y) = g softmax(head(h_pd))(y) + sum_{j: x_j = y} a_j`,  `[g, a] = softmax([u, scores])`
//!
//! with one score for each token `x_j` of the prompt and one, the sentinel `u = z w + b`, for the
//! head. A score asks whether the text so far ends as the prompt does before `x_j`: with
//! `code(t) = e(t) P` (`e` as in [`crate::local_context`]),
//!
//! `score_j = (sum_k q_k code(y_{i-k})) . (sum_m k_m code(x_{j-m})) + s . code(x_j)`
//!
//! where `q_k`, `k_m` scale entry by entry, `k = 1..W` and `m = 0..W`. It starts as what a language
//! model calls an induction head: `P` random, `q` and `k` halving with the distance. Prompt and
//! text so far are the data owner's own; nothing of this crosses the wire.
//!
//! Training also follows the head's own loss a little (`HEAD_SHARE` in `train/objective.rs`), or copying would leave
//! the head nothing to learn where prompts name the answers.
//!
//! All of it is one matrix `[d + 2 W + 4, r]`, whose parts [`CopyWeights`] names.

use std::ops::Range;

use burn::tensor::activation::log_softmax;
use burn::tensor::{Int, Tensor, TensorData};
use pema_core::id::TokenId;

use crate::attention::RULED_OUT;
use crate::head::{Head, Tokens};
use crate::places::Places;
use crate::product::product;
use crate::random::uniform;

/// `W`: tokens that are compared.
const WINDOW: usize = 3;

/// Score of an equal last token, at the start.
const INITIAL_MATCH: f32 = 5.0;

/// `b` at the start: about as likely to copy as not where one token of the prompt matches.
const INITIAL_SENTINEL: f32 = 3.0;

/// Rows of the weights' matrix for hidden states of `d` entries.
pub(crate) fn weight_rows(d: usize) -> usize {
    d + 2 * WINDOW + 4
}

/// The initial weights, row-major.
pub(crate) fn initial_weights(d: usize, r: usize, seed: u64, stream: u64) -> Vec<f32> {
    // Uniform of variance 1 / (d r), so that codes have about unit length.
    let mut values = uniform(d * r, (3.0 / (d * r) as f32).sqrt(), seed, stream);
    let halving = |first: f32| (0..WINDOW).map(move |k| first / (1 << k) as f32);
    let rows = halving(INITIAL_MATCH).chain([0.0]).chain(halving(1.0)).chain([0.0, 0.0, INITIAL_SENTINEL]);
    values.extend(rows.flat_map(|value| std::iter::repeat_n(value, r)));
    values
}

/// The parts of the weights' matrix.
struct CopyWeights {
    matrix: Tensor<2>,
    d: usize,
}

impl CopyWeights {
    fn rows(&self, rows: Range<usize>) -> Tensor<2> {
        self.matrix.clone().slice([rows])
    }

    /// `P [d, r]`.
    fn codes(&self) -> Tensor<2> {
        self.rows(0..self.d)
    }

    /// `q_k [1, r]`, `k` from 1.
    fn query(&self, k: usize) -> Tensor<2> {
        let row = self.d + k - 1;
        self.rows(row..row + 1)
    }

    /// `k_m [1, r]`, `m` from 0.
    fn key(&self, m: usize) -> Tensor<2> {
        let row = self.d + WINDOW + m;
        self.rows(row..row + 1)
    }

    /// `s [1, r]`.
    fn salience(&self) -> Tensor<2> {
        let row = self.d + 2 * WINDOW + 1;
        self.rows(row..row + 1)
    }

    /// `u [n, 1]` of `z [n, r]`: `w` is one row, `b` the mean of another.
    fn sentinel(&self, z: Tensor<2>) -> Tensor<2> {
        let row = self.d + 2 * WINDOW + 2;
        let (w, b) = (self.rows(row..row + 1), self.rows(row + 1..row + 2));
        product(z, w.transpose()) + b.mean_dim(1)
    }
}

/// What rows may copy, and where they are.
#[derive(Clone, Debug)]
pub struct CopyContext {
    /// The batch's different tokens, the first none.
    tokens: Tokens,
    /// Places in `tokens` of the prompts' tokens, then of the tokens before each, the nearest first:
    /// `WINDOW + 1` of `[n, p]`.
    prompt: Vec<Tensor<2, Int>>,
    /// Places of the text's last tokens, the nearest first: `WINDOW` of `[n]`.
    written: Vec<Tensor<1, Int>>,
    /// 0 for a token, [`RULED_OUT`] where a prompt is shorter than the longest: `[n, p]`.
    padding: Tensor<2>,
}

impl CopyContext {
    /// The context of rows, each its prompt and the text so far. No prompt may be empty.
    pub(crate) fn new(head: &Head, rows: &[(&[TokenId], &[TokenId])]) -> Self {
        let (n, longest) = (rows.len(), rows.iter().map(|(prompt, _)| prompt.len()).max().unwrap_or(0));
        let mut places = Places::default();
        let before = |prompt: &[TokenId], at: usize, m| at.checked_sub(m).and_then(|at| prompt.get(at)).copied();
        let mut prompt_places = |m| -> Vec<i32> {
            let tokens = rows.iter().flat_map(|(prompt, _)| (0..longest).map(move |at| before(prompt, at, m)));
            tokens.map(|token| places.of(token.as_ref())).collect()
        };
        let prompt: Vec<Vec<i32>> = (0..=WINDOW).map(&mut prompt_places).collect();
        let padding = rows.iter().flat_map(|(prompt, _)| (0..longest).map(|at| if at < prompt.len() { 0.0 } else { RULED_OUT }));
        let padding: Vec<f32> = padding.collect();
        let written = (0..WINDOW).map(|k| rows.iter().map(|(_, text)| places.of(text.iter().nth_back(k))).collect());
        let written: Vec<Vec<i32>> = written.collect();
        let device = head.device();
        Self {
            prompt: prompt.into_iter().map(|at| Tensor::from_data(TensorData::new(at, [n, longest]), device)).collect(),
            written: written.into_iter().map(|at| Tensor::from_data(TensorData::new(at, [n]), device)).collect(),
            padding: Tensor::from_data(TensorData::new(padding, [n, longest]), device),
            tokens: head.tokens(&places.tokens),
        }
    }

    /// The sentinel `u [n, 1]` and the scores `[n, p]`, given `z [n, r]`.
    ///
    /// A token has one code wherever it stands, so each product is with the batch's different tokens.
    fn scores(&self, weights: &Tensor<2>, z: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let embeddings = self.tokens.embeddings(); // [tokens, d]
        let weights = CopyWeights { matrix: weights.clone(), d: embeddings.dims()[1] };
        let codes = product(embeddings, weights.codes()); // [tokens, r]
        let query = self.written.iter().zip(1..).map(|(at, k)| codes.clone().select(0, at.clone()) * weights.query(k));
        let query = query.reduce(|sum, part| sum + part).unwrap_or_else(|| z.zeros_like()); // [n, r]

        let codes = codes.transpose();
        let matched = |(m, at): (usize, &Tensor<2, Int>)| {
            let query = query.clone() * weights.key(m);
            let query = if m == 0 { query + weights.salience() } else { query };
            product(query, codes.clone()).gather(1, at.clone())
        };
        let scores = self.prompt.iter().enumerate().map(matched).fold(self.padding.clone(), |sum, part| sum + part);
        (weights.sentinel(z), scores)
    }

    /// `log g` and `log a` of the only row, given `z [1, r]`: `[1, 1 + p]`.
    pub(crate) fn log_weights(&self, weights: &Tensor<2>, z: Tensor<2>) -> Tensor<2> {
        let (sentinel, scores) = self.scores(weights, z);
        log_softmax(Tensor::cat(vec![sentinel, scores], 1), 1)
    }
}

/// What rows may copy and should.
#[derive(Clone, Debug)]
pub struct CopyBatch {
    context: CopyContext,
    /// 0 where the prompt's token is the target, [`RULED_OUT`] elsewhere: `[n, p]`.
    targets: Tensor<2>,
}

impl CopyBatch {
    /// The batch of rows, each its prompt and the text so far, with their targets.
    pub fn new(head: &Head, rows: &[(&[TokenId], &[TokenId])], y: &[TokenId]) -> Self {
        let context = CopyContext::new(head, rows);
        let [n, p] = context.padding.dims();
        let hit = |(tokens, target): (&[TokenId], &TokenId)| {
            let hits = (0..p).map(|at| if tokens.get(at) == Some(target) { 0.0 } else { RULED_OUT });
            hits.collect::<Vec<f32>>()
        };
        let targets: Vec<f32> = rows.iter().map(|(prompt, _)| *prompt).zip(y).flat_map(hit).collect();
        let targets = Tensor::from_data(TensorData::new(targets, [n, p]), &context.padding.device());
        Self { context, targets }
    }

    /// `-log p(y)` `[n, 1]`, given that of the head alone `[n, 1]`.
    pub fn losses(&self, weights: &Tensor<2>, z: Tensor<2>, head_losses: Tensor<2>) -> Tensor<2> {
        let (sentinel, scores) = self.context.scores(weights, z);
        let all = Tensor::cat(vec![sentinel.clone(), scores.clone()], 1);
        let right = Tensor::cat(vec![sentinel - head_losses, scores + self.targets.clone()], 1);
        log_sum_exp(all) - log_sum_exp(right)
    }
}

/// `log sum exp` of each row: `[n, m] -> [n, 1]`.
fn log_sum_exp(x: Tensor<2>) -> Tensor<2> {
    let top = x.clone().detach().max_dim(1);
    (x - top.clone()).exp().sum_dim(1).log() + top
}
