// The loss of each row, log sum_v exp l_v - l_y, and if wanted its gradient with respect to h,
// scale (sum_v p_v slope_v W_v - slope_y W_y): a workgroup a row. Rows whose target lies outside
// this block of W are left alone.

struct Shape {
  n: u32,
  first: u32,  // the block's rows of the vocabulary
  rows: u32,
  splits: u32,
}

@group(0) @binding(0) var<storage, read_write> h: array<vec4<f32>>;     // [n, d / 4]
@group(0) @binding(1) var<storage, read_write> w: array<Packed>;        // rows of W, packed
@group(0) @binding(2) var<storage, read_write> y: array<u32>;           // [n]
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>; // [n]
@group(0) @binding(4) var<storage, read_write> pull: array<vec4<f32>>;  // [splits, n, d / 4]
@group(0) @binding(5) var<storage, read_write> losses: array<f32>;      // [n]
@group(0) @binding(6) var<storage, read_write> gradient: array<vec4<f32>>; // [n, d / 4]
@group(0) @binding(7) var<storage, read> shape: Shape;

var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = workgroup.x;
  let here = y[row] >= shape.first && y[row] < shape.first + shape.rows;
  let w_y = select(0, y[row] - shape.first, here);
  let scale = row_scale(w_y);
  var part = 0.0;
  for (var k = lane; k < D / 4; k += 64) {
    part += dot(h[row * (D / 4) + k], entries(w_y, k));
  }
  parts[lane] = part;
  workgroupBarrier();
  for (var step = 32u; step > 0; step /= 2) {
    if lane < step {
      parts[lane] += parts[lane + step];
    }
    workgroupBarrier();
  }
  let logit = shaped(vec4(scale * parts[0]));
  let softmax = state[row];
  if lane == 0 && here {
    losses[row] = log(softmax.y) + softmax.x - logit.x;
  }
  if WANTS_GRADIENT && here {
    for (var k = lane; k < D / 4; k += 64) {
      var sum = vec4(0.0);
      for (var s = 0u; s < shape.splits; s++) {
        sum += pull[(s * shape.n + row) * (D / 4) + k];
      }
      gradient[row * (D / 4) + k] = SCALE * (sum / softmax.y - slope(logit).x * scale * entries(w_y, k));
    }
  }
}
