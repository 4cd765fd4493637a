//! The text of the product's kernels, from the files in `shaders/`.

/// A kernel, by its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shader {
    /// `high_rows`: whether the result has more than 32 rows.
    Product {
        high_rows: bool,
    },
    Sum,
}

impl Shader {
    /// WGSL with an entry point `main`.
    pub(super) fn text(self) -> String {
        match self {
            Self::Product { high_rows } => [
                &format!("const HIGH_ROWS = {high_rows};\n"),
                include_str!("../../../../shaders/tile.wgsl"),
                include_str!("../../../../shaders/product.wgsl"),
            ]
            .concat(),
            Self::Sum => include_str!("../../../../shaders/sum.wgsl").to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shader_check::assert_valid;

    #[test]
    fn naga_accepts_every_shader() {
        for shader in [Shader::Product { high_rows: false }, Shader::Product { high_rows: true }, Shader::Sum] {
            assert_valid(&shader.text(), &format!("{shader:?}"));
        }
    }
}
