//! pingora's `ProxyHttp` with nothing added: every request goes to one upstream over kept connections.
//!
//! `bare-pingora-proxy LISTEN UPSTREAM`, both `IP:PORT`. No policy, no audit, no mapping, no rewriting; as many threads
//! as the machine has cores, like the product. It is what the proxied read is measured against, so it stays this small.

use std::net::SocketAddr;
use std::thread;

use async_trait::async_trait;
use pingora::Result;
use pingora::proxy::{ProxyHttp, Session, http_proxy_service};
use pingora::server::Server;
use pingora::server::configuration::{Opt, ServerConf};
use pingora::upstreams::peer::HttpPeer;

struct Forward {
    upstream: SocketAddr,
}

#[async_trait]
impl ProxyHttp for Forward {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn upstream_peer(&self, _session: &mut Session, _ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Ok(Box::new(HttpPeer::new(self.upstream, false, String::new())))
    }
}

fn main() -> Result<(), String> {
    let mut arguments = std::env::args().skip(1);
    let mut address = |what: &str| {
        let text =
            arguments.next().ok_or_else(|| format!("usage: bare-pingora-proxy LISTEN UPSTREAM; {what} is missing"))?;
        text.parse::<SocketAddr>().map_err(|error| format!("{what}: {error}"))
    };
    let (listen, upstream) = (address("LISTEN")?, address("UPSTREAM")?);

    let threads = thread::available_parallelism().map_or(1, usize::from);
    let configuration = ServerConf { threads, ..ServerConf::default() };
    let mut server = Server::new_with_opt_and_conf(None::<Opt>, configuration);
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Forward { upstream });
    service.add_tcp(&listen.to_string());
    server.add_service(service);
    server.run_forever();
}
