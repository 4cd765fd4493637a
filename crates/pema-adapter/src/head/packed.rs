//! The head as blocks of f16 or int8, and its loss by Pema's own kernels: wherever WGSL runs.

use std::ops::Range;

use burn::tensor::{Device, Int, Tensor};
use burn_cubecl::{CubeBackend, CubeDevice, cubecl::server::Handle};
use half::f16;
use pema_core::{
    head::{HEAD_TENSOR, HeadForm, Int8Rows},
    id::TokenId,
};
use pema_head::LogitShape;

use super::{
    BLOCK_BYTES_MAX, blocks,
    file::FileRows,
    launcher::Launcher,
    shader::{Constants, Shader},
};
use crate::{
    kernel::{self, contiguous, empty},
    tensor_file::FileError,
    tile::Tile,
};

/// Bytes of the logits that the loss holds at a time.
const LOGITS_BYTES_MAX: usize = 16 << 20;

/// Vocabulary rows whose logits the loss holds at a time.
const CHUNK_ROWS_MAX: usize = 8192;

/// Invocations of a workgroup of [`Shader::LogitsOfFew`], a logit each.
const LANES_OF_FEW: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct PackedHead {
    blocks: Vec<Block>,
    d: usize,
    form: HeadForm,
    pub(super) shape: LogitShape,
    device: CubeDevice,
    tile: Tile,
}

/// Rows `rows` of `W_hd`.
#[derive(Clone, Debug)]
struct Block {
    rows: Range<usize>,
    /// u32 `[rows, words]`, as [`pack`] makes them.
    w: Handle,
}

impl PackedHead {
    /// The device, if the kernels run on it for this `d`.
    pub(super) fn device(device: &Device, d: usize) -> Option<CubeDevice> {
        kernel::device(device).filter(|_| d.is_multiple_of(Tile::DEPTH))
    }

    /// `read` gives rows, all in one form. The device is one that [`Self::device`] gave.
    pub(super) fn upload<'f>(
        [v, d]: [usize; 2],
        shape: LogitShape,
        device: CubeDevice,
        mut read: impl FnMut(&Range<usize>) -> Result<FileRows<'f>, FileError>,
    ) -> Result<Self, FileError> {
        let client = device.client();
        let mut form = HeadForm::F16;
        // The width of f16 rows, which are the wider ones.
        let blocks = blocks(v, BLOCK_BYTES_MAX / (d * size_of::<f16>())).map(|rows| {
            let read = read(&rows)?;
            form = read.form();
            let packed = pack(read)?;
            Ok(Block { rows, w: client.create_from_slice(bytemuck::cast_slice(&packed)) })
        });
        let blocks = blocks.collect::<Result<_, FileError>>()?;
        let tile = kernel::tile(&device);
        Ok(Self { blocks, d, form, shape, device, tile })
    }

    /// As [`super::Head::with_tile`].
    pub(super) fn with_tile(self, tile: Tile) -> Self {
        Self { tile, ..self }
    }

    /// `[n, d] -> [n, v]`, for few rows.
    pub(super) fn logits(&self, h: Tensor<2>) -> Tensor<2> {
        let [n, _] = h.dims();
        let v = self.v();
        let h = contiguous(h);
        let launcher = self.launcher(n, false);
        let logits = empty(&self.device, [n, v]);
        for block in &self.blocks {
            let rows = block.rows.len();
            let workgroups = [rows.div_ceil(LANES_OF_FEW), n, 1];
            let shape = [rows, block.rows.start, v];
            launcher.run(Shader::LogitsOfFew, workgroups, &shape, &[&h.handle, &block.w, &logits.handle]);
        }
        Tensor::from_primitive::<CubeBackend>(logits)
    }

    /// `v`.
    pub(super) fn v(&self) -> usize {
        self.blocks.last().map_or(0, |block| block.rows.end)
    }

    /// `W_hd[y]`: `[n, d]`. Every target must be less than `v`, `y` not empty.
    pub(super) fn rows_of(&self, y: Tensor<1, Int>) -> Tensor<2> {
        let [n] = y.dims();
        let y = y.try_into_primitive::<CubeBackend>().expect("the tokens lie on the head's device");
        let picked = empty(&self.device, [n, self.d]);
        let launcher = self.launcher(n, false);
        for block in &self.blocks {
            let shape = [block.rows.start, block.rows.len()];
            launcher.run(Shader::Rows, [n, 1, 1], &shape, &[&block.w, &y.handle, &picked.handle]);
        }
        Tensor::from_primitive::<CubeBackend>(picked)
    }

    /// As [`super::Head::losses`].
    pub(super) fn losses(&self, h: Tensor<2>, y: &[TokenId], wants_gradient: bool) -> (Tensor<2>, Option<Tensor<2>>) {
        let [n, d] = h.dims();
        let h = contiguous(h);
        let plan = Plan::new(n, d, self.tile);
        let launcher = self.launcher(n, wants_gradient);
        let floats = |count: usize| launcher.client.empty(count * size_of::<f32>());
        // What no kernel will touch is one vec4: a binding cannot be empty.
        let if_wanted = |count: usize| floats(if wants_gradient { count } else { 4 });
        let logits = if_wanted(n * plan.chunk);
        let pull = if_wanted(plan.splits * n * d);
        let peaks = floats(n * plan.chunk / Tile::COLUMNS * 2);
        let state = floats(n * 4);
        let y = self.tokens(y);
        let row_tiles = n.div_ceil(self.tile.rows());

        let mut fresh = 1;
        for block in &self.blocks {
            for first in (0..block.rows.len()).step_by(plan.chunk) {
                let width = plan.chunk.min(block.rows.len() - first);
                let tiles = width.div_ceil(Tile::COLUMNS);
                launcher.run(
                    Shader::Logits,
                    [tiles, row_tiles, 1],
                    &[n, first, width, plan.chunk / 4],
                    &[&h.handle, &block.w, &logits, &peaks],
                );
                launcher.run(Shader::Online, [n, 1, 1], &[tiles, fresh], &[&peaks, &state]);
                if wants_gradient {
                    let part = width.div_ceil(plan.splits).next_multiple_of(Tile::DEPTH);
                    launcher.run(
                        Shader::Pull,
                        [d.div_ceil(Tile::COLUMNS), row_tiles, plan.splits],
                        &[n, first, width, plan.chunk / 4, part, fresh],
                        &[&logits, &block.w, &state, &pull],
                    );
                }
                fresh = 0;
            }
        }

        let losses = empty(&self.device, [n, 1]);
        let gradient = wants_gradient.then(|| empty(&self.device, [n, d]));
        let nothing = floats(4);
        for block in &self.blocks {
            let gradient = gradient.as_ref().map_or(&nothing, |gradient| &gradient.handle);
            launcher.run(
                Shader::Finish,
                [n, 1, 1],
                &[n, block.rows.start, block.rows.len(), plan.splits],
                &[&h.handle, &block.w, &y, &state, &pull, &losses.handle, gradient],
            );
        }
        if wants_gradient && cfg!(target_family = "wasm") {
            // The device begins with this, most of a step, while the host goes on to the backward pass. Elsewhere
            // CubeCL sends off work by itself before a step is whole. What fails, fails again when it is read.
            launcher.client.flush().ok();
        }
        let tensor = Tensor::from_primitive::<CubeBackend>;
        (tensor(losses), gradient.map(tensor))
    }

    /// For a batch of `n` rows.
    pub(super) fn launcher(&self, n: usize, wants_gradient: bool) -> Launcher {
        let LogitShape { scale, softcap } = self.shape;
        let (tile, high_rows) = (self.tile, self.tile.has_high_rows(n));
        let constants = Constants { d: self.d, form: self.form, scale, softcap, wants_gradient, tile, high_rows };
        Launcher { client: self.device.client(), constants }
    }

    fn tokens(&self, tokens: &[TokenId]) -> Handle {
        let ids: Vec<u32> = tokens.iter().map(|token| token.0).collect();
        self.device.client().create_from_slice(bytemuck::cast_slice(&ids))
    }
}

/// How a batch of `n` rows is cut up.
struct Plan {
    /// Vocabulary rows at a time, a multiple of [`Tile::COLUMNS`].
    chunk: usize,
    /// Parts of a chunk that are summed apart, so that few rows of `h` keep many workgroups busy.
    splits: usize,
}

impl Plan {
    fn new(n: usize, d: usize, tile: Tile) -> Self {
        let fitting = LOGITS_BYTES_MAX / (n * size_of::<f32>()) / Tile::COLUMNS * Tile::COLUMNS;
        let chunk = fitting.clamp(Tile::COLUMNS, CHUNK_ROWS_MAX);
        let tiles = n.div_ceil(tile.rows()) * d.div_ceil(Tile::COLUMNS);
        Self { chunk, splits: (tile.workgroups_wanted() / tiles).clamp(1, chunk / Tile::COLUMNS) }
    }
}

/// Rows as `shaders/weights_f16.wgsl` and `shaders/weights_int8.wgsl` read them.
fn pack(rows: FileRows<'_>) -> Result<Vec<u32>, FileError> {
    match rows {
        FileRows::Floats(values) => pack_f16(&values),
        FileRows::Int8(rows) => Ok(pack_int8(rows)),
    }
}

/// Two f16 in each u32.
fn pack_f16(values: &[f32]) -> Result<Vec<u32>, FileError> {
    let half = |value: f32| u32::from(f16::from_f32(value).to_bits());
    if values.iter().any(|value| value.abs() > f16::MAX.to_f32()) {
        return Err(FileError::NotFinite { name: HEAD_TENSOR.to_owned() });
    }
    Ok(values.as_chunks::<2>().0.iter().map(|[low, high]| half(*low) | half(*high) << 16).collect())
}

/// Four entries in each u32, and after each row's its scale, for entries that are read as 127ths.
fn pack_int8(rows: Int8Rows<'_>) -> Vec<u32> {
    let word = |quad: &[i8; 4]| u32::from_le_bytes(quad.map(|entry| entry as u8));
    let row = |(entries, scale): (&[i8], f32)| {
        let words: Vec<u32> = entries.as_chunks().0.iter().map(word).collect();
        words.into_iter().chain([(127.0 * scale).to_bits()])
    };
    rows.iter().flat_map(row).collect()
}
