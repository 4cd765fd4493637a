// Logits of few rows, for generating: softcap(scale * h W^T), an invocation a logit. Each reads its
// own row of W from end to end, so a workgroup's 64 rows stay in the cache between reads.

struct Shape {
  rows: u32,   // rows of w
  first: u32,  // the block's first row of the vocabulary
  v: u32,
}

@group(0) @binding(0) var<storage, read_write> h: array<vec4<f32>>;  // [n, d / 4]
@group(0) @binding(1) var<storage, read_write> w: array<Packed>;     // rows of W, packed
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;   // [n, v]
@group(0) @binding(3) var<storage, read> shape: Shape;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if at.x >= shape.rows {
    return;
  }
  var sum = 0.0;
  for (var k = 0u; k < D / 4; k++) {
    sum += dot(h[at.y * (D / 4) + k], entries(at.x, k));
  }
  logits[at.y * shape.v + shape.first + at.x] = shaped(vec4(row_scale(at.x) * sum)).x;
}
