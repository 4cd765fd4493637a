//! The binary frame of the generation stream, little-endian:
//!
//! | field | type |
//! | --- | --- |
//! | magic | `b"PEMF"`, or `b"PEMP"` with the prompt's states |
//! | step | u32, 0 after the prompt |
//! | greedy | u32, the model's own next token |
//! | d | u32 |
//! | logits kind | u32: 0 none, 1 top-k, 2 full |
//! | count | u32, logits in the frame |
//! | rows | u32, the prompt's tokens before its last, `b"PEMP"` alone |
//! | h | f16 `[d]` |
//! | earlier | f16 `[rows, d]`, `b"PEMP"` alone |
//! | ids | u32 `[count]`, top-k alone |
//! | logits | f32 `[count]` |

use half::f16;
use thiserror::Error;

use crate::id::TokenId;

const MAGIC: &[u8; 4] = b"PEMF";
/// Of a frame with the prompt's states. A client that did not ask for them never meets it.
const MAGIC_WITH_PROMPT: &[u8; 4] = b"PEMP";
const HEADER: usize = 24;
const HEADER_WITH_PROMPT: usize = HEADER + 4;

/// What the model's owner says after each token.
#[derive(Clone, Debug, PartialEq)]
pub struct StepFrame {
    /// Tokens appended since the prompt.
    pub step: u32,
    /// The model's own greedy choice.
    pub greedy: TokenId,
    /// Hidden state `[d]`.
    pub h: Vec<f16>,
    /// Hidden states of the prompt's tokens before its last, `[p - 1, d]`, in a prompt's frame if asked
    /// for; `h` is the last one's. Else empty.
    pub earlier: Vec<f16>,
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
    /// Hidden states of another size or number than asked for.
    #[error(
        "the generation frame has {found} numbers of hidden states where {expected} were asked for: the service is not the \
         one that the model card came from, or does not give all of a prompt's states; connect again"
    )]
    States {
        /// Asked for.
        expected: usize,
        /// Received.
        found: usize,
    },
}

impl StepFrame {
    /// The frame's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, count) = match &self.logits {
            FrameLogits::None => (0, 0),
            FrameLogits::TopK(top) => (1, top.len()),
            FrameLogits::Full(all) => (2, all.len()),
        };
        let rows = self.earlier.len() / self.h.len().max(1);
        let mut out = Vec::with_capacity(HEADER_WITH_PROMPT + 2 * (1 + rows) * self.h.len() + 8 * count);
        out.extend_from_slice(if rows == 0 { MAGIC } else { MAGIC_WITH_PROMPT });
        for field in [self.step, self.greedy.0, self.h.len() as u32, kind, count as u32] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        if rows > 0 {
            out.extend_from_slice(&(rows as u32).to_le_bytes());
        }
        out.extend(self.h.iter().chain(&self.earlier).flat_map(|x| x.to_le_bytes()));
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
        let header = match bytes.first_chunk() {
            Some(MAGIC) => HEADER,
            Some(MAGIC_WITH_PROMPT) => HEADER_WITH_PROMPT,
            _ => return Err(FrameError::Magic),
        };
        let found = bytes.len() as u64;
        if bytes.len() < header {
            return Err(FrameError::Length { expected: header as u64, found });
        }
        let field = |i: usize| le_u32(&bytes[4 + 4 * i..]);
        let (step, greedy, d, kind, count) = (field(0), TokenId(field(1)), field(2), field(3), field(4));
        let per_logit = match kind {
            0 => 0,
            1 => 8,
            2 => 4,
            other => return Err(FrameError::Kind(other)),
        };
        let rows = if header == HEADER { 0 } else { field(5) };
        let states = |rows: u64| 2 * u64::from(d) * rows;
        // In u128, which no header makes overflow.
        let expected = header as u128 + 2 * u128::from(d) * (1 + u128::from(rows)) + u128::from(per_logit * u64::from(count));
        if expected != u128::from(found) {
            return Err(FrameError::Length { expected: expected.try_into().unwrap_or(u64::MAX), found });
        }
        let (h, rest) = bytes[header..].split_at(states(1) as usize);
        let (earlier, rest) = rest.split_at(states(rows.into()) as usize);
        let halves = |b: &[u8]| b.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
        let floats = |b: &[u8]| b.chunks_exact(4).map(|b| f32::from_bits(le_u32(b))).collect::<Vec<_>>();
        let logits = match kind {
            1 => {
                let (ids, logits) = rest.split_at(4 * count as usize);
                FrameLogits::TopK(ids.chunks_exact(4).map(|b| TokenId(le_u32(b))).zip(floats(logits)).collect())
            }
            2 => FrameLogits::Full(floats(rest)),
            _ => FrameLogits::None,
        };
        Ok(Self { step, greedy, h: halves(h), earlier: halves(earlier), logits })
    }

    /// Checks that the hidden states have `d` entries, and that there are `earlier` of them before `h`.
    ///
    /// # Errors
    /// [`FrameError::States`].
    pub fn check(&self, d: usize, earlier: usize) -> Result<(), FrameError> {
        for (expected, found) in [(d, self.h.len()), (d.saturating_mul(earlier), self.earlier.len())] {
            if expected != found {
                return Err(FrameError::States { expected, found });
            }
        }
        Ok(())
    }

    /// The hidden states of the prompt's tokens as far as the frame has them, `[p, d]`, the last of them
    /// `h`.
    pub fn prompt_states(&self) -> Vec<f16> {
        [self.earlier.as_slice(), &self.h].concat()
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
        fn frames_survive_the_wire(
            step: u32,
            greedy: u32,
            h in prop::collection::vec(-9f32..9.0, 0..7),
            rows in 0usize..4,
            logits in logits(),
        ) {
            let h: Vec<f16> = h.into_iter().map(f16::from_f32).collect();
            let frame = StepFrame { step, greedy: TokenId(greedy), earlier: h.repeat(rows), h, logits };
            let bytes = frame.encode();
            prop_assert_eq!(bytes.starts_with(MAGIC), frame.earlier.is_empty());
            prop_assert_eq!(frame.prompt_states(), frame.h.repeat(rows + 1));
            prop_assert_eq!(StepFrame::decode(&bytes).unwrap(), frame);
            prop_assert!(StepFrame::decode(&bytes[..bytes.len() - 1]).is_err());
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            for magic in [MAGIC, MAGIC_WITH_PROMPT] {
                let _ = StepFrame::decode(&[magic.as_slice(), &bytes].concat());
            }
            let _ = StepFrame::decode(&bytes);
        }
    }

    #[test]
    fn states_of_another_size_or_number_are_refused() {
        let frame = StepFrame {
            step: 0,
            greedy: TokenId(0),
            h: vec![f16::ONE; 3],
            earlier: vec![f16::ONE; 6],
            logits: FrameLogits::None,
        };
        assert_eq!(frame.check(3, 2), Ok(()));
        assert_eq!(frame.check(4, 2), Err(FrameError::States { expected: 4, found: 3 }));
        assert_eq!(frame.check(3, 1), Err(FrameError::States { expected: 3, found: 6 }));
        assert_eq!(frame.check(3, 0), Err(FrameError::States { expected: 0, found: 6 }));
    }

    #[test]
    fn a_header_that_promises_more_than_there_can_be_is_refused() {
        let bytes = [MAGIC_WITH_PROMPT.as_slice(), &[0; 8], &[255; 4], &[0; 8], &[255; 4]].concat();
        assert!(matches!(StepFrame::decode(&bytes), Err(FrameError::Length { found: 28, .. })));
    }
}
