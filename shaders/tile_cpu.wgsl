// Sums of products for adapters that are a CPU: a tile of 32 x 64 in a workgroup of 4 invocations, the least width
// of a CPU's vectors, with 32 x 16 sums each. In software a read costs many times a multiplication, from workgroup
// memory as from any other, so an invocation reads what it multiplies by itself and uses it for many sums, which
// lie in its cache. They are a copy without indices that vary, whose places would be looked up each time.
// A batch of at most 16 rows leaves out the upper half (HIGH_ROWS).

const LANES_X = 4u;
const LANES_Y = 1u;
// Blocks of 4 x 4 sums that an invocation has.
const ROW_BLOCKS = 8u;
const COLUMN_BLOCKS = 4u;

// Row r of block q is in `sums[q][r]`; blocks: those of the lowest rows first, in the order of their columns.
alias Sums = array<mat4x4<f32>, 32>;

// Adds the products of these k, whose number is a multiple of 4.
fn add_products(sums: ptr<function, Sums>, tile: vec3<u32>, at: vec3<u32>, lane: u32, start: u32, end: u32) {
  let rows_0 = rows_at(tile.y * 32);
  let rows_1 = rows_at(tile.y * 32 + 4);
  let rows_2 = rows_at(tile.y * 32 + 8);
  let rows_3 = rows_at(tile.y * 32 + 12);
  let rows_4 = rows_at(tile.y * 32 + 16);
  let rows_5 = rows_at(tile.y * 32 + 20);
  let rows_6 = rows_at(tile.y * 32 + 24);
  let rows_7 = rows_at(tile.y * 32 + 28);
  let columns_0 = columns_at(tile.x * 64 + at.x * 4);
  let columns_1 = columns_at(tile.x * 64 + 16 + at.x * 4);
  let columns_2 = columns_at(tile.x * 64 + 32 + at.x * 4);
  let columns_3 = columns_at(tile.x * 64 + 48 + at.x * 4);
  var now = *sums;
  for (var k = start; k < end; k += 4) {
    let b_0 = right_entries(columns_0, k);
    let b_1 = right_entries(columns_1, k);
    let b_2 = right_entries(columns_2, k);
    let b_3 = right_entries(columns_3, k);
    let a_0 = left_entries(rows_0, k, end);
    now[0] += b_0 * a_0;
    now[1] += b_1 * a_0;
    now[2] += b_2 * a_0;
    now[3] += b_3 * a_0;
    let a_1 = left_entries(rows_1, k, end);
    now[4] += b_0 * a_1;
    now[5] += b_1 * a_1;
    now[6] += b_2 * a_1;
    now[7] += b_3 * a_1;
    let a_2 = left_entries(rows_2, k, end);
    now[8] += b_0 * a_2;
    now[9] += b_1 * a_2;
    now[10] += b_2 * a_2;
    now[11] += b_3 * a_2;
    let a_3 = left_entries(rows_3, k, end);
    now[12] += b_0 * a_3;
    now[13] += b_1 * a_3;
    now[14] += b_2 * a_3;
    now[15] += b_3 * a_3;
    if HIGH_ROWS {
      let a_4 = left_entries(rows_4, k, end);
      now[16] += b_0 * a_4;
      now[17] += b_1 * a_4;
      now[18] += b_2 * a_4;
      now[19] += b_3 * a_4;
      let a_5 = left_entries(rows_5, k, end);
      now[20] += b_0 * a_5;
      now[21] += b_1 * a_5;
      now[22] += b_2 * a_5;
      now[23] += b_3 * a_5;
      let a_6 = left_entries(rows_6, k, end);
      now[24] += b_0 * a_6;
      now[25] += b_1 * a_6;
      now[26] += b_2 * a_6;
      now[27] += b_3 * a_6;
      let a_7 = left_entries(rows_7, k, end);
      now[28] += b_0 * a_7;
      now[29] += b_1 * a_7;
      now[30] += b_2 * a_7;
      now[31] += b_3 * a_7;
    }
  }
  *sums = now;
}

// Row r of a row of blocks: the largest of its sums, by column of a block.
fn largest(sums: ptr<function, Sums>, blocks: u32, r: u32) -> vec4<f32> {
  let q = 4 * blocks;
  return max(max((*sums)[q][r], (*sums)[q + 1][r]), max((*sums)[q + 2][r], (*sums)[q + 3][r]));
}

// The same of exp(sum - top), added up.
fn mass(sums: ptr<function, Sums>, blocks: u32, r: u32, top: f32) -> vec4<f32> {
  let q = 4 * blocks;
  return exp((*sums)[q][r] - top) + exp((*sums)[q + 1][r] - top)
    + exp((*sums)[q + 2][r] - top) + exp((*sums)[q + 3][r] - top);
}
