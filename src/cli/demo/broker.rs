//! The embedded MQTT broker.

use rumqttd::{Broker, Config, ConnectionSettings, RouterConfig, ServerSettings};
use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// Starts the broker on a free port of the loopback. Its threads end with the process.
pub fn start() -> Result<u16, String> {
    // rumqttd cannot say which port it took. So a free port is found here, and the broker takes it at once.
    let free = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    let address = free.map_err(|error| error.to_string())?;
    let connections = ConnectionSettings {
        connection_timeout_ms: 5000,
        max_payload_size: 1 << 20,
        max_inflight_count: 100,
        auth: None,
        external_auth: None,
        dynamic_filters: true,
    };
    let server =
        ServerSettings { name: "demo".into(), listen: address, tls: None, next_connection_delay_ms: 1, connections };
    let router = RouterConfig {
        max_connections: 16,
        max_outgoing_packet_count: 200,
        max_segment_size: 16 << 20,
        max_segment_count: 8,
        ..RouterConfig::default()
    };
    let config = Config { id: 0, router, v4: Some(HashMap::from([("demo".to_string(), server)])), ..Config::default() };
    let mut broker = Broker::new(config);
    let thread = std::thread::Builder::new().name("broker".into()).spawn(move || {
        // `start` returns only when the broker could not start. The connection below finds that out.
        let _ = broker.start();
    });
    thread.map_err(|error| error.to_string())?;
    answers(address).then_some(address.port()).ok_or_else(|| "the embedded broker does not answer".into())
}

fn answers(address: SocketAddr) -> bool {
    (0..200).any(|_| {
        let connected = TcpStream::connect_timeout(&address, Duration::from_millis(100)).is_ok();
        if !connected {
            std::thread::sleep(Duration::from_millis(25));
        }
        connected
    })
}
