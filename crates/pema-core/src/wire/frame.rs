//! The binary frame of the generation stream, little-endian:
//!
//! | field | type |
//! | --- | --- |
//! | magic | `b"PEMF"` |
//! | step | u32, 0 after the prompt |
//! | greedy | u32, the model's own next token |
//! | d | u32 |
//! | logits kind | u32: 0 none, 1 top-k, 2 full |
//! | count | u32, logits in the frame |
//! | h | f16 `[d]` |
//! | ids | u32 `[count]`, top-k alone |
//! | logits | f32 `[count]` |

use half::f16;
use thiserror::Error;

use crate::id::TokenId;

const MAGIC: &[u8; 4] = b"PEMF";
const HEADER: usize = 24;

/// What the model's owner says after each token.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFrame {
    /// Tokens appended since the prompt.
    pub step: u32,
    /// The model's own greedy choice.
    pub greedy: TokenId,
    /// Hidden state `[d]`.
    pub h: Vec<f16>,
    /// The model's logits, as far as asked for.
    pub logits: FrameLogits,
}

/// Logits of a frame.
#[derive(Clone, Debug, PartialEq)]
pub enum FrameLogits {
    /// Not asked for.
    None,
    /// The largest ones, in falling order.
    TopK(Vec<(TokenId, f32)>),
    /// `[v]`.
    Full(Vec<f32>),
}

/// Why bytes are not a frame.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum FrameError {
    /// The first bytes are another protocol's.
    #[error("not a Pema generation frame: check that the service is a Pema service of wire version 1")]
    Magic,
    /// The length does not follow from the header.
    #[error("the generation frame has {found} bytes and its header promises {expected}: it was cut or altered")]
    Length {
        /// From the header.
        expected: u64,
        /// Received.
        found: u64,
    },
    /// A logits kind of a later version.
    #[error("the generation frame has logits of unknown kind {0}: the service is newer than this client")]
    Kind(u32),
}

impl StepFrame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, count) = match &self.logits {
            FrameLogits::None => (0, 0),
            FrameLogits::TopK(top) => (1, top.len()),
            FrameLogits::Full(all) => (2, all.len()),
        };
        let mut out = Vec::with_capacity(HEADER + 2 * self.h.len() + 8 * count);
        out.extend_from_slice(MAGIC);
        for field in [self.step, self.greedy.0, self.h.len() as u32, kind, count as u32] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend(self.h.iter().flat_map(|x| x.to_le_bytes()));
        match &self.logits {
            FrameLogits::None => {}
            FrameLogits::TopK(top) => {
                out.extend(top.iter().flat_map(|(id, _)| id.0.to_le_bytes()));
                out.extend(top.iter().flat_map(|(_, logit)| logit.to_le_bytes()));
            }
            FrameLogits::Full(all) => out.extend(all.iter().flat_map(|logit| logit.to_le_bytes())),
        }
        out
    }

    /// Reads a frame.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes are not exactly one frame.
    pub fn decode(bytes: &[u8]) -> Result<Self, FrameError> {
        if bytes.get(..4) != Some(MAGIC) {
            return Err(FrameError::Magic);
        }
        let found = bytes.len() as u64;
        if bytes.len() < HEADER {
            return Err(FrameError::Length { expected: HEADER as u64, found });
        }
        let field = |i: usize| le_u32(&bytes[4 + 4 * i..]);
        let (step, greedy, d, kind, count) = (field(0), TokenId(field(1)), field(2), field(3), field(4));
        let per_logit = match kind {
            0 => 0,
            1 => 8,
            2 => 4,
            other => return Err(FrameError::Kind(other)),
        };
        let expected = HEADER as u64 + 2 * u64::from(d) + per_logit * u64::from(count);
        if expected != found {
            return Err(FrameError::Length { expected, found });
        }
        let (h, rest) = bytes[HEADER..].split_at(2 * d as usize);
        let h = h.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
        let floats = |b: &[u8]| b.chunks_exact(4).map(|b| f32::from_bits(le_u32(b))).collect::<Vec<_>>();
        let logits = match kind {
            1 => {
                let (ids, logits) = rest.split_at(4 * count as usize);
                FrameLogits::TopK(ids.chunks_exact(4).map(|b| TokenId(le_u32(b))).zip(floats(logits)).collect())
            }
            2 => FrameLogits::Full(floats(rest)),
            _ => FrameLogits::None,
        };
        Ok(Self { step, greedy, h, logits })
    }
}

/// Reads the first four bytes; callers have checked the length.
fn le_u32(bytes: &[u8]) -> u32 {
    u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn logits() -> impl Strategy<Value = FrameLogits> {
        prop_oneof![
            Just(FrameLogits::None),
            prop::collection::vec((0u32..9, -9f32..9.0), 0..5)
                .prop_map(|top| FrameLogits::TopK(top.into_iter().map(|(id, x)| (TokenId(id), x)).collect())),
            prop::collection::vec(-9f32..9.0, 0..5).prop_map(FrameLogits::Full),
        ]
    }

    proptest! {
        #[test]
        fn frames_survive_the_wire(step: u32, greedy: u32, h in prop::collection::vec(-9f32..9.0, 0..7), logits in logits()) {
            let frame = StepFrame { step, greedy: TokenId(greedy), h: h.into_iter().map(f16::from_f32).collect(), logits };
            let bytes = frame.encode();
            prop_assert_eq!(StepFrame::decode(&bytes).unwrap(), frame);
            prop_assert!(StepFrame::decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let _ = StepFrame::decode(&[MAGIC.as_slice(), &bytes].concat());
            let _ = StepFrame::decode(&bytes);
        }
    }
}
