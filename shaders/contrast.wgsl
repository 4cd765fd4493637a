// Contrast: the adapter's log-probabilities, but for a constant, as far as learning the targets has moved them
// from the PLM's, in place of the logits of its first row, and that row's maximum and sum of exponentials in every
// tile. A workgroup a tile.

struct Shape {
  v: u32,
  span: u32,  // tokens of a tile, a multiple of 256
  width: u32, // log weights of a side
}

@group(0) @binding(0) var<storage, read_write> order: Order;
@group(0) @binding(1) var<storage, read_write> logits: array<f32>;      // [3, v]: the PLM's; after the targets; before
@group(0) @binding(2) var<storage, read_write> state: array<vec4<f32>>; // [3]
@group(0) @binding(3) var<storage, read_write> log_weights: array<f32>; // [2, width]: log g, log a
@group(0) @binding(4) var<storage, read_write> peaks: array<vec2<f32>>; // [3, tiles]: max, sum exp(l - max)
@group(0) @binding(5) var<storage, read> shape: Shape;

// With the PLM's share, so that no token is ruled out by a side alone.
fn smoothed(log_p: f32, plm: f32) -> f32 {
  return log_add_exp(log_p + log(1 - SMOOTHING), plm + log(SMOOTHING));
}

@compute @workgroup_size(256)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(num_workgroups) tiles: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var part = vec2(LOWEST, 0.0);
  let end = min((tile.x + 1) * shape.span, shape.v);
  for (var id = tile.x * shape.span + lane; id < end; id += 256) {
    let plm = logits[id] - log_sum(state[0]);
    let after = smoothed(log_p_of_side(id, 1, 0), plm);
    let before = smoothed(log_p_of_side(id, 2, shape.width), plm);
    let moved = plm + after - before;
    logits[shape.v + id] = moved;
    part = joined(part, vec2(moved, 1.0));
  }
  part = joined_over_lanes(lane, part);
  if lane == 0 {
    peaks[tiles.x + tile.x] = part;
  }
}
