//! The log of slow calls and frames: what took so long, and whose it was. Target `slow_call`.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::HeaderMap;
use tokio::time::Instant;
use tonic::{Code, Status};
use tracing::warn;

use super::audit::{Span, admit};
use super::caller::Caller;
use super::context::CallContext;
use crate::metrics::Method;
use crate::owner::{CallError, CallTimes};

/// Slow calls in the present span: a server whose calls are all slow must not fill the disk with its log.
static SLOW: Mutex<Span> = Mutex::new(Span::NEW);

/// A call that is logged when it ends, if it is slow.
pub(super) struct SlowCall {
    threshold: Duration,
    method: Method,
    context: Arc<CallContext>,
    trace_id: Option<TraceId>,
    times: Arc<CallTimes>,
    code: Code,
}

impl SlowCall {
    pub(super) fn begin(
        threshold: Duration,
        method: Method,
        begun: Instant,
        headers: &HeaderMap,
        context: &Arc<CallContext>,
    ) -> Self {
        Self {
            threshold,
            method,
            context: Arc::clone(context),
            trace_id: TraceId::of(headers),
            times: CallTimes::since(begun),
            // Unless it ends with another.
            code: Code::Cancelled,
        }
    }

    /// Polls the call.
    pub(super) fn during<T>(&self, poll: impl FnOnce() -> T) -> T {
        self.times.during(poll)
    }

    /// Ends the call with this status: OK if it comes with the end of the answer.
    pub(super) fn end(mut self, code: Option<Code>) {
        self.code = code.unwrap_or(Code::Ok);
    }
}

impl Drop for SlowCall {
    fn drop(&mut self) {
        let took = self.times.elapsed();
        if took < self.threshold {
            return;
        }
        let Some(left_out) = admit(&SLOW) else {
            return;
        };
        let spent = self.times.spent();
        warn!(
            target: "slow_call",
            method = self.method.name(),
            identity = self.context.caller.identity_name(),
            trace_id = self.trace_id.as_ref().map(TraceId::as_str),
            code = ?self.code,
            took_ms = millis(took),
            mailbox_ms = millis(spent.mailbox),
            owner_ms = millis(spent.owner),
            disk_ms = millis(spent.disk),
            left_out,
            "a slow call"
        );
    }
}

/// The frames of a stream, which are logged if they are slow.
pub(super) struct SlowFrames {
    threshold: Duration,
    trace_id: Option<TraceId>,
}

/// Frames that went to the owner as one message. They are logged when their answers have come, if they are slow.
pub(super) struct SlowMessage {
    frames: Arc<SlowFrames>,
    caller: Caller,
    times: Arc<CallTimes>,
}

impl SlowFrames {
    /// Those of a stream with these headers. None if slow ones are not logged.
    pub(super) fn of(context: &CallContext, headers: &HeaderMap) -> Option<Arc<Self>> {
        let threshold = context.slow_call?;
        let trace_id = TraceId::of(headers);
        Some(Arc::new(Self {
            threshold,
            trace_id,
        }))
    }

    /// Begins a message of frames that arrived at this moment. `send` sends it to the owner.
    pub(super) fn sent<T>(
        self: &Arc<Self>,
        caller: &Caller,
        arrived: Instant,
        send: impl FnOnce() -> T,
    ) -> (T, Box<SlowMessage>) {
        let times = CallTimes::since(arrived);
        let sent = times.during(send);
        let message = SlowMessage {
            frames: Arc::clone(self),
            caller: caller.clone(),
            times,
        };
        (sent, Box::new(message))
    }
}

impl SlowMessage {
    /// Ends the message of `count` frames. The time that the answers wait until their client takes them does not count.
    pub(super) fn end(self, count: usize, failed: Option<&CallError>) {
        let took = match failed {
            None => self.times.until_answer(),
            Some(_) => self.times.elapsed(),
        };
        if took < self.frames.threshold {
            return;
        }
        let Some(left_out) = admit(&SLOW) else {
            return;
        };
        let spent = self.times.spent();
        let code = failed.map_or(Code::Ok, |error| Status::from(error.clone()).code());
        warn!(
            target: "slow_call",
            method = "soloist.v1.State/Pipeline",
            frames = count,
            identity = self.caller.identity_name(),
            trace_id = self.frames.trace_id.as_ref().map(TraceId::as_str),
            ?code,
            took_ms = millis(took),
            mailbox_ms = millis(spent.mailbox),
            owner_ms = millis(spent.owner),
            disk_ms = millis(spent.disk),
            left_out,
            "slow frames"
        );
    }
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The id of the trace that a call belongs to: 32 hex digits.
#[derive(Debug, PartialEq, Eq)]
struct TraceId(String);

/// Bytes of a `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;

impl TraceId {
    /// Reads the header `traceparent`. None if it is not there, or not what it must be. Source: W3C, "Trace Context", 3.2.
    fn of(headers: &HeaderMap) -> Option<Self> {
        let mut all = headers.get_all("traceparent").iter();
        let (header, another) = (all.next()?, all.next());
        if another.is_some() {
            return None;
        }
        let text = header.to_str().ok()?;
        let (whole, rest) = text.split_at_checked(TRACEPARENT_BYTES)?;
        let parts: Vec<_> = whole.split('-').collect();
        let [version, trace, parent, flags] = parts[..] else {
            return None;
        };
        let is_hex = |text: &str, len| {
            text.len() == len
                && text
                    .bytes()
                    .all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        };
        let is_zero = |text: &str| text.bytes().all(|byte| byte == b'0');
        let is_right = is_hex(version, 2)
            && version != "ff"
            && is_hex(trace, 32)
            && !is_zero(trace)
            && is_hex(parent, 16)
            && !is_zero(parent)
            && is_hex(flags, 2);
        // Later versions may have more at the end.
        let is_whole = rest.is_empty() || version != "00" && rest.starts_with('-');
        (is_right && is_whole).then(|| Self(trace.to_owned()))
    }

    fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_traceparent_is_read_or_left_out() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{TRACE}-00f067aa0ba902b7-01");
        for (header, is_good) in [
            (good.clone(), true),
            (good.replacen("00-", "cc-", 1), true),
            (format!("{}-more", good.replacen("00-", "cc-", 1)), true),
            (format!("{good}-more"), false),
            (format!("{good}0"), false),
            (good.replacen("00-", "ff-", 1), false),
            (good.replace(TRACE, &"0".repeat(32)), false),
            (good.replace("00f067aa0ba902b7", &"0".repeat(16)), false),
            (good.to_ascii_uppercase(), false),
            (good.replace('-', "_"), false),
            (good[1..].to_owned(), false),
            (String::new(), false),
            ("é".repeat(30), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(
                "traceparent",
                http::HeaderValue::from_bytes(header.as_bytes()).unwrap(),
            );
            let trace = TraceId::of(&headers);
            let expected = is_good.then(|| TraceId(TRACE.into()));
            assert_eq!(trace, expected, "{header}");
        }
        let mut twice = HeaderMap::new();
        for _ in 0..2 {
            twice.append("traceparent", good.parse().unwrap());
        }
        assert_eq!(TraceId::of(&twice), None);
    }
}
