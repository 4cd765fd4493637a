// A product of 64 x K by K x 64 in a workgroup of 8 x 8 invocations, 8 x 8 sums each, K = 16 at a
// time. Both operands are staged in workgroup memory with k outermost, so that one vec4 is 4 rows
// (or 4 columns) of one k: 64 multiply-adds for 4 loads. Invocation (x, y) has rows 4 y + {0..3}
// and 32 more, columns likewise of x: neighbours read the same vec4 or neighbouring ones. Staging
// goes by blocks of 4 x 4, transposed in registers. A batch of at most 32 rows leaves out the upper
// half (HIGH_ROWS). Workgroup memory: 8.5 KiB, so that several
// workgroups share a core. Registers: 64 sums and 16 operands, below 128 an invocation.

const WIDTH = 17u; // vec4 of one k: 16 in use and one that spreads blocks over the banks

var<workgroup> left: array<vec4<f32>, 16 * WIDTH>;
var<workgroup> right: array<vec4<f32>, 16 * WIDTH>;

// Row r of quadrant q is in `sums[q][r]`; quadrants: (low rows, low columns), (low, high), (high,
// low), (high, high).
alias Sums = array<mat4x4<f32>, 4>;

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
