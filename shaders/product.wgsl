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
  let exists = vec4(k) + vec4(0, 1, 2, 3) < vec4(end);
  return mat4x4(
    select(vec4(0.0), of_a(rows.x, k), exists),
    select(vec4(0.0), of_a(rows.y, k), exists),
    select(vec4(0.0), of_a(rows.z, k), exists),
    select(vec4(0.0), of_a(rows.w, k), exists),
  );
}

fn of_a(row: u32, k: u32) -> vec4<f32> {
  let at = row + entries_at(k) * shape.a_column;
  return vec4(a[at.x], a[at.y], a[at.z], a[at.w]);
}

fn entries_at(k: u32) -> vec4<u32> {
  return min(vec4(k) + vec4(0, 1, 2, 3), vec4(shape.k - 1));
}

// Where 4 columns of b begin.
fn columns_at(first: u32) -> vec4<u32> {
  return min(vec4(first) + vec4(0, 1, 2, 3), vec4(shape.n - 1)) * shape.b_column;
}

// 4 entries of each, an entry a column of the result.
fn right_entries(columns: vec4<u32>, k: u32) -> mat4x4<f32> {
  let rows = entries_at(k) * shape.b_row;
  return mat4x4(of_b(columns + rows.x), of_b(columns + rows.y), of_b(columns + rows.z), of_b(columns + rows.w));
}

fn of_b(at: vec4<u32>) -> vec4<f32> {
  return vec4(b[at.x], b[at.y], b[at.z], b[at.w]);
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
