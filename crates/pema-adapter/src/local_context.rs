//! Local context: the adapter may see the target's own prefix, through rows of the head.
//!
//! The paper's adapter sees `f(c_i)` alone, a context in which the PLM followed its own words, so
//! past the first tokens it hardly knows what it has already said. The data owner has every
//! token's embedding: the head's rows. With `k` prefix tokens the adapter reads
//!
//! `[f(c_i), e(y_{i-1}), .., e(y_{i-k})]`, `[n, (k + 1) d]`
//!
//! with `e` the head's row at unit root mean square, zero before the target's first token; so
//! `A` is `[(k + 1) d, r]`. Nothing of this crosses the wire. With `k = 0` it is the paper's.

use burn::tensor::Tensor;
use pema_core::id::TokenId;

use crate::head::{Head, Tokens};

/// Most prefix tokens that an adapter may see.
pub(crate) const PREFIX_MAX: usize = 8;

/// Puts the last `k` tokens of each row's prefix beside `h`: `[n, d] -> [n, (k + 1) d]`.
pub(crate) fn with_prefix<'a>(h: Tensor<2>, head: &Head, k: usize, prefix: impl Fn(usize) -> &'a [TokenId]) -> Tensor<2> {
    if k == 0 {
        return h;
    }
    let rows = h.dims()[0];
    let back = |back| head.tokens(&(0..rows).map(|row| prefix(row).iter().nth_back(back).copied()).collect::<Vec<_>>());
    let tokens: Vec<_> = (0..k).map(back).collect();
    let parts = [h].into_iter().chain(tokens.iter().map(Tokens::embeddings));
    Tensor::cat(parts.collect(), 1)
}
