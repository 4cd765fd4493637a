// W[y] as f32: a workgroup a row. Rows outside this block of W are left alone.

struct Shape {
  first: u32, // the block's rows of the vocabulary
  rows: u32,
}

@group(0) @binding(0) var<storage, read_write> shape: Shape;
@group(0) @binding(1) var<storage, read_write> w: array<u32>;          // [rows, d / 2], f16
@group(0) @binding(2) var<storage, read_write> y: array<u32>;          // [n]
@group(0) @binding(3) var<storage, read_write> picked: array<vec2<f32>>; // [n, d / 2]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup.x;
  if y[row] < shape.first || y[row] >= shape.first + shape.rows {
    return;
  }
  for (var k = lane; k < D / 2; k += 64) {
    picked[row * (D / 2) + k] = unpack2x16float(w[(y[row] - shape.first) * (D / 2) + k]);
  }
}
