// A chunk of logits: softcap(scale * h W^T), with the maximum and the sum of exponentials of every
// tile of 64 columns.

struct Shape {
  n: u32,       // rows of h
  first: u32,   // the chunk's first row of w
  width: u32,   // the chunk's rows of w
  stride4: u32, // vec4 of a row of `logits`
}

@group(0) @binding(0) var<storage, read_write> h: array<vec4<f32>>;      // [n, d / 4]
@group(0) @binding(1) var<storage, read_write> w: array<Packed>;         // rows of W, packed
@group(0) @binding(2) var<storage, read_write> logits: array<vec4<f32>>; // [n, stride4], if a gradient is wanted
@group(0) @binding(3) var<storage, read_write> peaks: array<vec2<f32>>;  // [n, tiles]: max, sum exp(l - max)
@group(0) @binding(4) var<storage, read> shape: Shape;

var<workgroup> parts: array<f32, 64 * 8>;
var<workgroup> row_tops: array<f32, 64>;

@compute @workgroup_size(8, 8)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  // This invocation stages 4 rows of h and 4 of w, 4 entries of d each.
  let quad = lane / 4;
  let band = lane % 4;
  var sums: Sums;
  for (var k = 0u; k < D / 4; k += 4) {
    var h_block: mat4x4<f32>;
    var w_block: mat4x4<f32>;
    for (var r = 0u; r < 4; r++) {
      let row = min(tile.y * 64 + quad * 4 + r, shape.n - 1);
      h_block[r] = h[row * (D / 4) + k + band];
      let v = shape.first + min(tile.x * 64 + quad * 4 + r, shape.width - 1);
      w_block[r] = row_scale(v) * entries(v, k + band);
    }
    h_block = transpose(h_block);
    w_block = transpose(w_block);
    for (var r = 0u; r < 4; r++) {
      left[(band * 4 + r) * WIDTH + quad] = h_block[r];
      right[(band * 4 + r) * WIDTH + quad] = w_block[r];
    }
    workgroupBarrier();
    multiply(&sums, at);
    workgroupBarrier();
  }

  // Rows of this invocation: maximum, then mass, each joined over the eight that share a row.
  for (var q = 0u; q < 4; q++) {
    let column = tile.x * 64 + at.x * 4 + 32 * (q % 2);
    let exists = vec4(column, column + 1, column + 2, column + 3) < vec4(shape.width);
    for (var r = 0u; r < 4; r++) {
      sums[q][r] = select(vec4(LOWEST), shaped(sums[q][r]), exists);
      let row = tile.y * 64 + at.y * 4 + r + 32 * (q / 2);
      if WANTS_GRADIENT && row < shape.n {
        logits[row * shape.stride4 + column / 4] = sums[q][r];
      }
    }
  }
  for (var half = 0u; half < 2; half++) {
    for (var r = 0u; r < 4; r++) {
      let l = max(sums[2 * half][r], sums[2 * half + 1][r]);
      parts[(at.y * 4 + r + 32 * half) * 8 + at.x] = max(max(l.x, l.y), max(l.z, l.w));
    }
  }
  workgroupBarrier();
  var top = LOWEST; // of row `lane`
  for (var x = 0u; x < 8; x++) {
    top = max(top, parts[lane * 8 + x]);
  }
  row_tops[lane] = top;
  workgroupBarrier();
  for (var half = 0u; half < 2; half++) {
    for (var r = 0u; r < 4; r++) {
      let row = at.y * 4 + r + 32 * half;
      let weights = exp(sums[2 * half][r] - row_tops[row]) + exp(sums[2 * half + 1][r] - row_tops[row]);
      parts[row * 8 + at.x] = dot(weights, vec4(1.0));
    }
  }
  workgroupBarrier();
  if tile.y * 64 + lane < shape.n {
    var mass = 0.0;
    for (var x = 0u; x < 8; x++) {
      mass += parts[lane * 8 + x];
    }
    peaks[(tile.y * 64 + lane) * ((shape.width + 63) / 64) + tile.x] = vec2(top, mass);
  }
}
