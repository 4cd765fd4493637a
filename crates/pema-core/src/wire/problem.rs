//! Errors on the wire: RFC 9457 problem details.

use serde::{Deserialize, Serialize};

/// Media type of a [`Problem`].
pub const PROBLEM_CONTENT_TYPE: &str = "application/problem+json";

/// What went wrong, for programs (`kind`, `status`) and for people (`title`, `detail`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// A stable short name, such as `prompt-too-long`.
    #[serde(rename = "type")]
    pub kind: String,
    /// One line, the same for every problem of this kind.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened here and what to do about it.
    pub detail: String,
}
