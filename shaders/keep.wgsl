// The probabilities of the tokens that are kept, and their sum in every tile: a workgroup a tile.

struct Shape {
  v: u32,
  span: u32,       // tokens of a tile, a multiple of 256
  turn: u32,       // the turn after the last one
  first_turn: u32,
}

@group(0) @binding(0) var<storage, read_write> order: Order;
@group(0) @binding(1) var<storage, read_write> mixed: array<f32>;         // [v]
@group(0) @binding(2) var<storage, read_write> totals: array<vec4<f32>>;  // [3], the first of `mixed`
@group(0) @binding(3) var<storage, read_write> bins: array<atomic<u32>>;  // [8, 256]
@group(0) @binding(4) var<storage, read_write> found: array<vec4<u32>>;   // [8]: what was known before each turn
@group(0) @binding(5) var<storage, read_write> kept: array<u32>;          // [v + tiles], in units of 2^-31
@group(0) @binding(6) var<storage, read> shape: Shape;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let sampled = known(shape.turn, lane).x;
  let least = select(sampled, key_of(totals[0].x), order.greedy == 1);
  var sum = 0u;
  let end = min((tile.x + 1) * shape.span, shape.v);
  for (var id = tile.x * shape.span + lane; id < end; id += 256) {
    let mass = select(0, mass_of(mixed[id]), key_of(mixed[id]) >= least);
    kept[id] = mass;
    sum += mass;
  }
  let in_tile = running_sum(lane, sum);
  if lane == 255 {
    kept[shape.v + tile.x] = in_tile;
  }
}
