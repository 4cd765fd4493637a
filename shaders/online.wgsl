// Brings each row's running softmax up to date with a chunk's tiles: a workgroup a row.

struct Shape {
  tiles: u32,
  fresh: u32, // 1: `state` holds nothing yet
}

@group(0) @binding(0) var<storage, read_write> peaks: array<vec2<f32>>;  // [n, tiles]: max, sum exp(l - max)
// [n]: the maximum so far, sum exp(l - maximum), and by what the chunk shrank earlier weights.
@group(0) @binding(1) var<storage, read_write> state: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> shape: Shape;

var<workgroup> parts: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) row: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  var part = vec2(LOWEST, 0.0);
  for (var t = lane; t < shape.tiles; t += 64) {
    part = joined(part, peaks[row.x * shape.tiles + t]);
  }
  parts[lane] = part;
  workgroupBarrier();
  for (var step = 32u; step > 0; step /= 2) {
    if lane < step {
      parts[lane] = joined(parts[lane], parts[lane + step]);
    }
    workgroupBarrier();
  }
  if lane == 0 {
    let before = select(state[row.x], vec4(LOWEST, 0.0, 0.0, 0.0), shape.fresh == 1);
    let now = joined(before.xy, parts[0]);
    state[row.x] = vec4(now, exp(before.x - now.x), 0.0);
  }
}
