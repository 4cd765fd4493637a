//! What a method costs.

use std::time::Instant;

use anyhow::Result;
use pema_core::{
    id::TokenId,
    prepare::Prepared,
    wire::{ClientMessage, LogitsMode, PromptStates},
};
use serde::{Deserialize, Serialize};

/// What it took to learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Costs {
    /// Parameters that training changed and that are used.
    pub parameters: usize,
    /// Seconds of training, in the run that trained.
    pub training_seconds: Option<f64>,
    /// The process's largest resident set while it trained, with the head, the memory and whatever
    /// else it held; none where the system does not tell, or other training ran beside.
    pub peak_memory_bytes: Option<u64>,
    /// What the data owner sends for the memory.
    pub bytes_sent: usize,
}

/// Time and peak memory from a moment on.
pub struct Meter {
    began: Instant,
    resets: bool,
}

impl Meter {
    /// Starts. `alone` says that nothing else in this process takes memory meanwhile.
    pub fn start(alone: bool) -> Self {
        Self { began: Instant::now(), resets: alone && reset_peak_memory() }
    }

    /// Seconds, and bytes where they are known.
    pub fn stop(self) -> (f64, Option<u64>) {
        let bytes = self.resets.then(peak_memory).flatten();
        (self.began.elapsed().as_secs_f64(), bytes)
    }
}

/// Sets the peak to what is resident now. Linux: `5` into `clear_refs`, proc_pid_clear_refs(5).
fn reset_peak_memory() -> bool {
    cfg!(target_os = "linux") && std::fs::write("/proc/self/clear_refs", "5").is_ok()
}

/// Bytes that a new process could have, `MemAvailable` of proc_meminfo(5); none where the system does
/// not tell.
pub fn available_memory() -> Option<u64> {
    parse_kibibytes(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemAvailable:")
}

/// `VmHWM` of proc_pid_status(5).
fn peak_memory() -> Option<u64> {
    parse_kibibytes(&std::fs::read_to_string("/proc/self/status").ok()?, "VmHWM:")
}

/// An entry of a file of proc(5), in bytes.
fn parse_kibibytes(text: &str, entry: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(entry))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

/// What teacher forcing sends: each prompt, then its target's tokens but the last.
pub fn bytes_along_targets(pairs: &Prepared) -> Result<usize> {
    let mut bytes = 0;
    for (number, prompt) in (0..).zip(&pairs.prompts) {
        let (prompt, logits, states) = (prompt.tokens.clone(), LogitsMode::None, PromptStates::Last);
        let start = ClientMessage::Start { prompt, logits, states };
        bytes += serde_json::to_vec(&start)?.len();
        let target: &[TokenId] = pairs.targets.of(number).unwrap_or_default();
        for &token in target.iter().rev().skip(1) {
            bytes += serde_json::to_vec(&ClientMessage::Token { token })?.len();
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_read_in_bytes() {
        assert_eq!(parse_kibibytes("VmPeak:\t  10 kB\nVmHWM:\t    2048 kB\nVmRSS:\t 5 kB\n", "VmHWM:"), Some(2048 * 1024));
        assert_eq!(parse_kibibytes("VmPeak:\t  10 kB\n", "VmHWM:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_peak_follows_what_is_held() {
        let meter = Meter::start(true);
        let before = peak_memory().unwrap();
        // Touched page by page, so that it is resident.
        let held = vec![1_u8; 64 << 20];
        let (_, bytes) = meter.stop();
        assert!(bytes.unwrap() >= before.saturating_sub(8 << 20) && held.iter().all(|&byte| byte == 1));
    }
}
