// A token's log-probabilities, of a step's logits.

fn log_sum(softmax: vec4<f32>) -> f32 {
  return softmax.x + log(softmax.y);
}

fn log_add_exp(a: f32, b: f32) -> f32 {
  return max(a, b) + log(1.0 + exp(-abs(a - b)));
}

// Of the adapter's head, given log g times it: with what the prompt's tokens add.
fn with_copies(id: u32, log_p: f32) -> f32 {
  let ids = order.ruled_out + order.vocabulary;
  let token = find(ids, order.copied, id);
  if token == order.copied {
    return log_p;
  }
  let starts = ids + order.copied;
  let places = starts + order.copied + 1;
  var sum = log_p;
  for (var i = order.lists[starts + token]; i < order.lists[starts + token + 1]; i++) {
    sum = log_add_exp(sum, log_weights[1 + order.lists[places + i]]);
  }
  return sum;
}

// The adapter's, the PLM's and the mixture's, which may lack a constant.
fn log_probs(id: u32) -> vec3<f32> {
  var pema = LOWEST;
  var plm = LOWEST;
  if order.has_plm == 1 {
    plm = logits[id] - log_sum(state[0]);
  }
  if order.has_pema == 1 {
    if is_in_vocabulary(id) {
      pema = logits[order.has_plm * shape.v + id] - log_sum(state[order.has_plm]);
    }
    if order.copied > 0 {
      pema = with_copies(id, pema + log_weights[0]);
    }
  }
  let both = log_add_exp(pema + order.log_share_pema, plm + order.log_share_plm);
  return vec3(pema, plm, order.power * both + (1 - order.power) * plm);
}
