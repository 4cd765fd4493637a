//! How Pema's kernels sum products: the part of the result that a workgroup computes, its tile, and how.

/// A tile is 64 columns wide.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// For GPUs: 64 rows. A workgroup shares what it reads.
    Gpu,
    /// For adapters that are a CPU: 32 rows. Each invocation reads what it multiplies by itself; sharing costs more
    /// there than it saves.
    Cpu,
}

#[cfg(any(feature = "webgpu", feature = "wgpu"))]
impl Tile {
    /// Columns of a tile.
    pub(crate) const COLUMNS: usize = 64;

    /// Parts of a sum have a multiple of this many terms, but for the last.
    pub(crate) const DEPTH: usize = 16;

    /// Rows of a tile.
    pub(crate) fn rows(self) -> usize {
        match self {
            Self::Gpu => 64,
            Self::Cpu => 32,
        }
    }

    /// Whether a result of so many rows needs the upper half of a tile.
    pub(crate) fn has_high_rows(self, rows: usize) -> bool {
        rows > self.rows() / 2
    }

    /// Workgroups that keep a large adapter busy. Parts of sums that are cut up for them cost a CPU.
    pub(crate) fn workgroups_wanted(self) -> usize {
        match self {
            Self::Gpu => 512,
            Self::Cpu => 64,
        }
    }
}

#[cfg(any(test, feature = "webgpu", feature = "wgpu"))]
impl Tile {
    /// What a kernel's text begins with, after the constant `HIGH_ROWS`.
    pub(crate) fn texts(self) -> [&'static str; 2] {
        let sums = match self {
            Self::Gpu => include_str!("../../../shaders/tile_gpu.wgsl"),
            Self::Cpu => include_str!("../../../shaders/tile_cpu.wgsl"),
        };
        [sums, include_str!("../../../shaders/tile.wgsl")]
    }
}

#[cfg(test)]
impl Tile {
    pub(crate) const ALL: [Self; 2] = [Self::Gpu, Self::Cpu];
}
