// The product of two matrices, a [m, k] b [k, n] -> [m, n], in f32. Each operand is read with strides of
// its own, so that neither a transpose nor a slice is copied. The sums over k are cut into parts, written
// apart, so that a small result keeps many workgroups busy; `sum.wgsl` adds them up.

struct Shape {
  m: u32,
  n: u32,
  k: u32,
  part: u32,      // of k, a multiple of 16
  a_row: u32,     // from one row of a to the next
  a_column: u32,  // from one column of a to the next
  b_row: u32,
  b_column: u32,
}

@group(0) @binding(0) var<storage, read_write> a: array<f32>;
@group(0) @binding(1) var<storage, read_write> b: array<f32>;
@group(0) @binding(2) var<storage, read_write> parts: array<f32>; // [splits, m, n]
@group(0) @binding(3) var<storage, read> shape: Shape;

const RIGHT_BY_COLUMNS = false;

// Where 4 rows of a begin.
fn rows_at(first: u32) -> vec4<u32> {
  return min(vec4(first) + vec4(0, 1, 2, 3), vec4(shape.m - 1)) * shape.a_row;
}

// 4 entries of each; 0 at the end and after it.
fn left_entries(rows: vec4<u32>, k: u32, end: u32) -> mat4x4<f32> {
  var block: mat4x4<f32>;
  for (var i = 0u; i < 4; i++) {
    let of_a = rows + min(k + i, shape.k - 1) * shape.a_column;
    block[i] = select(vec4(0.0), vec4(a[of_a.x], a[of_a.y], a[of_a.z], a[of_a.w]), k + i < end);
  }
  return transpose(block);
}

// Where 4 columns of b begin.
fn columns_at(first: u32) -> vec4<u32> {
  return min(vec4(first) + vec4(0, 1, 2, 3), vec4(shape.n - 1)) * shape.b_column;
}

// 4 entries of each, an entry a column of the result.
fn right_entries(columns: vec4<u32>, k: u32) -> mat4x4<f32> {
  var block: mat4x4<f32>;
  for (var i = 0u; i < 4; i++) {
    let of_b = columns + min(k + i, shape.k - 1) * shape.b_row;
    block[i] = vec4(b[of_b.x], b[of_b.y], b[of_b.z], b[of_b.w]);
  }
  return block;
}

@compute @workgroup_size(LANES_X, LANES_Y)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let start = tile.z * shape.part;
  let end = min(start + shape.part, shape.k);
  var sums: Sums;
  add_products(&sums, tile, at, lane, start, end);

  for (var q = 0u; q < ROW_BLOCKS * COLUMN_BLOCKS; q++) {
    for (var r = 0u; r < 4; r++) {
      let row = row_of(tile, at, q) + r;
      for (var c = 0u; c < 4; c++) {
        let column = column_of(tile, at, q) + c;
        if row < shape.m && column < shape.n {
          parts[(tile.z * shape.m + row) * shape.n + column] = sums[q][r][c];
        }
      }
    }
  }
}
