//! A node looks for its cluster: the product's decisions, with the play's calls and disks.
//!
//! Invariant: nothing is decided here; what is on the disk before an answer is given is there after a crash.

use crate::bug::Bug;
use crate::invariants::Seen;
use crate::machine::row;
use crate::network::{NOBODY, Reply, Request};
use crate::register::Register;
use crate::world::Node;
use broker::catalog::Command;
use clustering::catalog::Ballot;
use clustering::identity::{ClusterId, NodeIdentity};
use clustering::node::founding::{Course, Expected, Met, Next, Seeker, Standing, elected, is_pristine};
use std::net::SocketAddr;
use types::NodeId;
use types::limits::{CLUSTER_JOIN_CALL_MS, CLUSTER_LOOK_MS};

/// How long a node that is asked who it is may take, milliseconds.
const PROBE_MS: u64 = 2_000;
/// Times of a thousand that one name cannot be looked up.
const NOT_RESOLVED: u32 = 20;

impl Node {
    /// Looks for the cluster until the node is in it.
    pub async fn find_cluster(self) -> Option<()> {
        loop {
            self.sleep(CLUSTER_LOOK_MS, CLUSTER_LOOK_MS + 10).await;
            match self.standing()?.course() {
                Course::LookAround => self.look_around().await?,
                Course::Arrived(cluster) => {
                    self.say(|| format!("is a member of cluster {}", cluster.0));
                    return self.with(|process, _| process.is_serving = true);
                }
                Course::FinishForming(cluster) => {
                    let node = row(&self.identity()?);
                    // The next look goes on.
                    let _ = self.propose(Command::FormCluster { cluster: cluster.0, node }).await?;
                }
                Course::Wait { serve, look_around } => {
                    self.with(|process, _| process.is_serving |= serve)?;
                    if look_around {
                        self.look_around().await?;
                    }
                }
            }
        }
    }

    fn standing(&self) -> Option<Standing> {
        let now = self.world.now();
        let (cluster, node) = self.with(|_, disk| (disk.cluster, disk.node))?;
        let registers = self.world.registers.borrow();
        let register = cluster.and_then(|cluster| registers.get(&cluster.0));
        let is_alone = register.is_some_and(|it| it.added.len() == 1 && it.added.contains(&node));
        let voters = register.map_or(0, |it| it.voters.len());
        self.with(|process, _| {
            let known = process.catalog.nodes.get(&node);
            Standing {
                cluster,
                is_member_now: known.is_some_and(|row| row.boot == process.boot && row.up),
                has_lease: process.lease_until > now,
                voters,
                up: process.catalog.nodes.values().filter(|node| node.up).count(),
                is_half_formed: is_alone && !process.catalog.is_cluster(),
                is_known: known.is_some(),
                since_start: now.saturating_sub(process.since),
            }
        })
    }

    fn seeker(&self) -> Option<Seeker> {
        let now = self.world.now();
        self.with(|process, disk| Seeker {
            me: disk.node,
            cluster: disk.cluster,
            has_own_vote: disk.ballot.is_some_and(|ballot| ballot.founder == disk.node.0),
            is_pristine: is_pristine(&process.catalog),
            expected: 1,
            since_start: now.saturating_sub(process.since),
        })
    }

    fn wait_for(&self, why: String) -> Option<()> {
        let is_new = self.with(|process, _| {
            let is_new = process.waits != why;
            process.waits.clone_from(&why);
            is_new
        })?;
        if is_new {
            self.say(|| why);
        }
        Some(())
    }

    /// The addresses that names stand for at this moment.
    pub fn resolve(&self) -> Vec<SocketAddr> {
        let machines = self.world.machines.borrow();
        let found = machines.iter().map(|machine| machine.addr);
        found.filter(|_| !self.world.dice.permille(NOT_RESOLVED)).collect()
    }

    async fn look_around(&self) -> Option<()> {
        let (met, has_myself) = self.meet().await?;
        let listed = self.world.places().len();
        let expected = match Expected::Listed(listed).count(has_myself) {
            Ok(expected) => expected,
            Err(why) => return self.wait_for(why),
        };
        let seeker = Seeker { expected, ..self.seeker()? };
        match seeker.next(&met) {
            Next::Wait(why) => self.wait_for(why),
            Next::End(why) => self.end(&why),
            Next::Join(member) => self.join(member).await,
            Next::Form => self.form(ClusterId(self.world.number().into())).await,
            Next::AskForVotes { majority } => match self.gather(&seeker, &met, majority).await? {
                Some(cluster) => self.form(cluster).await,
                None => Some(()),
            },
        }
    }

    /// The operator has to do something: the process ends.
    fn end(&self, why: &str) -> Option<()> {
        self.world.fail(format!("machine {} gives up: {why}", self.place));
        None
    }

    async fn meet(&self) -> Option<(Vec<Met>, bool)> {
        let calls: Vec<_> = self
            .resolve()
            .into_iter()
            .map(|addr| (addr, self.call(addr, Request::Probe, PROBE_MS)))
            .collect();
        let (mut met, mut has_myself) = (Vec::new(), false);
        for (addr, call) in calls {
            match call.await {
                Some(Reply::Identity(node)) => met.push(Met { node, addr }),
                Some(Reply::Myself) => has_myself = true,
                _ => {}
            }
        }
        met.sort_by_key(|met| met.node.id);
        met.dedup_by_key(|met| met.node.id);
        Some((met, has_myself))
    }

    async fn join(&self, member: &Met) -> Option<()> {
        let ask = Request::Join(self.identity()?);
        match self.call(member.addr, ask, CLUSTER_JOIN_CALL_MS).await {
            Some(Reply::Joined(cluster, members)) => {
                members.into_iter().for_each(|(node, addr)| self.know(node, addr));
                // The disk takes its time.
                self.sleep(1, 10).await;
                let own = self.with(|_, disk| *disk.cluster.get_or_insert(cluster))?;
                if own != cluster {
                    return self.end("it is in another cluster already");
                }
                self.say(|| format!("joins cluster {}", cluster.0));
                Some(())
            }
            Some(Reply::Refused(why)) => {
                self.wait_for(format!("node {} does not let this node join: {why}", member.node.name))
            }
            _ => self.wait_for(format!("joining at node {}: no answer", member.node.name)),
        }
    }

    /// Lets a node join.
    pub(crate) async fn admit(&self, newcomer: NodeIdentity) -> Option<Reply> {
        let Some(cluster) = self.with(|_, disk| disk.cluster)? else {
            return Some(Reply::Refused("this node is in no cluster itself".to_owned()));
        };
        let node = newcomer.node();
        if let Err(why) = self.propose(Command::PutNode { node: row(&newcomer) }).await? {
            return Some(Reply::Refused(why));
        }
        let adder = self.clone();
        self.world.schedule.spawn(self.process, async move {
            let _ = adder.add_node(cluster, node).await;
        });
        let catalog = self.with(|process, _| process.catalog.clone())?;
        let members = catalog.nodes.values().filter_map(|row| Some((row.id, row.addr.parse().ok()?)));
        Some(Reply::Joined(cluster, members.collect()))
    }

    /// Has the cluster's group send a node its changes, if its leader hears of it.
    async fn add_node(&self, cluster: ClusterId, node: NodeId) -> Option<()> {
        self.sleep(1, 30).await;
        let leader = self.with(|process, _| process.leader)??;
        let at = self.world.awake(leader).filter(|at| self.world.is_linked(self.place, *at))?;
        let mut registers = self.world.registers.borrow_mut();
        let register = registers.get_mut(&cluster.0).filter(|it| it.leader == Some(leader))?;
        if register.added.insert(node) {
            self.world.say(|| format!("cluster {}: node {node} added by machine {at}", cluster.0));
        }
        Some(())
    }

    async fn form(&self, cluster: ClusterId) -> Option<()> {
        self.sleep(1, 10).await;
        let (own, node, catalog) = self.with(|process, disk| {
            (*disk.cluster.get_or_insert(cluster), disk.node, process.catalog.clone())
        })?;
        if own != cluster {
            return self.end("it is in another cluster already");
        }
        self.say(|| format!("forms cluster {}", cluster.0));
        let register = Register::new(cluster.0, catalog, node);
        self.world.registers.borrow_mut().entry(cluster.0).or_insert(register);
        self.with(|process, disk| {
            process.applied = Some(0);
            disk.saved = Some(crate::machine::Saved { catalog: process.catalog.clone(), applied: 0 });
        })?;
        self.world.show(&Seen::Formed { cluster });
        let node = row(&self.identity()?);
        // Looking around goes on with it if that fails.
        let _ = self.propose(Command::FormCluster { cluster: cluster.0, node }).await?;
        Some(())
    }

    /// The outer None: the process has ended.
    async fn gather(&self, seeker: &Seeker, met: &[Met], majority: usize) -> Option<Option<ClusterId>> {
        let ballot = Ballot { founder: seeker.me.0, cluster: self.world.number().into() };
        let own = self.write_vote(ballot).await?;
        if let Err(why) = seeker.own_vote(&own) {
            self.wait_for(why)?;
            return Some(None);
        }
        let mut votes = 1;
        for voter in met {
            let answer = self.call(voter.addr, Request::Ballot(own), CLUSTER_JOIN_CALL_MS).await;
            match answer {
                Some(Reply::Ballot(given)) if given == own => votes += 1,
                Some(Reply::Refused(why)) if why != NOBODY => {
                    self.wait_for(format!("node {} gives no vote: {why}", voter.node.name))?;
                    return Some(None);
                }
                _ => {}
            }
        }
        if let Err(why) = elected(votes, majority) {
            self.wait_for(why)?;
            return Some(None);
        }
        Some(Some(ClusterId(own.cluster)))
    }

    /// Votes for whoever asks first.
    pub(crate) async fn cast(&self, ballot: Ballot) -> Option<Reply> {
        if let Err(why) = self.seeker()?.may_vote() {
            return Some(Reply::Refused(why));
        }
        Some(Reply::Ballot(self.write_vote(ballot).await?))
    }

    async fn write_vote(&self, ballot: Ballot) -> Option<Ballot> {
        self.sleep(1, 10).await;
        let forgets = self.world.has(Bug::VoteForgotten);
        let vote = self.with(|_, disk| if forgets { ballot } else { *disk.ballot.get_or_insert(ballot) })?;
        self.say(|| format!("votes for node {}", vote.founder));
        Some(vote)
    }
}
