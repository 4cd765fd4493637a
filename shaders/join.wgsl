// The softmax of a workgroup's 256 invocations.

var<workgroup> parts: array<vec2<f32>, 256>;

// The parts of all lanes, for the first of them.
fn joined_over_lanes(lane: u32, part: vec2<f32>) -> vec2<f32> {
  parts[lane] = part;
  workgroupBarrier();
  for (var step = 128u; step > 0; step /= 2) {
    if lane < step {
      parts[lane] = joined(parts[lane], parts[lane + step]);
    }
    workgroupBarrier();
  }
  return parts[0];
}
