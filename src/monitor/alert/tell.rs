//! Tells a webhook and a broker which alerts are active.
//!
//! Each target has a task of its own, which compares the active alerts with what the target was told. So whatever
//! happens while a target is away is one message when it is back, and a repeat is due by the time of the last message.

use super::super::Around;
use super::super::post::{self, Post};
use super::{Alerts, Id};
use crate::flow::stop::Stop;
use crate::monitor::view::AlertView;
use crate::platform::{clock, random};
use crate::telemetry::outage::{Outage, Tell};
use crate::telemetry::{Metric, event};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};

/// Alerts that begin within this time are told in one message.
const GATHER: Duration = Duration::from_secs(2);
/// The most alerts of one message: some brokers and servers take no more than 128 KiB.
const MOST: usize = 50;
/// The bounds of the wait before a message is sent again that was not taken, in milliseconds.
const RETRY_MS: u64 = 5000;
const RETRY_LIMIT_MS: u64 = 300_000;

/// The alerts that a target knows of, each with the time of the last message about it, in milliseconds since 1970.
pub type Told = Vec<(Id, i64)>;

/// Starts a task for each target. They follow the active alerts.
pub fn start(
    alerts: &Alerts,
    active: Vec<AlertView>,
    told: &Arc<Mutex<BTreeMap<String, Told>>>,
    news: &Arc<Notify>,
    stop: &Stop,
    around: &Around,
) -> watch::Sender<Vec<AlertView>> {
    let (sender, receiver) = watch::channel(active);
    let repeat_ms = i64::try_from(alerts.repeat.as_millis()).unwrap_or(i64::MAX);
    let targets = [
        alerts.webhook.clone().map(|target| ("webhook", Post::Web(target))),
        alerts.mqtt.clone().map(|target| ("mqtt", Post::Mqtt(target))),
    ];
    for (name, post) in targets.into_iter().flatten() {
        let known = told.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned().unwrap_or_default();
        let target = Target {
            name,
            post,
            repeat_ms,
            told: told.clone(),
            news: news.clone(),
            known: known.into_iter().collect(),
        };
        tokio::spawn(follow(target, receiver.clone(), stop.clone(), around.clone()));
    }
    sender
}

struct Target {
    name: &'static str,
    post: Post,
    repeat_ms: i64,
    told: Arc<Mutex<BTreeMap<String, Told>>>,
    /// Tells the alerts' task that `told` has changed.
    news: Arc<Notify>,
    known: BTreeMap<Id, i64>,
}

async fn follow(mut target: Target, mut active: watch::Receiver<Vec<AlertView>>, mut stop: Stop, around: Around) {
    let (mut outage, mut failures) = (Outage::default(), 0);
    let name = target.name;
    loop {
        let now_ms = clock::wall_ms();
        let alerts = active.borrow_and_update().clone();
        let news = target.news(&alerts, now_ms);
        let wait = if news.is_empty() {
            target.next_repeat(now_ms)
        } else {
            let view = around.agent.view();
            let message = message(&view.device, &news, view.now_ms);
            match post::send(&target.post, &view.device, message.to_string(), &mut stop).await {
                Ok(()) => {
                    target.learn(&news, now_ms);
                    failures = 0;
                    if let Some(lasted_ms) = outage.over(clock::boot_ms()) {
                        tracing::info!(
                            event = event::ALERT_TARGET_UP,
                            target = name,
                            lasted_ms,
                            "alerts are told again"
                        );
                    }
                    continue;
                }
                Err(why) => {
                    around.agent.metrics().add(Metric::AlertsNotTold, 1);
                    match outage.failed(&why, clock::boot_ms()) {
                        Tell::Nothing => {}
                        _ => tracing::warn!(
                            event = event::ALERT_TARGET_DOWN,
                            target = name,
                            why,
                            "alerts cannot be told"
                        ),
                    }
                    failures += 1;
                    random::backoff(RETRY_MS, RETRY_LIMIT_MS, failures - 1)
                }
            }
        };
        let has_news = !news.is_empty();
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            changed = active.changed(), if !has_news => {
                // The alerts' task is gone, or the stop is asked for.
                if changed.is_err() || stop.pause(GATHER).await.is_err() {
                    return;
                }
            }
            () = stop.requested() => return,
        }
    }
}

/// Something that a target does not know.
#[derive(Debug, Clone, PartialEq)]
enum News {
    Begins(AlertView),
    Lasts(AlertView),
    Ended(Id),
}

impl Target {
    fn news(&self, active: &[AlertView], now_ms: i64) -> Vec<News> {
        let mut news = Vec::new();
        for alert in active {
            match self.known.get(&id(alert)) {
                None => news.push(News::Begins(alert.clone())),
                // A clock that was set back does not stop the repeats.
                Some(at) if now_ms.saturating_sub(*at).abs() >= self.repeat_ms => news.push(News::Lasts(alert.clone())),
                Some(_) => {}
            }
        }
        let is_active = |known: &Id| active.iter().any(|alert| id(alert) == *known);
        news.extend(self.known.keys().filter(|known| !is_active(known)).cloned().map(News::Ended));
        // The rest goes with the next message.
        news.truncate(MOST);
        news
    }

    fn learn(&mut self, news: &[News], now_ms: i64) {
        for item in news {
            match item {
                News::Begins(alert) | News::Lasts(alert) => self.known.insert(id(alert), now_ms),
                News::Ended(id) => self.known.remove(id),
            };
        }
        let told = self.known.iter().map(|(id, at)| (id.clone(), *at)).collect();
        self.told.lock().unwrap_or_else(PoisonError::into_inner).insert(self.name.into(), told);
        self.news.notify_one();
    }

    fn next_repeat(&self, now_ms: i64) -> Duration {
        let due = self.known.values().map(|at| at.saturating_add(self.repeat_ms).saturating_sub(now_ms)).min();
        let ms = due.unwrap_or(self.repeat_ms).clamp(1000, 86_400_000);
        Duration::from_millis(ms.unsigned_abs())
    }
}

fn id(alert: &AlertView) -> Id {
    (alert.name.clone(), alert.about.clone())
}

/// One message about everything that is new. `text` is what chat programs show (Slack, Mattermost, Teams).
fn message(device: &str, news: &[News], now_ms: i64) -> serde_json::Value {
    let line = |item: &News| match item {
        News::Begins(alert) => format!("{device}: {} {}: {}", alert.severity.word(), alert.name, alert.message),
        News::Lasts(alert) => format!("{device}: still {}: {}", alert.name, alert.message),
        News::Ended((name, about)) if about.is_empty() => format!("{device}: ended: {name}"),
        News::Ended((name, about)) => format!("{device}: ended: {name} ({about})"),
    };
    let item = |item: &News| match item {
        News::Begins(alert) => with_state(alert, "begins"),
        News::Lasts(alert) => with_state(alert, "lasts"),
        News::Ended((name, about)) => json!({ "name": name, "about": about, "state": "ended" }),
    };
    let text = news.iter().map(line).collect::<Vec<_>>().join("\n");
    json!({ "device": device, "at_ms": now_ms, "text": text, "alerts": news.iter().map(item).collect::<Vec<_>>() })
}

fn with_state(alert: &AlertView, state: &str) -> serde_json::Value {
    let AlertView { name, about, severity, message, since_ms } = alert;
    json!({ "name": name, "about": about, "state": state, "severity": severity, "message": message, "since_ms": since_ms })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::monitor::alert::Severity;
    use crate::monitor::post::WebTarget;

    fn alert(name: &str) -> AlertView {
        let (about, message) = ("sink hub".into(), "behind".into());
        AlertView { name: name.into(), about, severity: Severity::Warning, message, since_ms: 5 }
    }

    fn target() -> Target {
        let post = Post::Web(WebTarget::for_test("http://127.0.0.1:1/"));
        Target {
            name: "webhook",
            post,
            repeat_ms: 60_000,
            told: Arc::default(),
            news: Arc::default(),
            known: BTreeMap::new(),
        }
    }

    #[test]
    fn a_target_hears_of_each_beginning_and_end_once_and_again_when_it_lasts() {
        let mut target = target();
        let (lag, down) = (alert("lag"), alert("down"));
        let news = target.news(&[lag.clone(), down.clone()], 1000);
        assert_eq!(news, [News::Begins(lag.clone()), News::Begins(down.clone())]);
        // It was away: what began and ended meanwhile is not told.
        let news = target.news(std::slice::from_ref(&lag), 2000);
        assert_eq!(news, [News::Begins(lag.clone())]);
        target.learn(&news, 2000);
        assert!(target.news(std::slice::from_ref(&lag), 61_999).is_empty());
        assert_eq!(target.next_repeat(3000), Duration::from_secs(59));
        assert_eq!(target.news(std::slice::from_ref(&lag), 62_000), [News::Lasts(lag.clone())]);
        assert_eq!(target.news(&[], 3000), [News::Ended(id(&lag))]);
        target.learn(&[News::Ended(id(&lag))], 3000);
        assert!(target.told.lock().unwrap()["webhook"].is_empty());
    }

    #[test]
    fn many_alerts_go_in_messages_of_a_bearable_size_and_none_is_left_out() {
        let mut target = target();
        let all: Vec<AlertView> = (0..120).map(|n| alert(&n.to_string())).collect();
        let mut sizes = Vec::new();
        for active in [&all[..], &[]] {
            loop {
                let news = target.news(active, 1000);
                if news.is_empty() {
                    break;
                }
                sizes.push(news.len());
                target.learn(&news, 1000);
            }
            assert_eq!(target.known.len(), active.len());
        }
        assert_eq!(sizes, [50, 50, 20, 50, 50, 20]);
    }

    #[test]
    fn one_message_has_all_that_is_new() {
        let news = [News::Begins(alert("lag")), News::Lasts(alert("down")), News::Ended(("hot".into(), String::new()))];
        let message = message("hall-3", &news, 7);
        let expected = "hall-3: warning lag: behind\nhall-3: still down: behind\nhall-3: ended: hot";
        assert_eq!(message["text"], expected);
        let states: Vec<&str> =
            message["alerts"].as_array().unwrap().iter().map(|one| one["state"].as_str().unwrap()).collect();
        assert_eq!(states, ["begins", "lasts", "ended"]);
        assert_eq!(message["alerts"][0]["severity"], "warning");
    }
}
