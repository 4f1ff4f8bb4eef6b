//! `fai serve`

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use fai_core::Repository;
use fai_core::repo::RepositoryId;
use fai_network::serve::{Clock, Happening, Offer, serve};
use fai_network::source::{MAX_ADDRESSES, bootstrap_address, by_id};
use fai_network::wire::message::Selector;
use fai_network::{Identity, Multiaddr, Node, NodeOptions, Protocol, Source};
use serde_json::json;
use tokio::sync::{mpsc, watch};

use crate::context::{Context, now};
use crate::peers::{permit, runtime};
use crate::ui::Symbol;
use crate::ui::format::size;

/// The port that is tried first.
const PORT: u16 = 4001;

/// How long a relay may take to lead here before the ticket is printed without it.
const PLACE: Duration = Duration::from_secs(5);

/// How often the settings are read for what is announced.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

/// Let other peers clone, pull and push
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  fai serve\n  fai serve --repo-dir /srv/models --read listed\n  \
    fai serve --relay                                             (where all can reach it)\n  \
    fai serve --bootstrap /ip4/203.0.113.5/tcp/4001/p2p/12D3KooW...  (where nobody can)\n\n\
    Anyone who can connect may read; nobody may push until you allow it:\n  fai access allow PEER --write"
)]
pub struct Args {
    /// Listen on this address instead of all; may be repeated
    #[arg(long, value_name = "MULTIADDR")]
    listen: Vec<Multiaddr>,
    /// Listen on this port; 4001 by default, or another one if that is taken
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Who may clone and pull
    #[arg(long, value_name = "WHO", value_parser = ["all", "listed"])]
    read: Option<String>,
    /// Who may push
    #[arg(long, value_name = "WHO", value_parser = ["listed", "all", "none"])]
    write: Option<String>,
    /// Serve every repository below this folder, each by its name
    #[arg(long, value_name = "DIR")]
    repo_dir: Option<PathBuf>,
    /// Show the ticket as a QR code, too
    #[arg(long)]
    qr: bool,
    /// Be found and reached through this peer, beyond the local network; may be repeated, and stands in for network.bootstrap
    #[arg(long, value_name = "MULTIADDR", value_parser = bootstrap)]
    bootstrap: Vec<Multiaddr>,
    /// Be such a peer for others: carry their connections, and know who serves what
    #[arg(long)]
    relay: bool,
}

impl Args {
    pub fn run(self, context: &Context) -> Result<()> {
        let offers = self.offers(context)?;
        let identity = Identity::load_or_create(&context.home()?)?;
        let runtime = runtime()?;
        let result = runtime.block_on(self.serve(context, &identity, offers));
        // Transfers that go on are cut: what a peer has by now, it keeps.
        runtime.shutdown_timeout(Duration::from_secs(2));
        result
    }

    fn offers(&self, context: &Context) -> Result<Vec<Offer>> {
        let mut offers = Vec::new();
        match &self.repo_dir {
            None => match context.repository() {
                Ok(repository) => offers.push(self.offer(repository)?),
                // A relay need not have anything of its own.
                Err(error) if self.relay && is_nowhere(&error) => {}
                Err(error) => return Err(error),
            },
            Some(folder) => {
                let folder = context.folder.join(folder);
                let listing =
                    std::fs::read_dir(&folder).with_context(|| format!("cannot list {}", folder.display()))?;
                let mut paths: Vec<PathBuf> = listing.filter_map(|entry| Some(entry.ok()?.path())).collect();
                paths.sort();
                for path in paths {
                    match Repository::open(&path) {
                        Ok(repository) => offers.push(self.offer(repository)?),
                        Err(fai_core::repo::Error::NotARepository(_)) => {}
                        Err(error) => context.out.warn(format!("{} is not served: {error}", path.display())),
                    }
                }
                if offers.is_empty() {
                    bail!("there is no repository in {}", folder.display());
                }
            }
        }
        Ok(offers)
    }

    fn offer(&self, repository: Repository) -> Result<Offer> {
        let folder = repository.worktree().unwrap_or(repository.directory());
        let name = folder
            .file_name()
            .map_or_else(|| "repository".to_owned(), |name| name.to_string_lossy().into_owned());
        Ok(Offer {
            name,
            permit: permit(&repository, self.read.clone(), self.write.clone()),
            repository: Arc::new(repository),
            sent: Arc::default(),
        })
    }

    async fn serve(&self, context: &Context, identity: &Identity, offers: Vec<Offer>) -> Result<()> {
        let bootstrap = match self.bootstrap.is_empty() {
            true => context.bootstrap()?,
            false => self.bootstrap.clone(),
        };
        let reserves = !bootstrap.is_empty() && !self.relay;
        let (node, incoming) = self.start(context, identity, &bootstrap)?;
        node.announce(&public(&offers)).await;
        let told = announce(context, &node, &offers, reserves, self.qr).await?;
        if self.relay {
            self.invite(context, &node)?;
        }
        let (happened, mut happenings) = mpsc::channel(256);
        let publishing = publish(node.clone(), offers.clone());
        let reached = follow_confirmed(context, &node);
        let moving = follow(context, &node, &offers, relayed(&told));
        let serving = serve(node.clone(), incoming, offers.clone(), happened, clock());
        let watching = async {
            while let Some(happening) = happenings.recv().await {
                // Whoever listened may have heard enough: others are still served.
                let _ = tell(context, &happening);
            }
            Ok::<_, anyhow::Error>(())
        };
        tokio::select! {
            () = serving => Ok(()),
            () = publishing => Ok(()),
            result = moving => result,
            result = reached => result,
            result = watching => result,
            _ = stopped() => context.out.line("Stopped"),
        }
    }

    /// Starts the peer on the addresses asked for.
    fn start(
        &self,
        context: &Context,
        identity: &Identity,
        bootstrap: &[Multiaddr],
    ) -> Result<(Node, fai_network::IncomingStreams)> {
        let start = |listen| {
            let options = NodeOptions {
                listen,
                local_discovery: true,
                bootstrap: bootstrap.to_vec(),
                relay: self.relay,
            };
            Node::start(identity, options)
        };
        if !self.listen.is_empty() {
            return Ok(start(self.listen.clone())?);
        }
        match start(everywhere(self.port.unwrap_or(PORT))?) {
            Err(fai_network::Error::Listen { .. }) if self.port.is_none() => {
                context
                    .out
                    .warn(format!("port {PORT} is taken: listening on another one"));
                Ok(start(everywhere(0)?)?)
            }
            other => Ok(other?),
        }
    }

    /// Says how others make use of this relay.
    fn invite(&self, context: &Context, node: &Node) -> Result<()> {
        let addresses = node.addresses().borrow().clone();
        if let Some(address) = addresses
            .iter()
            .find(|address| leads_here(address))
            .or(addresses.first())
        {
            let whole = format!("{address}/p2p/{}", node.peer());
            context.out.line(format!(
                "It relays. Others run: fai config --global network.bootstrap {whole}"
            ))?;
        }
        Ok(())
    }
}

fn is_nowhere(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(fai_core::repo::Error::NotARepository(_)))
}

fn bootstrap(text: &str) -> Result<Multiaddr, fai_network::Error> {
    bootstrap_address(text)
}

/// The time of what others do here.
pub fn clock() -> Clock {
    Arc::new(|| now().unwrap_or_default())
}

/// All addresses of this machine, over TCP and QUIC.
fn everywhere(port: u16) -> Result<Vec<Multiaddr>> {
    let mut all = vec![
        format!("/ip4/0.0.0.0/tcp/{port}"),
        format!("/ip4/0.0.0.0/udp/{port}/quic-v1"),
    ];
    if Path::new("/proc/net/if_inet6").exists() || !cfg!(target_os = "linux") {
        all.push(format!("/ip6/::/tcp/{port}"));
        all.push(format!("/ip6/::/udp/{port}/quic-v1"));
    }
    Ok(all.iter().map(|text| text.parse()).collect::<Result<_, _>>()?)
}

/// Announces in the directory what everybody may read when the settings change that, until the node ends.
async fn publish(node: Node, offers: Vec<Offer>) {
    let mut announced = public(&offers);
    loop {
        tokio::time::sleep(LOOK_AGAIN).await;
        let now = public(&offers);
        if now != announced {
            node.announce(&now).await;
            announced = now;
        }
    }
}

fn public(offers: &[Offer]) -> Vec<RepositoryId> {
    let public = offers.iter().filter(|offer| offer.is_public());
    public.filter_map(Offer::id).collect()
}

/// Tells when a relay begins or ceases to lead here.
async fn follow(context: &Context, node: &Node, offers: &[Offer], mut known: Vec<Multiaddr>) -> Result<()> {
    let mut changes = node.addresses();
    loop {
        // A relay is known under several addresses, which come one after another.
        let all = settled(changes.clone()).await;
        let now = relayed(&all);
        if now == known {
            match changes.changed().await {
                Ok(()) => continue,
                Err(_) => return Ok(()),
            }
        }
        let ticket = ticket(node, offers, &all);
        match now.first() {
            Some(address) => {
                context
                    .out
                    .say(Symbol::Network, format!("Reachable through {address}"))?;
                context.out.say(Symbol::Ticket, format!("Ticket: {ticket}"))?;
            }
            None => context
                .out
                .say(Symbol::Network, "No relay leads here any more; trying again")?,
        }
        context.out.event(&json!({
            "event": "relayed",
            "addresses": now.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "ticket": ticket,
        }))?;
        known = now;
    }
}

/// Tells where others reach this peer without a relay.
async fn follow_confirmed(context: &Context, node: &Node) -> Result<()> {
    let mut changes = node.confirmed();
    let mut known = BTreeSet::new();
    while changes.changed().await.is_ok() {
        let now = changes.borrow_and_update().clone();
        for address in now.difference(&known) {
            context
                .out
                .say(Symbol::Network, format!("Others reach {address} without a relay"))?;
            context
                .out
                .event(&json!({ "event": "reachable", "address": address.to_string() }))?;
        }
        known = now;
    }
    Ok(())
}

/// The addresses that lead through relays.
fn relayed(addresses: &BTreeSet<Multiaddr>) -> Vec<Multiaddr> {
    let circuit = |address: &&Multiaddr| address.iter().any(|part| part == Protocol::P2pCircuit);
    addresses.iter().filter(circuit).cloned().collect()
}

/// The way to what is served here, for others. Relays come last.
fn ticket(node: &Node, offers: &[Offer], addresses: &BTreeSet<Multiaddr>) -> String {
    // An empty repository takes the id of what is pushed to it first: the one it has leads nowhere then.
    let lasting = |offer: &Offer| offer.repository.refs().is_ok_and(|refs| !refs.is_empty());
    let repository = match offers {
        [offer] if lasting(offer) => offer.id().map_or(Selector::Only, |id| by_id(&id)),
        _ => Selector::Only,
    };
    let through = relayed(addresses);
    let direct = addresses.iter().filter(|address| !through.contains(address));
    let mut shareable: Vec<Multiaddr> = direct.clone().filter(|address| leads_here(address)).cloned().collect();
    if shareable.is_empty() {
        shareable = direct.cloned().collect();
    }
    shareable.truncate(MAX_ADDRESSES.saturating_sub(through.len()));
    shareable.extend(through);
    let source = Source {
        peer: Some(node.peer()),
        addresses: shareable,
        repository,
    };
    source.to_ticket().unwrap_or_default()
}

/// Prints where this peer is, once it knows, and gives what it printed.
async fn announce(
    context: &Context,
    node: &Node,
    offers: &[Offer],
    reserves: bool,
    qr: bool,
) -> Result<BTreeSet<Multiaddr>> {
    if reserves {
        let mut changes = node.addresses();
        let led = changes.wait_for(|all| !relayed(all).is_empty());
        if tokio::time::timeout(PLACE, led).await.is_err() {
            context
                .out
                .warn("no relay leads here yet; it is tried again, and told when one does");
        }
    }
    let addresses = settled(node.addresses()).await;
    let ticket = ticket(node, offers, &addresses);
    for address in &addresses {
        context.out.say(Symbol::Network, format!("Listening on {address}"))?;
    }
    context
        .out
        .say(Symbol::Peer, format!("Local peer ID: {}", node.peer()))?;
    for offer in offers {
        context.out.say(
            Symbol::Package,
            match offer.id() {
                Some(id) => format!("Serving {} ({})", offer.name, id.short()),
                None => format!("Serving {}", offer.name),
            },
        )?;
    }
    if !offers.is_empty() {
        context.out.say(Symbol::Ticket, format!("Ticket: {ticket}"))?;
        if qr {
            // In capitals it takes fewer modules; a ticket means the same in both.
            context.out.qr(&ticket.to_ascii_uppercase())?;
        }
        context.out.line("Others run: fai clone TICKET. Ctrl-C ends it.")?;
    }
    context.out.event(&json!({
        "event": "listening",
        "peer_id": node.peer().to_string(),
        "addresses": addresses.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "ticket": ticket,
        "repositories": offers.iter().map(|offer| json!({ "name": offer.name, "id": offer.id().map(|id| id.to_string()) })).collect::<Vec<_>>(),
    }))?;
    Ok(addresses)
}

/// The addresses once no more have come for a moment.
async fn settled(mut addresses: watch::Receiver<BTreeSet<Multiaddr>>) -> BTreeSet<Multiaddr> {
    let first = addresses.wait_for(|all| !all.is_empty());
    let _ = tokio::time::timeout(Duration::from_secs(5), first).await;
    while let Ok(Ok(())) = tokio::time::timeout(Duration::from_millis(100), addresses.changed()).await {}
    addresses.borrow().clone()
}

/// True for addresses that mean this machine to others, too.
fn leads_here(address: &Multiaddr) -> bool {
    address.iter().all(|part| match part {
        Protocol::Ip4(ip) => !ip.is_loopback(),
        Protocol::Ip6(ip) => !ip.is_loopback() && !ip.is_unicast_link_local(),
        _ => true,
    })
}

fn tell(context: &Context, happening: &Happening) -> Result<()> {
    let (text, event) = match happening {
        Happening::Asked { peer, repository } => (
            format!("{peer} asks for {repository}"),
            json!({ "event": "asked", "peer_id": peer.to_string(), "repository": repository }),
        ),
        Happening::Sent { peer, records, bytes } => (
            format!("Sent {records} records to {peer} ({})", size(*bytes)),
            json!({ "event": "sent", "peer_id": peer.to_string(), "records": records, "bytes": bytes }),
        ),
        Happening::Pushed { peer, repository, refs } => (
            format!("{peer} pushed {} to {repository}", refs.join(", ")),
            json!({ "event": "pushed", "peer_id": peer.to_string(), "repository": repository, "refs": refs }),
        ),
        Happening::Failed { peer, reason } => (
            format!("{peer}: {reason}"),
            json!({ "event": "failed", "peer_id": peer.to_string(), "reason": reason }),
        ),
    };
    context.out.say(Symbol::Item, text)?;
    context.out.event(&event)
}

/// Ends with the first signal to stop.
async fn stopped() -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}
