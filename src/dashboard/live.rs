//! The agent once a second, as server-sent events (html.spec.whatwg.org, "Server-sent events"). It costs nothing when
//! nobody follows.

use crate::flow::stop::Stop;
use crate::monitor::Look;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// The interval of the events.
const EVERY: Duration = Duration::from_secs(1);

/// The body of an answer that goes on until the client leaves or the agent stops.
pub struct Live {
    agent: Arc<dyn Look>,
    stop: Stop,
    due: Interval,
}

impl Live {
    /// Follows an agent.
    pub fn of(agent: Arc<dyn Look>, stop: Stop) -> Self {
        let mut due = interval(EVERY);
        due.set_missed_tick_behavior(MissedTickBehavior::Skip);
        Self { agent, stop, due }
    }
}

impl Body for Live {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.due.poll_tick(context).is_pending() {
            return Poll::Pending;
        }
        if self.stop.is_requested() {
            return Poll::Ready(None);
        }
        // A view is always JSON.
        let json = serde_json::to_string(&self.agent.view()).unwrap_or_default();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from(format!("retry: 3000\ndata: {json}\n\n"))))))
    }
}
