// What every kernel of the head begins with, after the constants D, SCALE, CAP (0: no softcap), SMOOTHING
// (of contrast), WANTS_GRADIENT and HIGH_ROWS (the batch needs a tile's upper half), which the host puts before it.
//
// Every buffer is read_write because the host's are slices of few large ones, and WebGPU does not let one
// dispatch bind a buffer both ways. The shape, its last binding, lies in a buffer of its own.

// Below any logit, and far enough from the end of f32 that differences stay finite.
const LOWEST = -1e30;

fn shaped(products: vec4<f32>) -> vec4<f32> {
  let scaled = SCALE * products;
  if CAP == 0.0 {
    return scaled;
  }
  // tanh of a large argument is NaN on some devices.
  return CAP * tanh(clamp(scaled / CAP, vec4(-15.0), vec4(15.0)));
}

// d logit / d scaled, from the logit; 0 for LOWEST.
fn slope(logits: vec4<f32>) -> vec4<f32> {
  if CAP == 0.0 {
    return vec4(1.0);
  }
  return max(1.0 - (logits / CAP) * (logits / CAP), vec4(0.0));
}

// The softmax of two disjoint sets of logits, each its maximum and sum exp(l - maximum).
fn joined(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let top = max(a.x, b.x);
  return vec2(top, a.y * exp(a.x - top) + b.y * exp(b.x - top));
}
