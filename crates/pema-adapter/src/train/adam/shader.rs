//! The text of Adam's kernel, from its file in `shaders/`.

use super::BETAS;

/// WGSL with an entry point `main`.
pub(super) fn text() -> String {
    let [beta_1, beta_2] = BETAS;
    format!(
        "const BETA_1: f32 = {beta_1:?};\nconst BETA_2: f32 = {beta_2:?};\n{}",
        include_str!("../../../../../shaders/adam.wgsl")
    )
}

#[cfg(test)]
mod tests {
    #[test]
    fn naga_accepts_the_shader() {
        crate::shader_check::assert_valid(&super::text(), "adam");
    }
}
