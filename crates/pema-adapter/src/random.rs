//! Everything random, as pure functions of the seed and a place in the training, so that a resumed
//! run draws what an uninterrupted one would have drawn.

use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// What a stream of random numbers is for; streams of one seed never overlap.
#[derive(Clone, Copy)]
#[repr(u64)]
enum Purpose {
    Weights = 1,
    Order = 2,
    Dropout = 3,
}

/// Random bytes drawn at once for dropout: two an entry.
const DROPOUT_BUFFER_BYTES: usize = 8192;

fn stream(purpose: Purpose, seed: u64, phase: u64, counter: u64) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (part, number) in key.chunks_exact_mut(8).zip([purpose as u64, seed, phase, counter]) {
        part.copy_from_slice(&number.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// `count` numbers uniform in `[-bound, bound)`.
pub(crate) fn uniform(count: usize, bound: f32, seed: u64, phase: u64) -> Vec<f32> {
    let mut rng = stream(Purpose::Weights, seed, phase, 0);
    // The top 24 bits are what an f32 in [0, 1) can hold exactly.
    let unit = |bits: u32| (bits >> 8) as f32 / (1 << 24) as f32;
    (0..count).map(|_| bound * (2.0 * unit(rng.next_u32()) - 1.0)).collect()
}

/// `rows` in the order in which `epoch` visits them.
pub(crate) fn epoch_order(rows: &[usize], seed: u64, phase: u64, epoch: u64) -> Vec<usize> {
    let mut order = rows.to_vec();
    order.shuffle(&mut stream(Purpose::Order, seed, phase, epoch));
    order
}

/// Inverted dropout: hides each entry with probability `p` and scales the rest by `1 / (1 - p)`.
///
/// `p` is rounded to 1 / 65536. Drawn on the host, since a device's generator has no place to resume at.
pub(crate) fn drop_out(values: &mut [f32], p: f64, seed: u64, phase: u64, step: u64) {
    let mut rng = stream(Purpose::Dropout, seed, phase, step);
    let hidden_below = (p * 65536.0).round() as u32;
    let scale = (1.0 / (1.0 - p)) as f32;
    let mut buffer = [0; DROPOUT_BUFFER_BYTES];
    for run in values.chunks_mut(DROPOUT_BUFFER_BYTES / 2) {
        rng.fill_bytes(&mut buffer);
        for (value, draw) in run.iter_mut().zip(buffer.chunks_exact(2)) {
            let kept = u32::from(u16::from_le_bytes([draw[0], draw[1]])) >= hidden_below;
            *value = if kept { *value * scale } else { 0.0 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dropout_hides_its_share_keeps_the_mean_and_repeats_itself() {
        let mut first = vec![1.0; 100_000];
        let mut second = first.clone();
        drop_out(&mut first, 0.2, 7, 2, 3);
        drop_out(&mut second, 0.2, 7, 2, 3);
        assert_eq!(first, second);
        let hidden = first.iter().filter(|&&value| value == 0.0).count();
        assert!((19_000..21_000).contains(&hidden), "{hidden}");
        assert!(first.iter().all(|&value| value == 0.0 || value == 1.25));
        drop_out(&mut second, 0.2, 7, 2, 4);
        assert_ne!(first, second);
    }

    #[test]
    fn an_epoch_visits_every_row_once_in_its_own_order() {
        let rows: Vec<usize> = (10..60).collect();
        let (first, second) = (epoch_order(&rows, 1, 1, 0), epoch_order(&rows, 1, 1, 1));
        assert_ne!(first, second);
        for mut order in [first, second] {
            order.sort_unstable();
            assert_eq!(order, rows);
        }
    }
}
