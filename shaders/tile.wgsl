// What kernels that sum products share. Before it comes `tile_gpu.wgsl` or `tile_cpu.wgsl`, whose `add_products`
// does the sums, after it a kernel, which says what is multiplied:
// - rows_at(first), columns_at(first): what is to be known of 4 rows or columns, once.
// - left_entries(rows, k, end): the rows' entries k to k + 3, a row in each column of the matrix.
// - right_entries(columns, k): the columns' entries k to k + 3, an entry of all four in each column of the matrix.
// - RIGHT_BY_COLUMNS: whether right operands lie side by side by column, or else by entry.

const TILE_ROWS = 4 * LANES_Y * ROW_BLOCKS;
const TILE_COLUMNS = 4 * LANES_X * COLUMN_BLOCKS;

// The first row of the invocation's block q.
fn row_of(tile: vec3<u32>, at: vec3<u32>, q: u32) -> u32 {
  return tile.y * TILE_ROWS + 4 * (at.y + LANES_Y * (q / COLUMN_BLOCKS));
}

// Its first column.
fn column_of(tile: vec3<u32>, at: vec3<u32>, q: u32) -> u32 {
  return tile.x * TILE_COLUMNS + 4 * (at.x + LANES_X * (q % COLUMN_BLOCKS));
}
