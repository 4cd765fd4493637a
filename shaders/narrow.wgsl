// One turn of finding the threshold: a workgroup a tile.

struct Shape {
  v: u32,
  span: u32,       // tokens of a tile, a multiple of 256
  turn: u32,
  first_turn: u32,
}

@group(0) @binding(0) var<storage, read_write> order: Order;
@group(0) @binding(1) var<storage, read_write> mixed: array<f32>;         // [v]
@group(0) @binding(2) var<storage, read_write> totals: array<vec4<f32>>;  // [3], the first of `mixed`
@group(0) @binding(3) var<storage, read_write> bins: array<atomic<u32>>;  // [8, 256]
@group(0) @binding(4) var<storage, read_write> found: array<vec4<u32>>;   // [8]: what was known before each turn
@group(0) @binding(5) var<storage, read> shape: Shape;

var<workgroup> counts: array<atomic<u32>, 256>;

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) tile: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let now = known(shape.turn, lane);
  if tile.x == 0 && lane == 0 {
    found[shape.turn] = now;
  }
  atomicStore(&counts[lane], 0);
  workgroupBarrier();
  let shift = 24 - 8 * (shape.turn % 4);
  let mask = known_bits(shape.turn);
  let end = min((tile.x + 1) * shape.span, shape.v);
  for (var id = tile.x * shape.span + lane; id < end; id += 256) {
    let key = key_of(mixed[id]);
    if key >= now.x && (key & mask) == now.y {
      atomicAdd(&counts[(key >> shift) & 255], select(mass_of(mixed[id]), 1, shape.turn < TOP_P_TURN));
    }
  }
  workgroupBarrier();
  let count = atomicLoad(&counts[lane]);
  if count > 0 {
    atomicAdd(&bins[shape.turn * 256 + lane], count);
  }
}
