//! Buses with receivers on loopback: what is posted, how it is signed, how long it is tried, and what subscribers hear.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use super::webhook::QUEUE;
use super::*;
use crate::backend::{HttpClient, HttpSettings, client_config};
use crate::clock::{ManualClock, Timestamp};
use crate::secret::SecretValue;

const KEY: &str = "the-key-of-a-webhook-of-these-tests";
const OTHER_KEY: &str = "the-next-key-of-a-webhook-of-these-tests";
const NOW: u64 = 1_795_428_417;

/// A receiver that gives these answers (status and further header lines), the last one for ever.
struct Receiver {
    url: String,
    seen: UnboundedReceiver<Seen>,
}

struct Seen {
    head: String,
    body: String,
}

impl Seen {
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value).unwrap_or_default()
    }

    fn is_signed_with(&self, key: &str) -> bool {
        let signature = STANDARD.decode(self.header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
        let signed = format!("{}.{}.{}", self.header("webhook-id"), self.header("webhook-timestamp"), self.body);
        hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()), signed.as_bytes(), &signature).is_ok()
    }

    fn note(&self) -> String {
        let event: Value = serde_json::from_str(&self.body).unwrap();
        event["data"]["note"].as_str().unwrap().to_owned()
    }
}

impl Receiver {
    async fn start(answers: &[(u16, &'static str)]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hooks/canary-in-the-path", listener.local_addr().unwrap());
        let (sender, seen) = unbounded_channel();
        let mut answers: VecDeque<_> = answers.iter().copied().collect();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let Some(seen) = read(&mut stream).await else { continue };
                let (status, headers) = answers.front().copied().unwrap();
                if answers.len() > 1 {
                    answers.pop_front();
                }
                drop(sender.send(seen));
                let answer =
                    format!("HTTP/1.1 {status} Answer\r\n{headers}Content-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        Self { url, seen }
    }

    async fn next(&mut self) -> Seen {
        within(self.seen.recv()).await.unwrap()
    }
}

/// One request; `None` from a client that leaves before it has made one.
async fn read(stream: &mut TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    while stream.read_buf(&mut bytes).await.ok()? > 0 {
        let text = String::from_utf8(bytes.clone()).unwrap();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let seen = Seen { head: head.to_owned(), body: body.to_owned() };
        if seen.header("content-length").parse::<usize>() == Ok(body.len()) {
            return Some(seen);
        }
    }
    None
}

/// A bus, and what it counted of the tenant.
struct Rig {
    bus: Bus,
    counted: UnboundedReceiver<(Counted, u64)>,
}

impl Rig {
    fn new(tries: u32, first: Duration) -> Self {
        let (sender, counted) = unbounded_channel();
        let count: Count = Arc::new(move |owner, what, number| {
            if *owner == tenant() && what != Counted::Emitted {
                let _gone = sender.send((what, number));
            }
        });
        let patience = Patience { tries, first, factor: 1, deadline: Duration::from_secs(10) };
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(NOW)));
        Self { bus: Bus::with(clock, BusSettings { instance: "unit".to_owned(), count, patience }), counted }
    }

    async fn next(&mut self) -> (Counted, u64) {
        within(self.counted.recv()).await.unwrap()
    }

    fn emit(&self, note: &str) {
        self.bus.emit(failed(note));
    }
}

async fn within<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), what).await.expect("nothing came in time")
}

fn tenant() -> Tenant {
    Tenant::parse("payments").unwrap()
}

fn failed(note: &str) -> Event {
    Event { tenant: tenant(), kind: EventKind::SyncFailed, backend: None, data: json!({"note": note}) }
}

fn client() -> HttpClient {
    let tls = client_config(None, None, false).unwrap();
    HttpClient::new(HttpSettings { tls, connect_timeout: Duration::from_secs(5) }).unwrap()
}

fn hook(url: &str, key: impl Fn() -> Option<&'static str> + Send + Sync + 'static) -> Webhook {
    let key = Arc::new(move || key().map(|key| SecretValue::copy_of(key.as_bytes())));
    let kinds = vec![EventKind::SyncFailed, EventKind::ConfigRejected];
    Webhook { tenant: tenant(), url: url.parse().unwrap(), client: client(), key, kinds }
}

const AT_ONCE: Duration = Duration::from_millis(1);

#[tokio::test]
async fn events_are_posted_signed_to_the_webhooks_that_ask_for_them_and_to_nobody_else() {
    let mut receiver = Receiver::start(&[(204, "")]).await;
    let mut rig = Rig::new(1, AT_ONCE);
    rig.bus.keep(vec![hook(&receiver.url, || Some(KEY))]);
    rig.bus.attach(Handle::current());
    rig.bus.emit(Event { tenant: Tenant::default_tenant(), ..failed("another tenant's") });
    rig.bus.emit(Event { kind: EventKind::SyncCompleted, ..failed("of a kind nobody asked for") });
    rig.emit("mine");

    let seen = receiver.next().await;
    assert_eq!(seen.note(), "mine");
    assert!(seen.head.starts_with("POST /hooks/canary-in-the-path HTTP/1.1\r\n"));
    assert_eq!(seen.header("content-type"), "application/cloudevents+json");
    assert_eq!(seen.header("webhook-timestamp"), NOW.to_string());
    assert!(seen.is_signed_with(KEY) && !seen.is_signed_with(OTHER_KEY));
    let event: Value = serde_json::from_str(&seen.body).unwrap();
    assert_eq!(event["id"], seen.header("webhook-id"));
    assert_eq!(event["source"], "/scaivault-proxy/unit/tenants/payments");
    assert_eq!(rig.next().await, (Counted::Delivered, 1));
}

#[tokio::test]
async fn a_failed_delivery_is_tried_again_under_its_id_with_the_key_of_the_moment() {
    let mut receiver = Receiver::start(&[(500, ""), (404, ""), (200, "")]).await;
    let mut rig = Rig::new(6, AT_ONCE);
    let tries = AtomicUsize::new(0);
    let key = move || if tries.fetch_add(1, Ordering::SeqCst) == 0 { Some(KEY) } else { Some(OTHER_KEY) };
    rig.bus.keep(vec![hook(&receiver.url, key)]);
    rig.bus.attach(Handle::current());
    rig.emit("stubborn");

    let (first, second, third) = (receiver.next().await, receiver.next().await, receiver.next().await);
    assert!(first.is_signed_with(KEY) && second.is_signed_with(OTHER_KEY) && third.is_signed_with(OTHER_KEY));
    assert_eq!(first.header("webhook-id"), second.header("webhook-id"));
    assert_eq!((&first.body, &second.body), (&second.body, &third.body));
    let retried = (Counted::Retried, 1);
    assert_eq!((rig.next().await, rig.next().await, rig.next().await), (retried, retried, (Counted::Delivered, 1)));
}

#[tokio::test]
async fn an_event_nobody_takes_is_a_dead_letter_and_the_next_one_is_delivered() {
    let mut receiver = Receiver::start(&[(500, ""), (500, ""), (500, ""), (200, "")]).await;
    let mut rig = Rig::new(3, AT_ONCE);
    rig.bus.keep(vec![hook(&receiver.url, || Some(KEY))]);
    rig.bus.attach(Handle::current());
    rig.emit("lost");
    let retried = (Counted::Retried, 1);
    assert_eq!((rig.next().await, rig.next().await, rig.next().await), (retried, retried, (Counted::DeadLetter, 1)));
    rig.emit("found");
    let mut notes = Vec::new();
    for _ in 0..4 {
        notes.push(receiver.next().await.note());
    }
    assert_eq!(notes, ["lost", "lost", "lost", "found"]);
}

#[tokio::test]
async fn a_failing_event_does_not_hold_up_the_ones_behind_it() {
    let mut receiver = Receiver::start(&[(500, ""), (200, "")]).await;
    let rig = Rig::new(2, Duration::from_secs(1));
    rig.bus.keep(vec![hook(&receiver.url, || Some(KEY))]);
    rig.emit("first");
    rig.emit("second");
    rig.emit("third");
    rig.bus.attach(Handle::current());
    let mut notes = Vec::new();
    for _ in 0..4 {
        notes.push(receiver.next().await.note());
    }
    assert_eq!(notes, ["first", "second", "third", "first"]);
}

#[tokio::test]
async fn r14_a_receiver_that_says_when_is_not_asked_before() {
    let mut receiver = Receiver::start(&[(503, "Retry-After: 1\r\n"), (200, "")]).await;
    let rig = Rig::new(2, AT_ONCE);
    rig.bus.keep(vec![hook(&receiver.url, || Some(KEY))]);
    rig.bus.attach(Handle::current());
    rig.emit("later");
    receiver.next().await;
    let first = std::time::Instant::now();
    receiver.next().await;
    assert!(first.elapsed() > Duration::from_millis(900), "{:?}", first.elapsed());
}

#[tokio::test]
async fn a_webhook_that_is_gone_gets_nothing_until_the_configuration_is_read_again() {
    let mut receiver = Receiver::start(&[(410, ""), (200, "")]).await;
    let mut rig = Rig::new(6, AT_ONCE);
    rig.bus.keep(vec![hook(&receiver.url, || Some(KEY))]);
    rig.emit("one");
    rig.emit("two");
    rig.bus.attach(Handle::current());
    assert_eq!(rig.next().await, (Counted::DeadLetter, 2));
    rig.emit("three");
    rig.bus.keep(vec![hook(&receiver.url, || Some(KEY))]);
    rig.emit("four");
    assert_eq!((receiver.next().await.note(), receiver.next().await.note()), ("one".to_owned(), "four".to_owned()));
}

#[tokio::test]
async fn x07_a_redirect_is_not_followed() {
    let mut trap = Receiver::start(&[(200, "")]).await;
    let location: &'static str = format!("Location: {}\r\n", trap.url).leak();
    for status in [301, 302, 307, 308] {
        let mut receiver = Receiver::start(&[(status, location)]).await;
        let mut rig = Rig::new(1, AT_ONCE);
        rig.bus.keep(vec![hook(&receiver.url, || Some(KEY))]);
        rig.bus.attach(Handle::current());
        rig.emit("astray");
        receiver.next().await;
        assert_eq!(rig.next().await, (Counted::DeadLetter, 1));
    }
    assert!(trap.seen.try_recv().is_err(), "the trap was asked");
}

#[tokio::test]
async fn without_its_key_nothing_is_sent() {
    let mut receiver = Receiver::start(&[(200, "")]).await;
    let mut rig = Rig::new(1, AT_ONCE);
    let tries = AtomicUsize::new(0);
    let keys = [None, Some("too-short"), Some(KEY)];
    let key = move || keys[tries.fetch_add(1, Ordering::SeqCst).min(2)];
    rig.bus.keep(vec![hook(&receiver.url, key)]);
    rig.bus.attach(Handle::current());
    for note in ["unread", "unusable", "signed"] {
        rig.emit(note);
    }
    let dead = (Counted::DeadLetter, 1);
    assert_eq!((rig.next().await, rig.next().await, rig.next().await), (dead, dead, (Counted::Delivered, 1)));
    assert_eq!(receiver.next().await.note(), "signed");
}

#[tokio::test]
async fn a_queue_is_bounded_and_survives_a_reload() {
    let mut receiver = Receiver::start(&[(200, "")]).await;
    let mut rig = Rig::new(1, AT_ONCE);
    rig.bus.keep(vec![hook(&receiver.url, || Some(KEY)), hook("http://127.0.0.1:1/other", || Some(KEY))]);
    for number in 0..QUEUE {
        rig.emit(&number.to_string());
    }
    rig.bus.keep(vec![hook(&receiver.url, || Some(OTHER_KEY))]);
    rig.emit("too much");
    assert_eq!(rig.next().await, (Counted::DeadLetter, 1));
    rig.bus.attach(Handle::current());
    for number in 0..QUEUE {
        let seen = receiver.next().await;
        assert!(seen.is_signed_with(OTHER_KEY));
        assert_eq!(seen.note(), number.to_string());
    }
    rig.bus.keep(Vec::new());
    rig.emit("to nobody");
    assert!(receiver.seen.try_recv().is_err());
}

#[tokio::test]
async fn subscribers_hear_their_own_tenants_events_of_the_kinds_they_asked_for() {
    let rig = Rig::new(1, AT_ONCE);
    let mut all = rig.bus.subscribe(&tenant());
    let mut some = rig.bus.subscribe(&tenant()).only(vec![EventKind::ConfigRejected]);
    rig.bus.emit(Event { tenant: Tenant::default_tenant(), ..failed("another tenant's") });
    rig.emit("a failure");
    rig.bus.emit(Event { kind: EventKind::ConfigRejected, ..failed("a rejection") });
    let note = |text: Option<Arc<str>>| {
        let event: Value = serde_json::from_str(&text.unwrap()).unwrap();
        event["data"]["note"].as_str().unwrap().to_owned()
    };
    assert_eq!(note(within(all.next()).await), "a failure");
    assert_eq!(note(within(all.next()).await), "a rejection");
    assert_eq!(note(within(some.next()).await), "a rejection");
    drop(rig);
    assert!(within(all.next()).await.is_none() && within(some.next()).await.is_none());
}

#[tokio::test]
async fn a_subscriber_that_comes_back_hears_what_it_missed_and_then_what_happens() {
    let rig = Rig::new(1, AT_ONCE);
    let mut before = rig.bus.subscribe(&tenant());
    rig.emit("heard");
    let last: Value = serde_json::from_str(&within(before.next()).await.unwrap()).unwrap();
    let last = last["id"].as_str().unwrap();
    drop(before);
    for note in ["missed", "missed too"] {
        rig.emit(note);
    }
    rig.bus.emit(Event { tenant: Tenant::default_tenant(), ..failed("another tenant's") });
    rig.bus.emit(Event { kind: EventKind::ConfigRejected, ..failed("another kind") });
    let kinds = vec![EventKind::SyncFailed];
    let mut again = rig.bus.resume(&tenant(), last).only(kinds);
    let mut stream = rig.bus.resume(&tenant(), last).into_chunks(|| true);
    rig.emit("live");
    for expected in ["missed", "missed too", "live"] {
        let event: Value = serde_json::from_str(&within(again.next()).await.unwrap()).unwrap();
        assert_eq!(event["data"]["note"], expected);
    }
    let mut chunk = async || String::from_utf8(within(stream.recv()).await.unwrap().to_vec()).unwrap();
    assert_eq!(chunk().await, "retry: 2000\n: listening\n\n");
    for expected in ["missed", "missed too", "another kind", "live"] {
        assert!(chunk().await.contains(&format!("\"note\":\"{expected}\"")));
    }
    // of an event nobody knows any more it is said that there may have been others
    let mut stream = rig.bus.resume(&tenant(), "00000000000000000000000000").into_chunks(|| true);
    let mut chunk = async || String::from_utf8(within(stream.recv()).await.unwrap().to_vec()).unwrap();
    chunk().await;
    assert_eq!(chunk().await, ": events may be missing here\n\n");
    assert!(chunk().await.contains("\"note\":\"heard\""));
}

#[tokio::test]
async fn a_subscriber_that_is_too_slow_misses_events_and_is_told_how_many() {
    let mut rig = Rig::new(1, AT_ONCE);
    let mut chunks = rig.bus.subscribe(&tenant()).into_chunks(|| true);
    let mut next = async || String::from_utf8(within(chunks.recv()).await.unwrap().to_vec()).unwrap();
    assert_eq!(next().await, "retry: 2000\n: listening\n\n");
    for number in 0..BEHIND + 44 {
        rig.emit(&number.to_string());
    }
    assert_eq!(next().await, ": missed 44\n\n");
    assert_eq!(rig.next().await, (Counted::Missed, 44));
    let event = next().await;
    let lines: Vec<&str> = event.split('\n').collect();
    assert_eq!(lines.len(), 5, "{event:?}");
    let read: Value = serde_json::from_str(lines[2].strip_prefix("data: ").unwrap()).unwrap();
    assert_eq!(read["data"]["note"], "44");
    assert_eq!(lines[0], format!("id: {}", read["id"].as_str().unwrap()));
    assert_eq!((lines[1], lines[3], lines[4]), ("event: federation.sync.failed", "", ""));
}

#[tokio::test]
async fn a_stream_ends_when_its_client_may_no_longer_listen_and_when_it_is_gone() {
    let rig = Rig::new(1, AT_ONCE);
    let may = Arc::new(AtomicUsize::new(1));
    let asked = may.clone();
    let mut chunks = rig.bus.subscribe(&tenant()).into_chunks(move || asked.load(Ordering::SeqCst) == 1);
    assert!(within(chunks.recv()).await.is_some());
    may.store(0, Ordering::SeqCst);
    rig.emit("not for you any more");
    assert_eq!(within(chunks.recv()).await, None);

    let mut chunks = rig.bus.subscribe(&tenant()).into_chunks(|| true);
    assert!(within(chunks.recv()).await.is_some());
    drop(chunks);
    within(async {
        while locked(&rig.bus.0.channels).values().any(|channel| channel.sender.is_some()) {
            tokio::task::yield_now().await;
            rig.emit("is anybody there");
        }
    })
    .await;
}
