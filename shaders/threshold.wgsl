// What top-k and top-p keep is all that is at least as likely as some token. That threshold is found
// as a radix sort would: a byte of it a turn, from counts of tokens (turns 0 to 3, top-k) or sums of
// their probabilities (turns 4 to 7, top-p) by that byte. Probabilities are counted in units of
// 2^-31, so that sums come out the same in any order.

const TOP_P_TURN = 4u;

// Larger for larger numbers.
fn key_of(x: f32) -> u32 {
  let bits = bitcast<u32>(x);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// The probability of a token that `mixed` gives `x`.
fn mass_of(x: f32) -> u32 {
  return u32(exp(x - totals[0].x) / totals[0].y * 2147483648.0);
}

// The bits that earlier turns of the same threshold have found.
fn known_bits(turn: u32) -> u32 {
  let shift = 32 - 8 * (turn % 4);
  return select(0xffffffffu << (shift % 32), 0, shift == 32);
}

var<workgroup> cut: vec4<u32>;

// What is known before a turn: the key below which nothing is kept, the bits found of the next such
// key, and how much of the tokens with these bits is still to be kept.
fn known(turn: u32, lane: u32) -> vec4<u32> {
  let last = max(turn, 1) - 1;
  let before = found[last];
  let bin = 255 - lane;
  let here = atomicLoad(&bins[last * 256 + bin]);
  let down_to_here = running_sum(lane, here);
  let everything = sums[255];
  var want = before.z;
  if last == TOP_P_TURN {
    want = clamp(u32(ceil(order.top_p * f32(everything))), 1, everything);
  }
  if down_to_here >= want && down_to_here - here < want {
    let key = before.y | (bin << (24 - 8 * (last % 4)));
    cut = select(vec4(before.x, key, want - (down_to_here - here), 0), vec4(key, 0, 0, 0), last % 4 == 3);
  }
  workgroupBarrier();
  return select(cut, vec4(0, 0, order.top_k, 0), turn == shape.first_turn);
}
