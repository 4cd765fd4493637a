// Running sums over a workgroup's 256 invocations.

var<workgroup> sums: array<u32, 256>;

// The sum of the values of this lane and those before it; `sums` then holds every lane's.
fn running_sum(lane: u32, value: u32) -> u32 {
  sums[lane] = value;
  workgroupBarrier();
  for (var step = 1u; step < 256; step *= 2) {
    var before = 0u;
    if lane >= step {
      before = sums[lane - step];
    }
    workgroupBarrier();
    sums[lane] += before;
    workgroupBarrier();
  }
  return sums[lane];
}
