//! Logs, on stderr: `RUST_LOG`, or `-v` and `-vv`.

use tracing_subscriber::EnvFilter;

/// Starts logging at the asked level; warnings only when nothing was asked.
pub fn start(verbose: u8) {
    let default = match verbose {
        // That an address of many leads nowhere is no news to people.
        0 => {
            "warn,libp2p_mdns=off,libp2p_kad=error,libp2p_relay=error,libp2p_autonat=error,libp2p_dcutr=error,quinn_udp=error"
        }
        1 => "info",
        _ => "debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}
