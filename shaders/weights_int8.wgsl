// How kernels read W: int8, four in a u32, and after each row's the bits of its scale, which is one of
// 127ths. `w` is [rows, d / 4 + 1].

alias Packed = u32;

// What a row's entries are to be multiplied by.
fn row_scale(row: u32) -> f32 {
  return bitcast<f32>(w[row * (D / 4 + 1) + D / 4]);
}

// Four entries of a row, from 4 quad on.
fn entries(row: u32, quad: u32) -> vec4<f32> {
  return unpack4x8snorm(w[row * (D / 4 + 1) + quad]);
}
