// A step of Adam over the entries of one matrix, after the constants BETA_1 and BETA_2. The corrections for
// the moments' start at 0 are in `rate` and `epsilon`.

struct Shape {
  entries: u32,
  rate: f32,
  epsilon: f32,
}

@group(0) @binding(0) var<storage, read_write> w: array<f32>;
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> first: array<f32>;
@group(0) @binding(3) var<storage, read_write> second: array<f32>;
// What a step that is given up must leave alone is written elsewhere.
@group(0) @binding(4) var<storage, read_write> next_w: array<f32>;
@group(0) @binding(5) var<storage, read_write> next_first: array<f32>;
@group(0) @binding(6) var<storage, read_write> next_second: array<f32>;
@group(0) @binding(7) var<storage, read> shape: Shape;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) at: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>) {
  for (var i = at.x; i < shape.entries; i += workgroups.x * 256) {
    let g = gradient[i];
    let mean = BETA_1 * first[i] + (1 - BETA_1) * g;
    let square = BETA_2 * second[i] + (1 - BETA_2) * g * g;
    next_first[i] = mean;
    next_second[i] = square;
    next_w[i] = w[i] - shape.rate * mean / (sqrt(square) + shape.epsilon);
  }
}
