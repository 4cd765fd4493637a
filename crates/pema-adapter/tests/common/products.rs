//! Products by Pema's own kernel against Burn's on the CPU, with their gradients.

use burn::tensor::{Device, Tensor};
use pema_adapter::{Tile, product_with_tile};

use super::{assert_close, noise, read, tensor_on};

/// `m, k, n`: one entry and many, one tile and many, ends that fall on tiles and between them, and sums
/// long enough to be cut up.
const SHAPES: [[usize; 3]; 7] =
    [[1, 1, 1], [1, 576, 128], [3, 16, 5], [64, 64, 64], [33, 100, 65], [65, 1000, 7], [257, 31, 130]];

/// What an operand is a view of.
#[derive(Clone, Copy, Debug)]
enum Laid {
    AsIs,
    Transposed,
    /// Within a larger matrix.
    Sliced,
}

fn operand(values: &[f32], [rows, columns]: [usize; 2], laid: Laid, device: &Device) -> Tensor<2> {
    let plain = tensor_on(device, values, [rows, columns]);
    match laid {
        Laid::AsIs => plain,
        // Written the other way round, so that the view is what is strange.
        Laid::Transposed => {
            let turned: Vec<f32> = (0..columns).flat_map(|c| (0..rows).map(move |r| values[r * columns + c])).collect();
            tensor_on(device, &turned, [columns, rows]).transpose()
        }
        Laid::Sliced => {
            let around = Tensor::cat(vec![plain.zeros_like(), plain, Tensor::ones([rows, columns], device)], 0);
            around.slice([rows..2 * rows, 0..columns])
        }
    }
}

/// The product, and the gradients of its weighted sum with respect to those operands that are tracked.
async fn numbers(a: Tensor<2>, b: Tensor<2>, tracked: [bool; 2], tile: Tile) -> Vec<Vec<f32>> {
    let track = |x: Tensor<2>, tracked| if tracked { x.autodiff().require_grad() } else { x };
    let (a, b) = (track(a, tracked[0]), track(b, tracked[1]));
    let result = product_with_tile(a.clone(), b.clone(), tile);
    let mut all = vec![read(result.clone().inner()).await];
    if tracked != [false, false] {
        // Every entry has a gradient of its own.
        let gradients = (result.clone() * result).sum().backward();
        for operand in [a, b] {
            if let Some(gradient) = operand.grad(&gradients) {
                all.push(read(gradient).await);
            }
        }
    }
    all
}

/// Products and gradients are those of the CPU within 1e-4, whichever the tile of the device's kernel.
pub async fn assert_same_products(device: &Device) {
    let ways = [
        (Laid::AsIs, Laid::AsIs, [true, true]),
        (Laid::Transposed, Laid::Sliced, [true, false]),
        (Laid::Sliced, Laid::Transposed, [false, true]),
        (Laid::Transposed, Laid::Transposed, [false, false]),
    ];
    for [m, k, n] in SHAPES {
        let (a, b) = (noise(m * k, 1.0, 11), noise(k * n, 1.0, 12));
        for (a_laid, b_laid, tracked) in ways {
            let operands = |device: &Device| (operand(&a, [m, k], a_laid, device), operand(&b, [k, n], b_laid, device));
            let (plain_a, plain_b) = operands(&Device::flex());
            // Burn's product there, which has no tile.
            let plain = numbers(plain_a, plain_b, tracked, Tile::Cpu).await;
            for tile in [Tile::Gpu, Tile::Cpu] {
                let (a, b) = operands(device);
                let ours = numbers(a, b, tracked, tile).await;
                assert_eq!(ours.len(), 1 + tracked.iter().filter(|tracked| **tracked).count());
                for (i, (ours, plain)) in ours.iter().zip(&plain).enumerate() {
                    let plain: Vec<f64> = plain.iter().map(|x| f64::from(*x)).collect();
                    let what = format!("number {i} of [{m}, {k}] {a_laid:?} by [{k}, {n}] {b_laid:?}, {tile:?}");
                    assert_close(ours, &plain, 1e-4, &what);
                }
            }
        }
    }
}
