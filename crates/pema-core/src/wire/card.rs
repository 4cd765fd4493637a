//! The model card: everything a tab must know before it downloads anything.

use serde::{Deserialize, Serialize};

use super::{LogitsMode, MemoryKind};
use crate::head::HeadForm;
use crate::id::{ContentHash, TokenId};

/// Answer of `GET /v1/model`.
///
/// The model's logits for a hidden state `h` `[d]` are
/// `softcap * tanh(logit_scale * (W_hd h) / softcap)`, without the outer tanh if no softcap.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// [`super::WIRE_VERSION`] of the service.
    pub wire_version: u32,
    /// The model's name, for people.
    pub name: String,
    /// `d`: length of a hidden state.
    pub hidden_size: u32,
    /// `v`: rows of the LM head.
    pub vocab_size: u32,
    /// Factor on the head's products, 1 for most models.
    pub logit_scale: f32,
    /// Bound of the logits' tanh, absent for most models.
    pub logit_softcap: Option<f32>,
    /// Longest sequence, prompt and generated tokens together.
    pub context_length: u32,
    /// Put before every prompt when present.
    pub bos: Option<TokenId>,
    /// Ends a target.
    pub eos: TokenId,
    /// Tokens at which generation ends; holds `eos`.
    pub end_of_generation: Vec<TokenId>,
    /// Names the model's weights; memories and adapters of another hash do not fit.
    pub model: ContentHash,
    /// The LM head: safetensors with `w_hd` f16 `[v, d]`. Its hash names the head in either form.
    pub head: Artifact,
    /// The same in int8, see [`crate::head`]; absent if the service has none that it could prove.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_int8: Option<Artifact>,
    /// The tokenizer in Hugging Face's `tokenizer.json` form.
    pub tokenizer: Artifact,
    /// Memory kinds that this service extracts.
    pub memory_kinds: Vec<MemoryKind>,
    /// What a generation frame may carry.
    pub logits_modes: Vec<LogitsMode>,
    /// What this service accepts.
    pub limits: Limits,
}

impl ModelCard {
    /// The head's file in a form, if the service has it.
    pub fn head_in(&self, form: HeadForm) -> Option<&Artifact> {
        match form {
            HeadForm::F16 => Some(&self.head),
            HeadForm::Int8 => self.head_int8.as_ref(),
        }
    }
}

/// A file that never changes under its hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Artifact {
    /// SHA-256 of the bytes; also the ETag.
    pub sha256: ContentHash,
    /// Length.
    pub bytes: u64,
}

/// Upper bounds that the service enforces, so that a tab can say so before it sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Prompts in one memory.
    pub max_prompts: u32,
    /// Tokens in one prompt.
    pub max_prompt_tokens: u32,
    /// Step budget of one prompt.
    pub max_steps: u32,
    /// Rows in one memory, step budgets added up.
    pub max_rows: u64,
    /// Bytes of one JSON request.
    pub max_body_bytes: u64,
    /// Generation streams open at once.
    pub max_streams: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_of_a_service_without_an_int8_head_is_read_and_written_as_ever() {
        let hash = "0".repeat(64);
        let artifact = serde_json::json!({ "sha256": hash, "bytes": 2 });
        let card = serde_json::json!({
            "wire_version": 1, "name": "m", "hidden_size": 1, "vocab_size": 1, "logit_scale": 1.0, "logit_softcap": null,
            "context_length": 2, "bos": null, "eos": 0, "end_of_generation": [0], "model": hash, "head": artifact,
            "tokenizer": artifact, "memory_kinds": [], "logits_modes": [],
            "limits": {
                "max_prompts": 1, "max_prompt_tokens": 1, "max_steps": 1, "max_rows": 1, "max_body_bytes": 1, "max_streams": 1
            },
        });
        let read: ModelCard = serde_json::from_value(card.clone()).unwrap();
        assert_eq!((read.head_in(HeadForm::F16), read.head_in(HeadForm::Int8)), (Some(&read.head), None));
        assert_eq!(serde_json::to_value(read).unwrap(), card);
    }
}
