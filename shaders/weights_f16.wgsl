// How kernels read W: f16, two in a u32. `w` is [rows, d / 4].

alias Packed = vec2<u32>;

// What a row's entries are to be multiplied by.
fn row_scale(row: u32) -> f32 {
  return 1.0;
}

// Four entries of a row, from 4 quad on.
fn entries(row: u32, quad: u32) -> vec4<f32> {
  let packed = w[row * (D / 4) + quad];
  return vec4(unpack2x16float(packed.x), unpack2x16float(packed.y));
}
