// A token's log-probability of one of the adapter's sides: its weights, and those of before it learned targets.

fn log_sum(softmax: vec4<f32>) -> f32 {
  return softmax.x + log(softmax.y);
}

fn log_add_exp(a: f32, b: f32) -> f32 {
  return max(a, b) + log(1.0 + exp(-abs(a - b)));
}

// Of the side's head, given log g times it: with what the prompt's tokens add. `g` is where its log g lies.
fn with_copies(id: u32, g: u32, log_p: f32) -> f32 {
  let ids = order.ruled_out + order.vocabulary;
  let token = find(ids, order.copied, id);
  if token == order.copied {
    return log_p;
  }
  let starts = ids + order.copied;
  let places = starts + order.copied + 1;
  var sum = log_p;
  for (var i = order.lists[starts + token]; i < order.lists[starts + token + 1]; i++) {
    sum = log_add_exp(sum, log_weights[g + 1 + order.lists[places + i]]);
  }
  return sum;
}

// From the side's row of the logits and, where it copies, from `g` on of `log_weights`.
fn log_p_of_side(id: u32, row: u32, g: u32) -> f32 {
  var log_p = LOWEST;
  if is_in_vocabulary(id) {
    log_p = logits[row * shape.v + id] - log_sum(state[row]);
  }
  if order.copied > 0 {
    log_p = with_copies(id, g, log_p + log_weights[g]);
  }
  return log_p;
}
