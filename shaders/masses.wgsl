// The maximum and the sum of exponentials of every tile of the logits, for choosing a token: a
// workgroup a tile and row. The adapter's rows count in its vocabulary alone.

struct Shape {
  v: u32,
  span: u32, // tokens of a tile, a multiple of 256
}

@group(0) @binding(0) var<storage, read_write> order: Order;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;      // [n, v]
@group(0) @binding(2) var<storage, read_write> peaks: array<vec2<f32>>; // [n, tiles]: max, sum exp(l - max)
@group(0) @binding(3) var<storage, read> shape: Shape;

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var part = vec2(LOWEST, 0.0);
  let end = min((tile.x + 1) * shape.span, shape.v);
  for (var id = tile.x * shape.span + lane; id < end; id += 256) {
    if tile.y < order.has_plm || is_in_vocabulary(id) {
      part = joined(part, vec2(logits[tile.y * shape.v + id], 1.0));
    }
  }
  part = joined_over_lanes(lane, part);
  if lane == 0 {
    peaks[tile.y * tiles.x + tile.x] = part;
  }
}
