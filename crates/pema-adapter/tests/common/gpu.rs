//! All that a GPU must give, in a tab or natively.

use burn::tensor::Device;

use super::{
    choosing::assert_same_choices,
    kernels::{assert_same_course, assert_same_head, assert_step_fits},
    products::assert_same_products,
    training::{assert_golden_gradients, assert_golden_losses, assert_same_distributions},
};

/// Its numbers are the CPU's, and a step fits beside a head of `v` rows. Nothing else may have used it.
pub async fn assert_gives_the_numbers_of_the_cpu(device: &Device, v: usize) {
    assert_step_fits(device, v).await;
    assert_same_products(device).await;
    assert_golden_losses(device, 1e-3).await;
    assert_golden_gradients(device, 1e-3).await;
    assert_same_distributions(device, 1e-3).await;
    assert_same_head(device).await;
    assert_same_course(device).await;
    assert_same_choices(device).await;
}
