//! Steps of one text: what the head reads for them, and what comes of it.

use std::borrow::Cow;

use burn::tensor::{Device, Tensor, TensorData};
use half::f16;
use pema_core::id::TokenId;
use pema_core::sampling::{Choice, rule_out};
use pema_core::schedule::{Mix, Mixing, log_softmax};

use crate::adapted::Adapted;
use crate::adapter::Adapter;
use crate::attend::AttendContext;
use crate::gate::Sight;
use crate::head::Head;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use crate::head::Order;
use crate::mixture::{Distributions, Picked};
use crate::tensor_file::{ReadError, read_f32};
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use crate::train::Extra;
#[cfg(any(feature = "webgpu", feature = "wgpu"))]
use crate::vocabulary::Kept;
use crate::weighing::Weighing;

/// `n` steps of a text, at least one.
pub(crate) struct Steps<'a> {
    pub(crate) head: &'a Head,
    /// Where the head lies, and the adapter.
    pub(crate) device: &'a Device,
    /// `f` of the prompt and the text so far, `[n, d]`, where the PLM is asked.
    pub(crate) plm: Option<&'a [f16]>,
    /// The adapter's half, where it has weight. Never neither.
    pub(crate) pema: Option<Half<'a>>,
    pub(crate) prompt: &'a [TokenId],
    /// The text so far, `n` times.
    pub(crate) written: Vec<&'a [TokenId]>,
    /// `n` of them.
    pub(crate) weighings: Vec<Weighing<'a>>,
}

/// An adapter and what it is given.
pub(crate) struct Half<'a> {
    pub(crate) adapter: &'a Adapter,
    /// Its contexts, `[n, d]`.
    pub(crate) h: Cow<'a, [f16]>,
    /// The prompt's hidden states, `[rows, d]`, for an adapter that attends over them.
    pub(crate) states: &'a [f16],
}

impl<'a> Steps<'a> {
    /// Each step's prompt and text so far.
    fn texts(&self) -> Vec<(&'a [TokenId], &'a [TokenId])> {
        self.written.iter().map(|written| (self.prompt, *written)).collect()
    }

    /// What the head is to read: the PLM's rows, the adapter's, or both, so that it is read once; and the
    /// adapter's half of the steps, if it has weight.
    fn rows(&self) -> (Tensor<2>, Option<Adapted>) {
        let plm = self.plm.map(|h| self.upload(h));
        let adapted = self.pema.as_ref().map(|half| self.adapted(half));
        let pema = adapted.iter().flat_map(Adapted::rows);
        (Tensor::cat(plm.into_iter().chain(pema).collect(), 0), adapted)
    }

    fn adapted(&self, half: &Half<'_>) -> Adapted {
        let Half { adapter, h, states } = half;
        let d = adapter.d();
        let attend = adapter.origin().config.attend.then(|| {
            let prompt_of = vec![0; self.written.len()];
            AttendContext::new(to_f32(states), d, &[states.len() / d], &prompt_of, self.device)
        });
        Adapted::new(adapter, self.head, self.upload(h), &self.texts(), attend, self.contrasts())
    }

    /// Whether what the adapter was before it learned targets counts.
    fn contrasts(&self) -> bool {
        let contrasts = |weighing: &Weighing<'_>| matches!(weighing, Weighing::Given(Mix { mixing: Mixing::Contrast, .. }));
        self.weighings.iter().any(contrasts)
    }

    /// Rows of `d` entries on the device.
    fn upload(&self, h: &[f16]) -> Tensor<2> {
        let d = self.head.d();
        Tensor::from_data(TensorData::new(to_f32(h), [h.len() / d, d]), self.device)
    }

    /// The distributions of each step.
    pub(crate) async fn distributions(&self) -> Result<Vec<Distributions>, ReadError> {
        let (v, n) = (self.head.v(), self.written.len());
        let (rows, adapted) = self.rows();
        let mut logits = read_f32(self.head.logits(rows).await?).await?;
        let of_adapter = logits.split_off(self.plm.map_or(0, |_| n * v));
        let plm: Vec<Vec<f32>> = logits.chunks_exact(v).map(log_softmax).collect();
        let (pema, z) = match (&self.pema, adapted) {
            (Some(half), Some(adapted)) => {
                let z = self.seen(adapted.after.z.clone()).await?;
                (adapted.log_probs(half.adapter, &of_adapter, &self.texts(), &plm).await?, z)
            }
            _ => (Vec::new(), Vec::new()),
        };
        let (mut pema, mut plm) = (pema.into_iter(), plm.into_iter());
        let mut all = Vec::with_capacity(n);
        for step in 0..n {
            let (pema, plm) = (pema.next(), plm.next());
            let (mix, mixture) = match (&pema, &plm) {
                (Some(pema), Some(plm)) => {
                    let mix = self.mix(step, pema, plm, &z);
                    (mix, mix.log_probs(pema, plm))
                }
                (Some(pema), None) => (Mix::ADAPTER, pema.clone()),
                (None, plm) => (Mix::PLM, plm.clone().unwrap_or_default()),
            };
            all.push(Distributions { pema, plm, mixture, lambda: mix.lambda });
        }
        Ok(all)
    }

    /// `z [n, r]`, if a gate is to see it.
    async fn seen(&self, z: Tensor<2>) -> Result<Vec<f32>, ReadError> {
        match self.weighings.iter().any(|weighing| matches!(weighing, Weighing::Learned { .. })) {
            true => read_f32(z).await,
            false => Ok(Vec::new()),
        }
    }

    /// How a step's distributions `[v]` are mixed; a gate looks at them first, and at `z [n, r]`.
    fn mix(&self, step: usize, pema: &[f32], plm: &[f32], z: &[f32]) -> Mix {
        match (self.weighings[step], &self.pema) {
            (Weighing::Given(mix), _) => mix,
            (Weighing::Learned { gate, most, progress }, Some(half)) => {
                let (d, r) = (self.head.d(), half.adapter.rank());
                let (h, z) = (to_f32(&half.h[step * d..][..d]), &z[step * r..][..r]);
                let lambda = gate.lambda(Sight { h: &h, z, progress, pema, plm });
                Mix { mixing: Mixing::Arithmetic, lambda: lambda.min(most) }
            }
            (Weighing::Learned { .. }, None) => Mix::PLM,
        }
    }

    /// Chooses the next token of the only step, not one of `ruled_out`, which rises.
    pub(crate) async fn choose(&self, choice: Choice, ruled_out: &[TokenId]) -> Result<Picked, ReadError> {
        #[cfg(any(feature = "webgpu", feature = "wgpu"))]
        if let (Some(head), Some(mix)) = (self.head.packed(), self.given()) {
            let adapter = self.pema.as_ref().map(|half| half.adapter);
            let copies = adapter.is_some_and(|adapter| adapter.weights.extras.contains_key(&Extra::Copy));
            let placed = head.place(&Order {
                has_plm: self.plm.is_some(),
                sides: adapter.map_or(0, |adapter| 1 + usize::from(adapter.has_contrast() && self.contrasts())),
                mix,
                choice,
                ruled_out,
                vocabulary: adapter.and_then(Adapter::vocabulary).map_or(&[], Kept::tokens),
                copies: if copies { self.prompt } else { &[] },
            });
            let (rows, adapted) = self.rows();
            return head.pick(placed, rows, adapted.and_then(Adapted::copying)).await;
        }
        let next = self.distributions().await?.swap_remove(0);
        let mut allowed = next.mixture.clone();
        rule_out(&mut allowed, ruled_out);
        let token = choice.of(&allowed);
        let [p_pema, p_plm, p_mixture] = next.of(token);
        let p_plm = next.plm.is_some().then_some(p_plm);
        Ok(Picked { token, p_pema, p_plm, p_mixture, entropy: next.entropy(), lambda: next.lambda })
    }

    /// The mixture of the only step, where it is known before the distributions are.
    #[cfg(any(feature = "webgpu", feature = "wgpu"))]
    fn given(&self) -> Option<Mix> {
        match (self.weighings[0], &self.pema) {
            (_, None) => Some(Mix::PLM),
            (Weighing::Given(mix), Some(_)) => Some(mix),
            (Weighing::Learned { .. }, Some(_)) => None,
        }
    }
}

/// The last of hidden states `[rows, d]`.
pub(crate) fn last(states: &[f16], d: usize) -> &[f16] {
    states.rchunks_exact(d).next().unwrap_or(states)
}

fn to_f32(values: &[f16]) -> Vec<f32> {
    values.iter().map(|x| x.to_f32()).collect()
}
