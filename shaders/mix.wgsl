// The mixture of a step's distributions as it is chosen from: at the temperature, without the
// tokens that are ruled out. A workgroup a tile. The maximum and the sum of exponentials of each tile
// are those of this, and of the mixture itself.

struct Shape {
  v: u32,
  span: u32, // tokens of a tile, a multiple of 256
}

@group(0) @binding(0) var<storage, read_write> shape: Shape;
@group(0) @binding(1) var<storage, read_write> order: Order;
@group(0) @binding(2) var<storage, read_write> logits: array<f32>;        // [n, v]
@group(0) @binding(3) var<storage, read_write> state: array<vec4<f32>>;   // [n]
@group(0) @binding(4) var<storage, read_write> log_weights: array<f32>;   // [1 + p]: log g, log a
@group(0) @binding(5) var<storage, read_write> mixed: array<f32>;         // [v]
@group(0) @binding(6) var<storage, read_write> peaks: array<vec2<f32>>;   // [2, tiles]: max, sum exp(l - max)
@group(0) @binding(7) var<storage, read_write> bins: array<atomic<u32>>;  // [8, 256], for `narrow`

// Two softmaxes.
var<workgroup> parts: array<vec4<f32>, 256>;

fn both_joined(a: vec4<f32>, b: vec4<f32>) -> vec4<f32> {
  return vec4(joined(a.xy, b.xy), joined(a.zw, b.zw));
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var part = vec4(LOWEST, 0.0, LOWEST, 0.0);
  let end = min((tile.x + 1) * shape.span, shape.v);
  for (var id = tile.x * shape.span + lane; id < end; id += 256) {
    let log_p = log_probs(id).z;
    let is_allowed = find(0, order.ruled_out, id) == order.ruled_out;
    let x = select(LOWEST, max(log_p / order.temperature, LOWEST), is_allowed);
    mixed[id] = x;
    part = both_joined(part, vec4(x, 1.0, log_p, 1.0));
  }
  parts[lane] = part;
  workgroupBarrier();
  for (var step = 128u; step > 0; step /= 2) {
    if lane < step {
      parts[lane] = both_joined(parts[lane], parts[lane + step]);
    }
    workgroupBarrier();
  }
  if lane == 0 {
    peaks[tile.x] = parts[0].xy;
    peaks[tiles.x + tile.x] = parts[0].zw;
  }
  if tile.x == 0 {
    for (var turn = 0u; turn < 8; turn++) {
      atomicStore(&bins[turn * 256 + lane], 0);
    }
  }
}
