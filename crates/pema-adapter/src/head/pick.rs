//! Choosing a token where the logits are: of a step, five numbers are read instead of `[n, v]`.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::Tensor;
use burn_cubecl::cubecl::server::Handle;
use pema_core::id::TokenId;
use pema_core::sampling::{Choice, Sampling};
use pema_core::schedule::{Mix, Mixing, SMOOTHING};

use super::packed::PackedHead;
use super::shader::Shader;
use crate::kernel::contiguous;
use crate::mixture::Picked;
use crate::tensor_file::ReadError;

/// Invocations of a workgroup, and most tiles of the vocabulary.
const LANES: usize = 256;

/// Where a threshold's search ends; top-k has the turns before [`TOP_P_TURN`], top-p the others.
const TURNS: usize = 8;

/// The first turn of top-p.
const TOP_P_TURN: usize = 4;

/// Stands for the logarithm of 0, since WGSL knows no infinity.
const LOWEST: f32 = -1e30;

/// What a step's token is to be.
pub(crate) struct Order<'a> {
    /// Whether the PLM has a row.
    pub(crate) has_plm: bool,
    /// Rows of the adapter: to contrast, which needs the PLM's, two.
    pub(crate) sides: usize,
    /// Where one is alone, all of that one.
    pub(crate) mix: Mix,
    pub(crate) choice: Choice,
    /// Not to be chosen; in rising order.
    pub(crate) ruled_out: &'a [TokenId],
    /// The adapter's vocabulary, in rising order; empty for all.
    pub(crate) vocabulary: &'a [TokenId],
    /// What the adapter may copy.
    pub(crate) copies: &'a [TokenId],
}

/// An [`Order`] on the device.
pub(crate) struct Placed {
    order: Handle,
    has_plm: bool,
    has_contrast: bool,
    lambda: f32,
    /// Turns of the threshold's search that it needs.
    turns: Range<usize>,
}

impl PackedHead {
    /// Uploads what a step's token is to be, before the step's other work, which an upload sends off.
    pub(crate) fn place(&self, order: &Order<'_>) -> Placed {
        let turns = match order.choice {
            Choice::Greedy => TOP_P_TURN..TOP_P_TURN,
            Choice::Draw(Sampling { top_k, top_p, .. }, _) => {
                let starts = if (1..self.v()).contains(&top_k) { 0 } else { TOP_P_TURN };
                starts..if top_p < 1.0 { TURNS } else { TOP_P_TURN }
            }
        };
        let numbers = self.launcher(1, false).client.create_from_slice(bytemuck::cast_slice(&order.numbers()));
        Placed { order: numbers, has_plm: order.has_plm, has_contrast: order.sides == 2, lambda: order.mix.lambda, turns }
    }

    /// The token for the rows `[n, d]` of the PLM and the adapter, and with `log g` and `log a` of what
    /// each of the adapter's copies, `[sides, 1 + p]`.
    pub(crate) async fn pick(&self, placed: Placed, rows: Tensor<2>, copying: Option<Tensor<2>>) -> Result<Picked, ReadError> {
        let Placed { order, has_plm, has_contrast, lambda, turns } = placed;
        let ([n, _], v) = (rows.dims(), self.v());
        let launcher = self.launcher(n, false);
        let floats = |count: usize| launcher.client.empty(count * size_of::<f32>());
        let span = v.div_ceil(LANES).next_multiple_of(LANES);
        let tiles = v.div_ceil(span);
        let logits = contiguous(self.logits(rows)).handle;
        let width = copying.as_ref().map_or(0, |copying| copying.dims()[1]);
        let log_weights = copying.map_or_else(|| floats(4), |log_weights| contiguous(log_weights).handle);
        let (peaks, state, totals) = (floats(3 * tiles * 2), floats(n * 4), floats(3 * 4));
        let (mixed, kept) = (floats(v), floats(v + tiles));
        let (bins, found, picked) = (floats(TURNS * LANES), floats(TURNS * 4), floats(5));

        launcher.run(Shader::Masses, [tiles, n, 1], &[v, span], &[&order, &logits, &peaks]);
        launcher.run(Shader::Online, [n, 1, 1], &[tiles, 1], &[&peaks, &state]);
        if has_contrast {
            let shape = [v, span, width];
            launcher.run(Shader::Contrast, [tiles, 1, 1], &shape, &[&order, &logits, &state, &log_weights, &peaks]);
            launcher.run(Shader::Online, [2, 1, 1], &[tiles, 1], &[&peaks, &state]);
        }
        launcher.run(Shader::Mix, [tiles, 1, 1], &[v, span], &[&order, &logits, &state, &log_weights, &mixed, &peaks, &bins]);
        launcher.run(Shader::Online, [3, 1, 1], &[tiles, 1], &[&peaks, &totals]);
        for turn in turns.clone() {
            let shape = [v, span, turn, turns.start];
            launcher.run(Shader::Narrow, [tiles, 1, 1], &shape, &[&order, &mixed, &totals, &bins, &found]);
        }
        let shape = [v, span, turns.end, turns.start];
        launcher.run(Shader::Keep, [tiles, 1, 1], &shape, &[&order, &mixed, &totals, &bins, &found, &kept]);
        launcher.run(
            Shader::Pick,
            [1, 1, 1],
            &[v, span, tiles],
            &[&order, &logits, &state, &log_weights, &totals, &kept, &picked],
        );

        let bytes = launcher.client.read_async(vec![picked]).await.map_err(|error| ReadError(error.to_string()))?;
        let [token, numbers @ ..]: [u32; 5] = bytemuck::pod_read_unaligned(&bytes[0]);
        let [p_pema, p_plm, p_mixture, entropy] = numbers.map(f32::from_bits);
        Ok(Picked { token: TokenId(token), p_pema, p_plm: has_plm.then_some(p_plm), p_mixture, entropy, lambda })
    }
}

impl Order<'_> {
    /// As `shaders/order.wgsl` reads it.
    fn numbers(&self) -> Vec<u32> {
        let lambda = f64::from(self.mix.lambda);
        let (share_of_pema, power) = match self.mix.mixing {
            Mixing::Geometric | Mixing::Contrast if lambda > 0.0 && lambda < 1.0 => (1.0 - SMOOTHING, lambda),
            _ => (lambda, 1.0),
        };
        let log_shares = [share_of_pema.ln(), (-share_of_pema).ln_1p()].map(|log| (log as f32).max(LOWEST));
        let (temperature, top_k, top_p, u) = match self.choice {
            Choice::Greedy => (1.0, 0, 1.0, 0.0),
            Choice::Draw(Sampling { temperature, top_k, top_p, .. }, u) => (temperature, top_k, top_p, u),
        };
        let mut places = BTreeMap::<TokenId, Vec<u32>>::new();
        for (token, place) in self.copies.iter().zip(0..) {
            places.entry(*token).or_default().push(place);
        }
        let [of_pema, of_plm] = log_shares;
        let mut numbers: Vec<u32> = [of_pema, of_plm, power as f32, temperature, top_p, u].map(f32::to_bits).into();
        numbers.extend([u32::from(self.choice == Choice::Greedy), top_k as u32]);
        numbers.extend([u32::from(self.has_plm), self.sides as u32]);
        numbers.extend([self.ruled_out.len(), self.vocabulary.len(), places.len()].map(|count| count as u32));
        numbers.extend(self.ruled_out.iter().chain(self.vocabulary).chain(places.keys()).map(|token| token.0));
        let ends = places.values().scan(0, |end, places| {
            *end += places.len() as u32;
            Some(*end)
        });
        numbers.push(0);
        numbers.extend(ends);
        numbers.extend(places.values().flatten());
        numbers
    }
}
