// The sum of the parts of a product.

struct Shape {
  entries: u32,
  splits: u32,
}

@group(0) @binding(0) var<storage, read_write> parts: array<f32>; // [splits, entries]
@group(0) @binding(1) var<storage, read_write> sums: array<f32>;  // [entries]
@group(0) @binding(2) var<storage, read> shape: Shape;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
  if at.x >= shape.entries {
    return;
  }
  var sum = 0.0;
  for (var split = 0u; split < shape.splits; split++) {
    sum += parts[split * shape.entries + at.x];
  }
  sums[at.x] = sum;
}
