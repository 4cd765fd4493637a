// W[y] as f32: a workgroup a row. Rows outside this block of W are left alone.

struct Shape {
  first: u32, // the block's rows of the vocabulary
  rows: u32,
}

@group(0) @binding(0) var<storage, read_write> w: array<Packed>;         // rows of W, packed
@group(0) @binding(1) var<storage, read_write> y: array<u32>;            // [n]
@group(0) @binding(2) var<storage, read_write> picked: array<vec4<f32>>; // [n, d / 4]
@group(0) @binding(3) var<storage, read> shape: Shape;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup.x;
  if y[row] < shape.first || y[row] >= shape.first + shape.rows {
    return;
  }
  let w_y = y[row] - shape.first;
  for (var k = lane; k < D / 4; k += 64) {
    picked[row * (D / 4) + k] = row_scale(w_y) * entries(w_y, k);
  }
}
