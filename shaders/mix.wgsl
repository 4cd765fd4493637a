// The mixture of a step's distributions as it is chosen from: at the temperature, without the
// tokens that are ruled out. A workgroup a tile. The maximum and the sum of exponentials of each tile
// are those of this, and of the mixture itself; with the latter goes the sum of -l exp(l - max), for its
// entropy.

struct Shape {
  v: u32,
  span: u32, // tokens of a tile, a multiple of 256
}

@group(0) @binding(0) var<storage, read_write> order: Order;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;        // [n, v]
@group(0) @binding(2) var<storage, read_write> state: array<vec4<f32>>;   // [n]
@group(0) @binding(3) var<storage, read_write> log_weights: array<f32>;   // [1 + p]: log g, log a
@group(0) @binding(4) var<storage, read_write> mixed: array<f32>;         // [v]
@group(0) @binding(5) var<storage, read_write> peaks: array<vec2<f32>>;   // [3, tiles]: max and sums
@group(0) @binding(6) var<storage, read_write> bins: array<atomic<u32>>;  // [8, 256], for `narrow`
@group(0) @binding(7) var<storage, read> shape: Shape;

alias Sums = array<vec2<f32>, 3>;

var<workgroup> parts: array<Sums, 256>;

fn all_joined(a: Sums, b: Sums) -> Sums {
  return Sums(joined(a[0], b[0]), joined(a[1], b[1]), joined(a[2], b[2]));
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let nothing = vec2(LOWEST, 0.0);
  var part = Sums(nothing, nothing, nothing);
  let end = min((tile.x + 1) * shape.span, shape.v);
  for (var id = tile.x * shape.span + lane; id < end; id += 256) {
    let log_p = log_probs(id).z;
    let is_allowed = find(0, order.ruled_out, id) == order.ruled_out;
    let x = select(LOWEST, max(log_p / order.temperature, LOWEST), is_allowed);
    mixed[id] = x;
    part = all_joined(part, Sums(vec2(x, 1.0), vec2(log_p, 1.0), vec2(log_p, -log_p)));
  }
  parts[lane] = part;
  workgroupBarrier();
  for (var step = 128u; step > 0; step /= 2) {
    if lane < step {
      parts[lane] = all_joined(parts[lane], parts[lane + step]);
    }
    workgroupBarrier();
  }
  if lane < 3 {
    peaks[lane * tiles.x + tile.x] = parts[0][lane];
  }
  if tile.x == 0 {
    for (var turn = 0u; turn < 8; turn++) {
      atomicStore(&bins[turn * 256 + lane], 0);
    }
  }
}
