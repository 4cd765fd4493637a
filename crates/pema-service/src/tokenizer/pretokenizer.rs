//! How text is cut into words before BPE, by the name in `tokenizer.ggml.pre`.
//!
//! The rules are llama.cpp's (`src/llama-vocab.cpp`): each regex in turn cuts the pieces that the
//! one before left, into its matches and what lies between them. Only names whose rules can be
//! said in a plain regex are here.

/// What a pre-tokenizer's name stands for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// Applied one after another.
    pub regexes: &'static [&'static str],
    /// Whether a word that is a token is taken whole, without asking the merges.
    pub ignore_merges: bool,
}

const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)";
const LLAMA3: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN35: &str = r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Names that mean the same.
struct Known {
    names: &'static [&'static str],
    rules: Rules,
}

const fn known(names: &'static [&'static str], regexes: &'static [&'static str], ignore_merges: bool) -> Known {
    Known { names, rules: Rules { regexes, ignore_merges } }
}

const KNOWN: [Known; 10] = [
    known(&["default"], &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], false),
    known(&["falcon"], &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, "[0-9][0-9][0-9]"], false),
    known(&["gpt-2", "phi-2", "mpt", "olmo", "jais", "a.x-4.0", "mellum", "gigachat", "trillion"], &[GPT2], false),
    known(&["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"], &[r"\p{N}", GPT2], false),
    known(&["llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"], &[LLAMA3], true),
    known(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[LLAMA3], false),
    known(&["glm4"], &[LLAMA3], true),
    known(&["qwen2", "deepseek-r1-qwen", "stablelm2", "megrez", "hunyuan", "kormo"], &[QWEN2], false),
    known(&["qwen35"], &[QWEN35], false),
    known(
        &["deepseek-v3"],
        &[
            r"\p{N}{1,3}",
            "[一-龥぀-ゟ゠-ヿ]+",
            r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##,
        ],
        false,
    ),
];

/// The rules for a name, if we are sure of them.
pub(super) fn rules(name: &str) -> Option<Rules> {
    KNOWN.iter().find(|known| known.names.contains(&name)).map(|known| known.rules)
}

/// Every name that [`rules`] knows.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    KNOWN.iter().flat_map(|known| known.names).copied()
}
