// pull = fade * pull + sum over a chunk of exp(l - top) slope(l) W: what the softmax pulls each row
// of h towards. The chunk is cut into `splits` parts, each with its own sums, so that few rows keep
// many workgroups busy.
//
// The weights are made from the logits as they are read.

struct Shape {
  n: u32,
  first: u32,   // the chunk's first row of w
  width: u32,   // the chunk's rows of w
  stride4: u32, // vec4 of a row of `logits`; beyond `width` they are LOWEST
  part: u32,    // vocabulary rows of a part, a multiple of 16
  fresh: u32,   // 1: `pull` holds nothing yet
}

@group(0) @binding(0) var<storage, read_write> logits: array<vec4<f32>>; // [n, stride4]
@group(0) @binding(1) var<storage, read_write> w: array<Packed>;         // rows of W, packed
@group(0) @binding(2) var<storage, read_write> state: array<vec4<f32>>;  // [n]
@group(0) @binding(3) var<storage, read_write> pull: array<vec4<f32>>;   // [splits, n, d / 4]
@group(0) @binding(4) var<storage, read> shape: Shape;

const RIGHT_BY_COLUMNS = true;

struct Rows {
  places: vec4<u32>, // where they begin in `logits`
  tops: vec4<f32>,
}

fn rows_at(first: u32) -> Rows {
  let rows = min(vec4(first) + vec4(0, 1, 2, 3), vec4(shape.n - 1));
  return Rows(rows * shape.stride4, vec4(state[rows.x].x, state[rows.y].x, state[rows.z].x, state[rows.w].x));
}

// The weights of 4 rows x 4 vocabulary rows.
fn left_entries(rows: Rows, k: u32, end: u32) -> mat4x4<f32> {
  let at = rows.places + k / 4;
  return mat4x4(
    weights(logits[at.x], rows.tops.x),
    weights(logits[at.y], rows.tops.y),
    weights(logits[at.z], rows.tops.z),
    weights(logits[at.w], rows.tops.w),
  );
}

fn weights(logits: vec4<f32>, top: f32) -> vec4<f32> {
  return exp(logits - top) * slope(logits);
}

// The place of 4 columns within a row of w.
fn columns_at(first: u32) -> u32 {
  return min(first, D - 4) / 4;
}

// 4 vocabulary rows of them.
fn right_entries(columns: u32, k: u32) -> mat4x4<f32> {
  let rows = shape.first + min(vec4(k) + vec4(0, 1, 2, 3), vec4(shape.width - 1));
  return mat4x4(
    row_scale(rows.x) * entries(rows.x, columns),
    row_scale(rows.y) * entries(rows.y, columns),
    row_scale(rows.z) * entries(rows.z, columns),
    row_scale(rows.w) * entries(rows.w, columns),
  );
}

@compute @workgroup_size(LANES_X, LANES_Y)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let start = tile.z * shape.part;
  let end = min(start + shape.part, shape.width);
  var sums: Sums;
  add_products(&sums, tile, at, lane, start, end);

  for (var q = 0u; q < ROW_BLOCKS * COLUMN_BLOCKS; q++) {
    let out_column = column_of(tile, at, q);
    for (var r = 0u; r < 4; r++) {
      let out_row = row_of(tile, at, q) + r;
      if out_row < shape.n && out_column < D {
        let out = ((tile.z * shape.n + out_row) * D + out_column) / 4;
        if shape.fresh == 1 {
          pull[out] = sums[q][r];
        } else {
          pull[out] = state[out_row].z * pull[out] + sums[q][r];
        }
      }
    }
  }
}
