// A chunk of logits: softcap(scale * h W^T), with the maximum and the sum of exponentials of every
// tile's columns.

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

const RIGHT_BY_COLUMNS = false;

var<workgroup> parts: array<f32, TILE_ROWS * LANES_X>;
var<workgroup> row_tops: array<f32, TILE_ROWS>;

// Where 4 rows of h begin.
fn rows_at(first: u32) -> vec4<u32> {
  return min(vec4(first) + vec4(0, 1, 2, 3), vec4(shape.n - 1)) * (D / 4);
}

// 4 entries of each.
fn left_entries(rows: vec4<u32>, k: u32, end: u32) -> mat4x4<f32> {
  let quad = k / 4;
  return mat4x4(h[rows.x + quad], h[rows.y + quad], h[rows.z + quad], h[rows.w + quad]);
}

// 4 rows of w.
fn columns_at(first: u32) -> vec4<u32> {
  return shape.first + min(vec4(first) + vec4(0, 1, 2, 3), vec4(shape.width - 1));
}

// 4 entries of each, an entry a column of the result.
fn right_entries(columns: vec4<u32>, k: u32) -> mat4x4<f32> {
  let quad = k / 4;
  return transpose(mat4x4(
    row_scale(columns.x) * entries(columns.x, quad),
    row_scale(columns.y) * entries(columns.y, quad),
    row_scale(columns.z) * entries(columns.z, quad),
    row_scale(columns.w) * entries(columns.w, quad),
  ));
}

@compute @workgroup_size(LANES_X, LANES_Y)
fn main(
  @builtin(workgroup_id) tile: vec3<u32>,
  @builtin(local_invocation_id) at: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  var sums: Sums;
  add_products(&sums, tile, at, lane, 0, D);

  // Rows of this invocation: maximum, then mass, each joined over those that share a row.
  for (var q = 0u; q < ROW_BLOCKS * COLUMN_BLOCKS; q++) {
    let column = column_of(tile, at, q);
    let exists = vec4(column, column + 1, column + 2, column + 3) < vec4(shape.width);
    for (var r = 0u; r < 4; r++) {
      sums[q][r] = select(vec4(LOWEST), shaped(sums[q][r]), exists);
      let row = row_of(tile, at, q) + r;
      if WANTS_GRADIENT && row < shape.n {
        logits[row * shape.stride4 + column / 4] = sums[q][r];
      }
    }
  }
  for (var blocks = 0u; blocks < ROW_BLOCKS; blocks++) {
    for (var r = 0u; r < 4; r++) {
      let l = largest(&sums, blocks, r);
      parts[(4 * (at.y + LANES_Y * blocks) + r) * LANES_X + at.x] = max(max(l.x, l.y), max(l.z, l.w));
    }
  }
  workgroupBarrier();
  for (var row = lane; row < TILE_ROWS; row += LANES_X * LANES_Y) {
    var top = LOWEST;
    for (var x = 0u; x < LANES_X; x++) {
      top = max(top, parts[row * LANES_X + x]);
    }
    row_tops[row] = top;
  }
  workgroupBarrier();
  for (var blocks = 0u; blocks < ROW_BLOCKS; blocks++) {
    for (var r = 0u; r < 4; r++) {
      let row = 4 * (at.y + LANES_Y * blocks) + r;
      parts[row * LANES_X + at.x] = dot(mass(&sums, blocks, r, row_tops[row]), vec4(1.0));
    }
  }
  workgroupBarrier();
  for (var row = lane; row < TILE_ROWS && tile.y * TILE_ROWS + row < shape.n; row += LANES_X * LANES_Y) {
    var total = 0.0;
    for (var x = 0u; x < LANES_X; x++) {
      total += parts[row * LANES_X + x];
    }
    let tiles = (shape.width + TILE_COLUMNS - 1) / TILE_COLUMNS;
    peaks[(tile.y * TILE_ROWS + row) * tiles + tile.x] = vec2(row_tops[row], total);
  }
}
