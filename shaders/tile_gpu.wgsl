// Sums of products for GPUs: a tile of 64 x 64 in a workgroup of 8 x 8 invocations, 8 x 8 sums each, K = 16
// at a time. Both operands are staged in workgroup memory with k outermost, so that one vec4 is 4 rows
// (or 4 columns) of one k: 64 multiply-adds for 4 loads. Invocation (x, y) has rows 4 y + {0..3}
// and 32 more, columns likewise of x: neighbours read the same vec4 or neighbouring ones. Staging
// goes by blocks of 4 x 4, transposed in registers. A batch of at most 32 rows leaves out the upper
// half (HIGH_ROWS). Workgroup memory: 8.5 KiB, so that several
// workgroups share a core. Registers: 64 sums and 16 operands, below 128 an invocation.

const LANES_X = 8u;
const LANES_Y = 8u;
// Blocks of 4 x 4 sums that an invocation has.
const ROW_BLOCKS = 2u;
const COLUMN_BLOCKS = 2u;
const WIDTH = 17u; // vec4 of one k: 16 in use and one that spreads blocks over the banks

var<workgroup> left: array<vec4<f32>, 16 * WIDTH>;
var<workgroup> right: array<vec4<f32>, 16 * WIDTH>;

// Row r of quadrant q is in `sums[q][r]`; quadrants: (low rows, low columns), (low, high), (high,
// low), (high, high).
alias Sums = array<mat4x4<f32>, 4>;

// Adds the products of these k, whose number is a multiple of 16.
fn add_products(sums: ptr<function, Sums>, tile: vec3<u32>, at: vec3<u32>, lane: u32, start: u32, end: u32) {
  // This invocation stages 4 rows and 4 columns, 4 entries each.
  let left_quad = lane / 4;
  let left_band = lane % 4;
  let right_quad = select(lane / 4, lane % 16, RIGHT_BY_COLUMNS);
  let right_band = select(lane % 4, lane / 16, RIGHT_BY_COLUMNS);
  let rows = rows_at(tile.y * 64 + left_quad * 4);
  let columns = columns_at(tile.x * 64 + right_quad * 4);
  for (var k = start; k < end; k += 16) {
    let left_block = transpose(left_entries(rows, k + left_band * 4, end));
    let right_block = right_entries(columns, k + right_band * 4);
    let left_at = left_band * 4 * WIDTH + left_quad;
    left[left_at] = left_block[0];
    left[left_at + WIDTH] = left_block[1];
    left[left_at + 2 * WIDTH] = left_block[2];
    left[left_at + 3 * WIDTH] = left_block[3];
    let right_at = right_band * 4 * WIDTH + right_quad;
    right[right_at] = right_block[0];
    right[right_at + WIDTH] = right_block[1];
    right[right_at + 2 * WIDTH] = right_block[2];
    right[right_at + 3 * WIDTH] = right_block[3];
    workgroupBarrier();
    multiply(sums, at);
    workgroupBarrier();
  }
}

// Adds the staged 16 products to the sums. Not in a loop, which compilers guard against running on and do
// not unroll; and to a copy, which they keep in registers: a large GPU then takes a sixth of the time less.
fn multiply(sums: ptr<function, Sums>, at: vec3<u32>) {
  var now = *sums;
  add_product(&now, at, 0);
  add_product(&now, at, 1);
  add_product(&now, at, 2);
  add_product(&now, at, 3);
  add_product(&now, at, 4);
  add_product(&now, at, 5);
  add_product(&now, at, 6);
  add_product(&now, at, 7);
  add_product(&now, at, 8);
  add_product(&now, at, 9);
  add_product(&now, at, 10);
  add_product(&now, at, 11);
  add_product(&now, at, 12);
  add_product(&now, at, 13);
  add_product(&now, at, 14);
  add_product(&now, at, 15);
  *sums = now;
}

fn add_product(sums: ptr<function, Sums>, at: vec3<u32>, k: u32) {
  let b = right[k * WIDTH + at.x];
  let d = right[k * WIDTH + at.x + 8];
  let a = left[k * WIDTH + at.y];
  (*sums)[0] += mat4x4(a.x * b, a.y * b, a.z * b, a.w * b);
  (*sums)[1] += mat4x4(a.x * d, a.y * d, a.z * d, a.w * d);
  if HIGH_ROWS {
    let c = left[k * WIDTH + at.y + 8];
    (*sums)[2] += mat4x4(c.x * b, c.y * b, c.z * b, c.w * b);
    (*sums)[3] += mat4x4(c.x * d, c.y * d, c.z * d, c.w * d);
  }
}

// Row r of a row of blocks: the largest of its sums, by column of a block.
fn largest(sums: ptr<function, Sums>, blocks: u32, r: u32) -> vec4<f32> {
  return max((*sums)[2 * blocks][r], (*sums)[2 * blocks + 1][r]);
}

// The same of exp(sum - top), added up.
fn mass(sums: ptr<function, Sums>, blocks: u32, r: u32, top: f32) -> vec4<f32> {
  return exp((*sums)[2 * blocks][r] - top) + exp((*sums)[2 * blocks + 1][r] - top);
}
