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

@compute @workgroup_size(8, 8)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let start = tile.z * shape.part;
  let end = min(start + shape.part, shape.k);
  // This invocation stages 4 rows of a and 4 columns of b, 4 entries of k each.
  let quad = lane / 4;
  let band = lane % 4;
  let rows = min(vec4(tile.y * 64 + quad * 4) + vec4(0, 1, 2, 3), vec4(shape.m - 1)) * shape.a_row;
  let columns = min(vec4(tile.x * 64 + quad * 4) + vec4(0, 1, 2, 3), vec4(shape.n - 1)) * shape.b_column;
  var sums: Sums;
  for (var first = start; first < end; first += 16) {
    for (var i = 0u; i < 4; i++) {
      let k = first + band * 4 + i;
      let inside = min(k, shape.k - 1);
      let of_a = rows + inside * shape.a_column;
      let of_b = columns + inside * shape.b_row;
      let left_quad = vec4(a[of_a.x], a[of_a.y], a[of_a.z], a[of_a.w]);
      left[(band * 4 + i) * WIDTH + quad] = select(vec4(0.0), left_quad, k < end);
      right[(band * 4 + i) * WIDTH + quad] = vec4(b[of_b.x], b[of_b.y], b[of_b.z], b[of_b.w]);
    }
    workgroupBarrier();
    multiply(&sums, at);
    workgroupBarrier();
  }

  for (var q = 0u; q < 4; q++) {
    for (var r = 0u; r < 4; r++) {
      let row = tile.y * 64 + at.y * 4 + r + 32 * (q / 2);
      for (var c = 0u; c < 4; c++) {
        let column = tile.x * 64 + at.x * 4 + c + 32 * (q % 2);
        if row < shape.m && column < shape.n {
          parts[(tile.z * shape.m + row) * shape.n + column] = sums[q][r][c];
        }
      }
    }
  }
}
