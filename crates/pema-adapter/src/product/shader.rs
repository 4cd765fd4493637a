//! The text of the product's kernels, from the files in `shaders/`.

use crate::tile::Tile;

/// A kernel, by its file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Shader {
    /// `high_rows`: whether the result needs the upper half of a tile.
    Product {
        tile: Tile,
        high_rows: bool,
    },
    Sum,
}

impl Shader {
    /// WGSL with an entry point `main`.
    pub(super) fn text(self) -> String {
        match self {
            Self::Product { tile, high_rows } => {
                let [sums, places] = tile.texts();
                let product = include_str!("../../../../shaders/product.wgsl");
                [&format!("const HIGH_ROWS = {high_rows};\n"), sums, places, product].concat()
            }
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
        let product = |tile| [false, true].map(|high_rows| Shader::Product { tile, high_rows });
        for shader in Tile::ALL.into_iter().flat_map(product).chain([Shader::Sum]) {
            assert_valid(&shader.text(), &format!("{shader:?}"));
        }
    }
}
