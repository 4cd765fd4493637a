//! The tokenizer of WMT's mteval-v13a, as sacrebleu has it, written as scanners: the four
//! rewrites of the original are regular expressions of one or two characters.

use super::is_space;

/// The tokens of one segment.
pub(super) fn tokens(segment: &str) -> Vec<String> {
    let text = segment.trim_end_matches(is_space).replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    let mut chars = vec![' '];
    chars.extend(text.chars());
    chars.push(' ');

    let chars = pad_punctuation(&chars);
    let chars = rewrite_pairs(&chars, |a, b| (!a.is_ascii_digit() && is_stop(b)).then(|| vec![a, ' ', b, ' ']));
    let chars = rewrite_pairs(&chars, |a, b| (is_stop(a) && !b.is_ascii_digit()).then(|| vec![' ', a, ' ', b]));
    let chars = rewrite_pairs(&chars, |a, b| (a.is_ascii_digit() && b == '-').then(|| vec![a, ' ', b, ' ']));
    chars.split(|&c| is_space(c)).filter(|token| !token.is_empty()).map(|token| token.iter().collect()).collect()
}

fn is_stop(c: char) -> bool {
    matches!(c, '.' | ',')
}

/// Sets ASCII punctuation apart, except apostrophe, comma, hyphen and full stop.
fn pad_punctuation(chars: &[char]) -> Vec<char> {
    let mut out = Vec::with_capacity(2 * chars.len());
    for &c in chars {
        match c {
            '{'..='~' | '['..='`' | ' '..='&' | '('..='+' | ':'..='@' | '/' => out.extend([' ', c, ' ']),
            _ => out.push(c),
        }
    }
    out
}

/// Replaces pairs of neighbours from left to right, without overlap, as a regular expression does.
fn rewrite_pairs(chars: &[char], rewrite: impl Fn(char, char) -> Option<Vec<char>>) -> Vec<char> {
    let mut out = Vec::with_capacity(2 * chars.len());
    let mut i = 0;
    while i < chars.len() {
        match chars.get(i + 1).and_then(|&next| rewrite(chars[i], next)) {
            Some(pair) => {
                out.extend(pair);
                i += 2;
            }
            None => {
                out.push(chars[i]);
                i += 1;
            }
        }
    }
    out
}
