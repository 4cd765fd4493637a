// The token at quantile `u` of what is kept, in the order of ids; bits of its probabilities of the
// adapter, the PLM and the mixture, and of the mixture's entropy. One workgroup, so at most 256 tiles.

struct Shape {
  v: u32,
  span: u32,  // tokens of a tile, a multiple of 256
  tiles: u32,
}

@group(0) @binding(0) var<storage, read_write> order: Order;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;       // [n, v]
@group(0) @binding(2) var<storage, read_write> state: array<vec4<f32>>;  // [n]
@group(0) @binding(3) var<storage, read_write> log_weights: array<f32>;  // [1 + p]: log g, log a
@group(0) @binding(4) var<storage, read_write> totals: array<vec4<f32>>; // [3]: of `mixed`; of the mixture; its -l
@group(0) @binding(5) var<storage, read_write> kept: array<u32>;         // [v + tiles], in units of 2^-31
@group(0) @binding(6) var<storage, read_write> picked: array<u32, 5>;
@group(0) @binding(7) var<storage, read> shape: Shape;

// The tile that holds the quantile, and how much of it comes before.
var<workgroup> within: vec2<u32>;

@compute @workgroup_size(256)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = 0u;
  if lane < shape.tiles {
    sum = kept[shape.v + lane];
  }
  var up_to_here = running_sum(lane, sum);
  let everything = sums[255];
  let draw = select(order.u, 0, order.greedy == 1);
  let quantile = min(u32(draw * f32(everything)), everything - 1);
  if up_to_here > quantile && up_to_here - sum <= quantile {
    within = vec2(lane, quantile - (up_to_here - sum));
  }
  workgroupBarrier();

  let length = shape.span / 256;
  let first = within.x * shape.span + lane * length;
  sum = 0;
  for (var id = first; id < min(first + length, shape.v); id++) {
    sum += kept[id];
  }
  up_to_here = running_sum(lane, sum);
  if up_to_here > within.y && up_to_here - sum <= within.y {
    var left = within.y - (up_to_here - sum);
    var id = first;
    while left >= kept[id] {
      left -= kept[id];
      id++;
    }
    let log_p = log_probs(id);
    let log_mass = log_sum(totals[1]);
    let p = bitcast<vec3<u32>>(exp(vec3(log_p.xy, log_p.z - log_mass)));
    picked = array(id, p.x, p.y, p.z, bitcast<u32>(log_mass + totals[2].y / totals[1].y));
  }
}
