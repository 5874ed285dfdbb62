//! A network of namespaces on this machine, of which some can be parted from the rest: packets are
//! lost then, and nobody is told.
//!
//! Each namespace hangs on a bridge, where the host has an address too. To part some from the rest,
//! their cables are plugged into another bridge: they go on hearing each other, all links stay up, no
//! route goes away, and so no connection fails sooner than it would in a data centre.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    process::{Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use anyhow::{Context as _, Result, ensure};

/// What the names of all our interfaces and namespaces begin with; the process id follows. With all
/// of it a name has at most the 15 bytes that the kernel takes.
const PREFIX: &str = "wgt";
/// Subnets of 198.18.0.0/15, which RFC 2544 keeps for tests of networks.
const SUBNETS: u32 = 512;
/// In a namespace of its own every port is free.
const PORT: u16 = 7000;
/// Numbers the networks of this process.
static NETWORKS: AtomicU32 = AtomicU32::new(0);

/// Where a process runs: on loopback as everything else, or in a network.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    namespace: Option<String>,
    address: Ipv4Addr,
}

impl Place {
    /// On loopback.
    pub const LOOPBACK: Self = Self { namespace: None, address: Ipv4Addr::LOCALHOST };

    /// The address that servers there listen on.
    pub fn ip(&self) -> IpAddr {
        self.address.into()
    }

    /// Address and port for a server there, the only one in a namespace. Elsewhere the port was free
    /// a moment ago; another process may take it, and then starting fails.
    ///
    /// # Errors
    ///
    /// When no port is free.
    pub fn free_address(&self) -> Result<SocketAddr> {
        if self.namespace.is_some() {
            return Ok((self.ip(), PORT).into());
        }
        Ok(std::net::TcpListener::bind((self.ip(), 0))?.local_addr()?)
    }

    /// A command that runs this program there, as a direct child.
    pub fn command(&self, program: &Path) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(program) };
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(program);
        command
    }
}

/// A network; removed when dropped, after all that runs in it.
pub struct Network {
    /// Begins the names of everything in it.
    name: String,
    /// The first three bytes of its addresses.
    subnet: [u8; 3],
    places: Vec<Place>,
}

impl Network {
    /// Why there can be none here: no `ip`, or no right to make namespaces and bridges.
    pub fn refusal() -> Option<String> {
        let name = next_name();
        let probe = || {
            ip(&["netns", "add", &name])?;
            ip(&["link", "add", &name, "type", "bridge"])
        };
        let refusal = probe().err().map(|error| format!("{error:#}"));
        remove(&name);
        refusal
    }

    /// Makes one with nothing in it but the host, and removes those of processes that are gone.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn make() -> Result<Self> {
        remove_abandoned()?;
        let subnet = free_subnet()?;
        let network = Self { name: next_name(), subnet, places: Vec::new() };
        let [_, second, third] = subnet;
        // Else the address of a bridge changes with its ports, and for seconds nobody finds it.
        let mac = format!("02:77:67:{second:02x}:{third:02x}:01");
        ip(&["link", "add", &network.bridge(), "address", &mac, "type", "bridge"])?;
        ip(&["addr", "add", &with_mask(network.address(1)), "dev", &network.bridge()])?;
        ip(&["link", "add", &network.aside(), "type", "bridge"])?;
        ip(&["link", "set", &network.bridge(), "up"])?;
        ip(&["link", "set", &network.aside(), "up"])?;
        Ok(network)
    }

    /// The host's place in it.
    pub fn host(&self) -> Place {
        Place { namespace: None, address: self.address(1) }
    }

    /// A new place.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn add(&mut self) -> Result<Place> {
        let number = u8::try_from(self.places.len())?.checked_add(2).context("too many places")?;
        let name = format!("{}{number}", self.name);
        let address = self.address(number);
        let place = Place { namespace: Some(name.clone()), address };
        ip(&["netns", "add", &name])?;
        self.places.push(place.clone());
        ip(&["link", "add", &name, "type", "veth", "peer", "name", "eth0", "netns", &name])?;
        ip(&["link", "set", &name, "master", &self.bridge(), "up"])?;
        ip(&["-n", &name, "addr", "add", &with_mask(address), "dev", "eth0"])?;
        ip(&["-n", &name, "link", "set", "lo", "up"])?;
        ip(&["-n", &name, "link", "set", "eth0", "up"])?;
        Ok(place)
    }

    /// Parts these from all others; among themselves they go on hearing each other.
    ///
    /// # Errors
    ///
    /// When one is none of ours.
    pub fn part<'a>(&self, places: impl IntoIterator<Item = &'a Place>) -> Result<()> {
        places.into_iter().try_for_each(|place| plug(place, &self.aside()))
    }

    /// All hear all again.
    ///
    /// # Errors
    ///
    /// When the kernel refuses.
    pub fn heal(&self) -> Result<()> {
        self.places.iter().try_for_each(|place| plug(place, &self.bridge()))
    }

    fn bridge(&self) -> String {
        format!("{}b", self.name)
    }

    fn aside(&self) -> String {
        format!("{}a", self.name)
    }

    fn address(&self, last: u8) -> Ipv4Addr {
        let [first, second, third] = self.subnet;
        Ipv4Addr::new(first, second, third, last)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        remove(&self.name);
    }
}

fn with_mask(address: Ipv4Addr) -> String {
    format!("{address}/24")
}

fn plug(place: &Place, bridge: &str) -> Result<()> {
    let name = place.namespace.as_deref().context("the host cannot be parted from itself")?;
    ip(&["link", "set", name, "master", bridge])
}

fn next_name() -> String {
    let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
    format!("{PREFIX}{}-{number}-", std::process::id())
}

/// One that no interface has an address of, beginning somewhere else in each process.
fn free_subnet() -> Result<[u8; 3]> {
    let used = said_by_ip(&["-o", "-4", "addr", "show"])?;
    let first = std::process::id().checked_rem(SUBNETS).unwrap_or(0);
    let subnets = (first..SUBNETS).chain(0..first).map(|number| {
        let [.., high, low] = number.to_be_bytes();
        [198, high.saturating_add(18), low]
    });
    let is_free =
        |[first, second, third]: &[u8; 3]| !used.contains(&format!(" {first}.{second}.{third}."));
    subnets.into_iter().find(is_free).context("198.18.0.0/15 is used up")
}

/// Removes what processes left that were killed.
fn remove_abandoned() -> Result<()> {
    for name in ours("")? {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        let process = process.and_then(|(process, _)| process.parse::<u32>().ok());
        let is_abandoned = |process| !Path::new(&format!("/proc/{process}")).exists();
        if process.is_some_and(is_abandoned) {
            remove(&name);
        }
    }
    Ok(())
}

/// Removes everything whose name begins so; with a namespace goes the end of its cable in it.
fn remove(name: &str) {
    // Nothing can be done about what cannot be removed; the next run tries again.
    for name in ours(name).unwrap_or_default() {
        let _ = ip(&["link", "del", &name]);
        let _ = ip(&["netns", "del", &name]);
    }
}

/// The names of interfaces and namespaces of tests that begin so.
fn ours(name: &str) -> Result<Vec<String>> {
    let links = said_by_ip(&["-o", "link", "show"])?;
    // "7: wgt123-0-2@if3: <BROADCAST…", and "wgt123-0-2 (id: 0)".
    let links = links.lines().filter_map(|line| line.split([' ', '@', ':']).nth(2));
    let namespaces = said_by_ip(&["netns", "list"])?;
    let namespaces = namespaces.lines().filter_map(|line| line.split(' ').next());
    let prefix = if name.is_empty() { PREFIX } else { name };
    let mut names: Vec<_> = links.chain(namespaces).map(ToOwned::to_owned).collect();
    names.retain(|found| found.starts_with(prefix));
    names.sort();
    names.dedup();
    Ok(names)
}

fn ip(arguments: &[&str]) -> Result<()> {
    said_by_ip(arguments).map(drop)
}

fn said_by_ip(arguments: &[&str]) -> Result<String> {
    let output = Command::new("ip").args(arguments).stdin(Stdio::null()).output();
    let output = output.context("cannot run ip: apt-get install iproute2")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", arguments.join(" "), error.trim());
    Ok(String::from_utf8(output.stdout)?)
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, path::Path, process::Stdio};

    use super::{Network, PORT, PREFIX, Place, ip, next_name, ours, remove_abandoned};
    use crate::mesh::Server;

    /// Whether networks can be made here; says so past the test runner, which shows nothing of tests
    /// that pass.
    fn permitted(tested: &str) -> bool {
        let refusal = Network::refusal();
        if let Some(refusal) = &refusal {
            let _ = writeln!(std::io::stderr(), "!!! {refusal}: {tested} was NOT TESTED");
        }
        refusal.is_none()
    }

    /// Connects from one place to another.
    #[track_caller]
    fn check(from: &Place, to: &Place, hears: bool) {
        let script = format!("exec 3<>/dev/tcp/{}/{PORT}", to.ip());
        let mut command = from.command(Path::new("timeout"));
        // A machine that is busy may need more than a second; where nothing is heard, one is enough.
        let patience_seconds = if hears { "20" } else { "1" };
        command.args([patience_seconds, "bash", "-c", &script]).stderr(Stdio::null());
        assert_eq!(command.status().unwrap().success(), hears, "{from:?} to {to:?}");
    }

    #[test]
    fn those_that_are_parted_hear_each_other_and_nobody_else_until_it_heals() {
        if !permitted("a parted network") {
            return;
        }
        let mut network = Network::make().unwrap();
        let host = network.host();
        let places = [network.add().unwrap(), network.add().unwrap(), network.add().unwrap()];
        let servers = places.clone().map(|place| Server::start(place, &[]).unwrap());
        let [first, second, third] = &places;
        check(first, second, true);
        network.part([first, second]).unwrap();
        check(first, second, true);
        check(second, first, true);
        check(first, third, false);
        check(&host, first, false);
        check(&host, third, true);
        network.heal().unwrap();
        check(first, third, true);
        check(&host, first, true);
        let name = network.name.clone();
        drop((servers, network));
        assert!(ours(&name).unwrap().is_empty());
    }

    #[test]
    fn what_a_killed_process_left_goes_and_what_lives_stays() {
        if !permitted("the removal of abandoned networks") {
            return;
        }
        // No process has a number so high: the kernel ends at 4194304.
        let (abandoned, alive) = (format!("{PREFIX}9999999-0-2"), format!("{}2", next_name()));
        for name in [&abandoned, &alive] {
            ip(&["netns", "add", name]).unwrap();
            ip(&["link", "add", name, "type", "bridge"]).unwrap();
        }
        remove_abandoned().unwrap();
        let left = (ours(&abandoned).unwrap(), ours(&alive).unwrap());
        super::remove(&alive);
        assert_eq!(left, (vec![], vec![alive]));
    }
}
