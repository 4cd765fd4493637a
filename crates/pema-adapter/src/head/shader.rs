//! The text of the head's kernels, from the files in `shaders/`.

use pema_core::head::HeadForm;
use pema_core::schedule::SMOOTHING;

use crate::tile::Tile;

/// A kernel, by its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shader {
    Logits,
    LogitsOfFew,
    Online,
    Pull,
    Finish,
    Rows,
    Masses,
    Contrast,
    Mix,
    Narrow,
    Keep,
    Pick,
}

/// What a kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Constants {
    pub(super) d: usize,
    /// In which the weights lie on the device.
    pub(super) form: HeadForm,
    pub(super) scale: f32,
    pub(super) softcap: Option<f32>,
    pub(super) wants_gradient: bool,
    pub(super) tile: Tile,
    /// Whether the batch needs the upper half of a tile.
    pub(super) high_rows: bool,
}

const COMMON: &str = include_str!("../../../../shaders/common.wgsl");
const ORDER: &str = include_str!("../../../../shaders/order.wgsl");
const LISTS: &str = include_str!("../../../../shaders/lists.wgsl");
const JOIN: &str = include_str!("../../../../shaders/join.wgsl");
const SIDE: &str = include_str!("../../../../shaders/side.wgsl");
const MIXTURE: &str = include_str!("../../../../shaders/mixture.wgsl");
const SCAN: &str = include_str!("../../../../shaders/scan.wgsl");
const THRESHOLD: &str = include_str!("../../../../shaders/threshold.wgsl");

impl Shader {
    /// WGSL with an entry point `main`.
    pub(super) fn text(self, constants: Constants) -> String {
        let Constants { d, form, scale, softcap, wants_gradient, tile, high_rows } = constants;
        let softcap = softcap.unwrap_or(0.0);
        let constants = format!(
            "const D = {d}u;\n\
             const SCALE: f32 = {scale:?};\n\
             const CAP: f32 = {softcap:?};\n\
             const SMOOTHING: f32 = {SMOOTHING:?};\n\
             const WANTS_GRADIENT = {wants_gradient};\n\
             const HIGH_ROWS = {high_rows};\n"
        );
        let weights = match form {
            HeadForm::F16 => include_str!("../../../../shaders/weights_f16.wgsl"),
            HeadForm::Int8 => include_str!("../../../../shaders/weights_int8.wgsl"),
        };
        let [sums, places] = tile.texts();
        let parts: &[&str] = match self {
            Self::Logits => &[sums, places, weights, include_str!("../../../../shaders/logits.wgsl")],
            Self::LogitsOfFew => &[weights, include_str!("../../../../shaders/logits_of_few.wgsl")],
            Self::Online => &[include_str!("../../../../shaders/online.wgsl")],
            Self::Pull => &[sums, places, weights, include_str!("../../../../shaders/pull.wgsl")],
            Self::Finish => &[weights, include_str!("../../../../shaders/finish.wgsl")],
            Self::Rows => &[weights, include_str!("../../../../shaders/rows.wgsl")],
            Self::Masses => &[ORDER, LISTS, JOIN, include_str!("../../../../shaders/masses.wgsl")],
            Self::Contrast => &[ORDER, LISTS, SIDE, JOIN, include_str!("../../../../shaders/contrast.wgsl")],
            Self::Mix => &[ORDER, LISTS, SIDE, MIXTURE, include_str!("../../../../shaders/mix.wgsl")],
            Self::Narrow => &[ORDER, SCAN, THRESHOLD, include_str!("../../../../shaders/narrow.wgsl")],
            Self::Keep => &[ORDER, SCAN, THRESHOLD, include_str!("../../../../shaders/keep.wgsl")],
            Self::Pick => &[ORDER, SCAN, LISTS, SIDE, MIXTURE, include_str!("../../../../shaders/pick.wgsl")],
        };
        [&constants, COMMON].into_iter().chain(parts.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader_check::assert_valid;

    #[test]
    fn naga_accepts_every_shader() {
        let training = [Shader::Logits, Shader::LogitsOfFew, Shader::Online, Shader::Pull, Shader::Finish, Shader::Rows];
        let choosing = [Shader::Masses, Shader::Contrast, Shader::Mix, Shader::Narrow, Shader::Keep, Shader::Pick];
        for shader in training.into_iter().chain(choosing) {
            for form in [HeadForm::F16, HeadForm::Int8] {
                for softcap in [None, Some(30.0)] {
                    for (tile, high_rows) in Tile::ALL.into_iter().flat_map(|tile| [(tile, false), (tile, true)]) {
                        let wants_gradient = high_rows;
                        let constants = Constants { d: 576, form, scale: 0.5, softcap, wants_gradient, tile, high_rows };
                        assert_valid(&shader.text(constants), &format!("{shader:?}, {constants:?}"));
                    }
                }
            }
        }
    }
}
