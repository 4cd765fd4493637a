// What the host asks for with every token.

struct Order {
  // log mixture = power log(share_pema p_pema + share_plm p_plm) + (1 - power) log p_plm, up to a
  // constant: an arithmetic mixture has power 1, a geometric one power lambda.
  log_share_pema: f32,  // LOWEST for log 0
  log_share_plm: f32,
  power: f32,
  temperature: f32,
  top_p: f32,
  u: f32,           // the draw, in [0, 1)
  greedy: u32,      // 1: the likeliest token, whatever the draw
  top_k: u32,
  has_plm: u32,     // 1: the first row of the logits is the PLM's
  sides: u32,       // rows that follow, of the adapter: with contrast two, after the targets and before
  ruled_out: u32,   // tokens that are not to be chosen
  vocabulary: u32,  // tokens of the adapter's vocabulary; 0: all
  copied: u32,      // different tokens of the prompt, if the adapter copies
  // These three, each rising; then where the places of each of the prompt's tokens begin, and their
  // end; then the places, from 0.
  lists: array<u32>,
}
