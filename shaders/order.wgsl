// What the host asks for with every token.

struct Order {
  log_lambda: f32,  // LOWEST for log 0
  log_rest: f32,    // log(1 - lambda)
  temperature: f32,
  top_p: f32,
  u: f32,           // the draw, in [0, 1)
  greedy: u32,      // 1: the likeliest token, whatever the draw
  top_k: u32,
  has_plm: u32,     // 1: the first row of the logits is the PLM's
  has_pema: u32,    // 1: the last row is the adapter's
  ruled_out: u32,   // tokens that are not to be chosen
  copied: u32,      // different tokens of the prompt, if the adapter copies
  // The ruled out tokens and the prompt's different ones, both rising; then where the places of each
  // of the latter begin, and their end; then the places, from 0.
  lists: array<u32>,
}
