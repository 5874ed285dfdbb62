//! The health path: the state of the gate, for probes and people.

use serde_json::json;

use crate::answer::Answer;

use super::intake::Intake;
use super::{Gate, Note, Step, owned};

impl Gate {
    pub(super) fn is_health_path(&self, path: &[u8]) -> bool {
        path == self.health_path.as_bytes()
    }

    /// 200 when requests with credentials are decided, 503 with the reason when they are not.
    pub(super) fn health(&self, intake: &Intake<'_>) -> Step {
        let state = self.feed_state();
        let (status, word) = match state {
            Ok(()) => (200, "ready"),
            Err(reason) => (reason.status(), reason.code()),
        };
        let body = json!({
            "status": word,
            "feed_age_milliseconds": self.feed_age_nanoseconds().map(|age| age / 1_000_000),
        });
        let answer = Answer {
            status,
            headers: vec![
                ("content-type", "application/json".to_owned()),
                ("cache-control", "no-store".to_owned()),
            ],
            body: body.to_string().into_bytes(),
            grpc_status: -1,
            details: "wardgate-health",
        };
        Step::Answer(
            answer,
            Note { decision: "health", reason: None, route: None, forged: owned(&intake.forged) },
        )
    }
}
