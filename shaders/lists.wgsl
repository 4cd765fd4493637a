// Looking tokens up in the order's lists.

// Where `id` stands among `count` rising entries of the lists, or `count`.
fn find(first: u32, count: u32, id: u32) -> u32 {
  var low = 0u;
  var high = count;
  while low < high {
    let middle = (low + high) / 2;
    if order.lists[first + middle] < id {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  if low < count && order.lists[first + low] == id {
    return low;
  }
  return count;
}

fn is_in_vocabulary(id: u32) -> bool {
  return order.vocabulary == 0 || find(order.ruled_out, order.vocabulary, id) < order.vocabulary;
}
