//! Prometheus metrics. Numbers only: no prompt, token or key is ever a label.

use std::sync::OnceLock;

use metrics::{counter, describe_counter, describe_gauge, gauge};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

const JOBS: &str = "pema_jobs_running";
const ROWS: &str = "pema_rows_total";
const TOKENS: &str = "pema_generated_tokens_total";
const BYTES: &str = "pema_sent_bytes_total";
const STREAMS: &str = "pema_streams_open";
const ERRORS: &str = "pema_errors_total";

/// The process-wide recorder, installed at the first call.
pub(crate) fn recorder() -> Option<&'static PrometheusHandle> {
    static RECORDER: OnceLock<Option<PrometheusHandle>> = OnceLock::new();
    let install = || {
        let handle = PrometheusBuilder::new().install_recorder().ok()?;
        describe_gauge!(JOBS, "Extraction jobs at work");
        describe_counter!(ROWS, "Hidden states extracted");
        describe_counter!(TOKENS, "Steps of generation streams");
        describe_counter!(BYTES, "Bytes of heads, tokenizers, shards and generation frames sent");
        describe_gauge!(STREAMS, "Generation streams open");
        describe_counter!(ERRORS, "Requests refused or failed, by problem type");
        gauge!(JOBS).set(0);
        gauge!(STREAMS).set(0);
        for name in [ROWS, TOKENS, BYTES] {
            counter!(name).absolute(0);
        }
        Some(handle)
    };
    RECORDER.get_or_init(install).as_ref()
}

/// Counts extracted rows.
pub(crate) fn rows(n: usize) {
    counter!(ROWS).increment(n as u64);
}

/// Counts one step of a generation stream.
pub(crate) fn token() {
    counter!(TOKENS).increment(1);
}

/// Counts bytes of files and frames.
pub(crate) fn sent(bytes: u64) {
    counter!(BYTES).increment(bytes);
}

/// Counts a refusal or failure.
pub(crate) fn error(kind: &'static str) {
    counter!(ERRORS, "type" => kind).increment(1);
}

/// An extraction job that counts as running while this lives.
pub(crate) struct JobGuard;

impl JobGuard {
    pub(crate) fn start() -> Self {
        gauge!(JOBS).increment(1);
        Self
    }
}

impl Drop for JobGuard {
    fn drop(&mut self) {
        gauge!(JOBS).decrement(1);
    }
}

/// A generation stream that counts as open while this lives.
pub(crate) struct StreamGuard;

impl StreamGuard {
    pub(crate) fn start() -> Self {
        gauge!(STREAMS).increment(1);
        Self
    }
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        gauge!(STREAMS).decrement(1);
    }
}
