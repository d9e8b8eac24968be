//! Logs. The HTTP library logs raw requests, credentials included, through another facade: of its records only the place
//! in its source is kept, never the text.

use std::io::IsTerminal as _;

use log::{LevelFilter, Log, Metadata, Record};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    #[default]
    Auto,
    /// One JSON object a line.
    Json,
    /// For people.
    Text,
}

/// Starts logging to standard error, once; `RUST_LOG` decides how much (default `info`).
pub fn init(format: LogFormat) {
    let filter = EnvFilter::builder().with_default_directive(tracing::Level::INFO.into()).from_env_lossy();
    let is_terminal = std::io::stderr().is_terminal();
    let text = match format {
        LogFormat::Auto => is_terminal,
        LogFormat::Json => false,
        LogFormat::Text => true,
    };
    // libraries may show requests at their own discretion; they are not let near the log at any level
    let ours = filter_fn(|metadata| metadata.target().starts_with(env!("CARGO_CRATE_NAME")));
    // colours are for people: not in a file, and not where they are not wanted
    let colours = is_terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let layer = fmt::layer().with_writer(std::io::stderr).with_ansi(colours).with_target(false);
    let layer = if text { layer.boxed() } else { layer.json().flatten_event(true).boxed() };
    let started = tracing_subscriber::registry().with(filter).with(layer.with_filter(ours)).try_init();
    if started.is_ok() && log::set_logger(&Withheld).is_ok() {
        log::set_max_level(LevelFilter::Warn);
    }
}

/// Records of libraries that use the `log` facade, without their text.
struct Withheld;

impl Log for Withheld {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let module = record.module_path_static().unwrap_or("a library");
            tracing::debug!(
                module,
                line = record.line().unwrap_or(0),
                "a library reported a problem; its text is withheld"
            );
        }
    }

    fn flush(&self) {}
}
