// A token's log-probabilities, of a step's logits.

// The adapter's, the PLM's and the mixture's, which may lack a constant.
fn log_probs(id: u32) -> vec3<f32> {
  var pema = LOWEST;
  var plm = LOWEST;
  if order.has_plm == 1 {
    plm = logits[id] - log_sum(state[0]);
  }
  if order.sides == 1 {
    pema = log_p_of_side(id, order.has_plm, 0);
  }
  if order.sides == 2 {
    // `contrast` has made one row of both.
    pema = logits[shape.v + id] - log_sum(state[1]);
  }
  let both = log_add_exp(pema + order.log_share_pema, plm + order.log_share_plm);
  return vec3(pema, plm, order.power * both + (1 - order.power) * plm);
}
