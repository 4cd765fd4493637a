// pull = fade * pull + sum over a chunk of exp(l - top) slope(l) W: what the softmax pulls each row
// of h towards. The chunk is cut into `splits` parts, each with its own sums, so that few rows keep
// many workgroups busy.
//
// The weights are made from the logits as they are staged.

struct Shape {
  n: u32,
  first: u32,   // the chunk's first row of w
  width: u32,   // the chunk's rows of w
  stride4: u32, // vec4 of a row of `logits`; beyond `width` they are LOWEST
  part: u32,    // vocabulary rows of a part, a multiple of 16
  fresh: u32,   // 1: `pull` holds nothing yet
}

@group(0) @binding(0) var<storage, read_write> logits: array<vec4<f32>>; // [n, stride4]
@group(0) @binding(1) var<storage, read_write> w: array<Packed>;         // rows of W, packed
@group(0) @binding(2) var<storage, read_write> state: array<vec4<f32>>;  // [n]
@group(0) @binding(3) var<storage, read_write> pull: array<vec4<f32>>;   // [splits, n, d / 4]
@group(0) @binding(4) var<storage, read> shape: Shape;

@compute @workgroup_size(8, 8)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let start = tile.z * shape.part;
  let end = min(start + shape.part, shape.width);
  // This invocation stages the weights of 4 rows x 4 vocabulary rows, and 4 vocabulary rows of 4
  // columns.
  let h_quad = lane / 4;
  let h_band = lane % 4;
  var tops: vec4<f32>;
  for (var r = 0u; r < 4; r++) {
    tops[r] = state[min(tile.y * 64 + h_quad * 4 + r, shape.n - 1)].x;
  }
  let w_quad = lane % 16;
  let w_band = lane / 16;
  let column = min(tile.x * 64 + w_quad * 4, D - 4);
  var sums: Sums;
  for (var c = start; c < end; c += 16) {
    var weights: mat4x4<f32>;
    for (var r = 0u; r < 4; r++) {
      let row = min(tile.y * 64 + h_quad * 4 + r, shape.n - 1);
      let l = logits[row * shape.stride4 + c / 4 + h_band];
      weights[r] = exp(l - tops[r]) * slope(l);
    }
    weights = transpose(weights);
    for (var r = 0u; r < 4; r++) {
      let v = shape.first + min(c + w_band * 4 + r, shape.width - 1);
      left[(h_band * 4 + r) * WIDTH + h_quad] = weights[r];
      right[(w_band * 4 + r) * WIDTH + w_quad] = row_scale(v) * entries(v, column / 4);
    }
    workgroupBarrier();
    multiply(&sums, at);
    workgroupBarrier();
  }

  for (var q = 0u; q < 4; q++) {
    let out_column = tile.x * 64 + at.x * 4 + 32 * (q % 2);
    for (var r = 0u; r < 4; r++) {
      let out_row = tile.y * 64 + at.y * 4 + r + 32 * (q / 2);
      if out_row < shape.n && out_column < D {
        let out = ((tile.z * shape.n + out_row) * D + out_column) / 4;
        if shape.fresh == 1 {
          pull[out] = sums[q][r];
        } else {
          pull[out] = state[out_row].z * pull[out] + sums[q][r];
        }
      }
    }
  }
}
