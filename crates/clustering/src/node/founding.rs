//! What a node does to get into a cluster, given who was met and how the votes stand.
//!
//! Invariant: a cluster is formed by a node that has data of its own, by one that expects nobody else, or by
//! the one for which most of the expected nodes have cast their one durable vote. So at most one is formed. Of four
//! and more expected nodes the votes can be split so that none is: then they wait, and do not form two.
//! No clock, no network, no disk: the same decisions are played from seeds.

use crate::catalog::Ballot;
use crate::identity::{ClusterId, NodeIdentity};
use broker::catalog::Catalog;
use std::net::SocketAddr;
use std::time::Duration;
use types::NodeId;
use types::limits::{CATALOG_VOTERS_MAX, CLUSTER_FORM_ALL_MS, CLUSTER_SERVE_ALONE_MS};

/// Who was met.
#[derive(Clone, Debug)]
pub struct Met {
    /// What it says of itself.
    pub node: NodeIdentity,
    /// Where it was met.
    pub addr: SocketAddr,
}

/// Where a node stands with the cluster it is in, or in none.
#[derive(Clone, Copy, Debug, Default)]
pub struct Standing {
    /// The cluster it is in, on disk.
    pub cluster: Option<ClusterId>,
    /// Its catalog has this very start of it, as one that is up.
    pub is_member_now: bool,
    /// The cluster answers it.
    pub has_lease: bool,
    /// How many nodes vote on the catalog; 0 while that is being changed.
    pub voters: usize,
    /// How many members are up.
    pub up: usize,
    /// It is the only member of its group, and the catalog has no cluster yet.
    pub is_half_formed: bool,
    /// Its catalog has it as a member, whichever start.
    pub is_known: bool,
    /// How long ago it was started.
    pub since_start: Duration,
}

/// What to do about that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Course {
    /// See who is there.
    LookAround,
    /// It is in; it may serve clients.
    Arrived(ClusterId),
    /// A cluster that it has formed is not in its catalog yet: it was stopped right then.
    FinishForming(ClusterId),
    /// Wait for the cluster to answer.
    Wait {
        /// It has waited for long: it may serve the queues it has.
        serve: bool,
        /// Joining was begun and not seen through.
        look_around: bool,
    },
}

impl Standing {
    /// What to do.
    pub fn course(&self) -> Course {
        let Some(cluster) = self.cluster else { return Course::LookAround };
        let is_late = self.since_start > Duration::from_millis(CLUSTER_SERVE_ALONE_MS);
        // Before as many nodes vote as can the loss of the first one would be the loss of the cluster, so whoever
        // waits for all nodes to be ready waits for that too.
        let are_voters_chosen = self.voters >= usable_voters(self.up);
        if self.is_member_now && self.has_lease && (is_late || are_voters_chosen) {
            return Course::Arrived(cluster);
        }
        if self.is_half_formed {
            return Course::FinishForming(cluster);
        }
        Course::Wait { serve: self.is_known && is_late, look_around: !self.is_known }
    }
}

/// How many of so many nodes can vote: an odd number.
fn usable_voters(nodes: usize) -> usize {
    let most = nodes.clamp(1, CATALOG_VOTERS_MAX);
    most - usize::from(most.is_multiple_of(2))
}

/// How many nodes the operator has told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// No others: this node is the first one.
    Nobody,
    /// A list of so many, perhaps with this node among them.
    Listed(usize),
    /// So many, by a name that stands for all; 0: it was not said.
    ByName(usize),
}

impl Expected {
    /// How many nodes form the cluster. `has_myself`: whether this node was met at one of the addresses.
    ///
    /// # Errors
    /// What the operator has not said.
    pub fn count(self, has_myself: bool) -> Result<usize, String> {
        match self {
            Expected::Nobody => Ok(1),
            Expected::Listed(0) | Expected::ByName(0) => {
                Err("expected-nodes is not set: with join by DNS it says how many nodes form the cluster"
                    .to_owned())
            }
            // A list may be that of the others or that of all.
            Expected::Listed(listed) if has_myself => Ok(listed),
            Expected::Listed(others) => Ok(others + 1),
            Expected::ByName(count) => Ok(count),
        }
    }
}

/// A node that looks for its cluster.
#[derive(Clone, Copy, Debug)]
pub struct Seeker {
    /// It.
    pub me: NodeId,
    /// The cluster it is in: joining was begun.
    pub cluster: Option<ClusterId>,
    /// There is nothing in its catalog but what every node starts with.
    pub is_pristine: bool,
    /// It has cast its one vote, for itself.
    pub has_own_vote: bool,
    /// How many nodes form the cluster, itself among them.
    pub expected: usize,
    /// How long ago it was started.
    pub since_start: Duration,
}

/// What a node that looks for its cluster does next.
#[derive(Debug)]
pub enum Next<'a> {
    /// Look again later, for this reason.
    Wait(String),
    /// Stop: the operator has to do something.
    End(String),
    /// Join at this member.
    Join(&'a Met),
    /// Form a cluster.
    Form,
    /// Form one if so many nodes vote for it, this one among them.
    AskForVotes {
        /// So many.
        majority: usize,
    },
}

impl Seeker {
    /// What to do, having met `met`.
    pub fn next<'a>(&self, met: &'a [Met]) -> Next<'a> {
        if let Some(member) = met.iter().find(|met| met.node.cluster != ClusterId::default()) {
            if self.cluster.is_none() && !self.is_pristine {
                return Next::End(format!(
                    "node {} at {} belongs to a cluster, and this node has definitions of its own: start it with \
                     an empty data directory to join, or take what is at that address out of --join",
                    member.node.name, member.addr
                ));
            }
            return Next::Join(member);
        }
        if self.cluster.is_some() {
            // What is in its catalog is that cluster's, and may have come while others were being met.
            return Next::Wait("waiting for a node of the cluster that this one has joined".to_owned());
        }
        if self.expected <= 1 || !self.is_pristine {
            return Next::Form;
        }
        let majority = self.expected / 2 + 1;
        let present = met.len() + 1;
        if present < majority {
            return Next::Wait(format!(
                "waiting for {majority} of {} nodes to form a cluster: {present} are there",
                self.expected
            ));
        }
        if present < self.expected && self.since_start < Duration::from_millis(CLUSTER_FORM_ALL_MS) {
            // Whoever is missing may have data, and then it forms the cluster.
            return Next::Wait(format!(
                "waiting a moment for all {} nodes: {present} are there",
                self.expected
            ));
        }
        let founder = met.iter().map(|met| met.node.id).chain([self.me.0]).min();
        // Who has begun to ask goes on: others may have voted for it already, and their votes are for good.
        if founder != Some(self.me.0) && !self.has_own_vote {
            return Next::Wait("waiting for another node to form the cluster".to_owned());
        }
        Next::AskForVotes { majority }
    }

    /// Whether this node may go on to ask for votes, having cast its own.
    ///
    /// # Errors
    /// Its vote was another node's.
    pub fn own_vote(&self, own: &Ballot) -> Result<(), String> {
        if own.founder == self.me.0 {
            return Ok(());
        }
        Err(format!("this node has voted for node {:016x} to form the cluster and waits for it", own.founder))
    }

    /// Whether this node may vote for another one.
    ///
    /// # Errors
    /// Why not, for the node that asked.
    pub fn may_vote(&self) -> Result<(), String> {
        if self.cluster.is_some() {
            return Err("this node is in a cluster already".to_owned());
        }
        if !self.is_pristine {
            return Err("this node has definitions of its own and will form a cluster itself".to_owned());
        }
        Ok(())
    }
}

/// Whether so many votes, the node's own among them, make it the founder.
///
/// # Errors
/// How they stand.
pub fn elected(votes: usize, majority: usize) -> Result<(), String> {
    if votes >= majority {
        return Ok(());
    }
    Err(format!("waiting for the votes of {majority} nodes to form the cluster: {votes} so far"))
}

/// Whether there is nothing in a catalog but what every node starts with: one vhost, one user.
pub fn is_pristine(catalog: &Catalog) -> bool {
    catalog.users.len() <= 1
        && catalog.vhosts.len() <= 1
        && catalog.global_parameters.is_empty()
        && catalog.vhosts.values().all(|vhost| {
            vhost.queues.is_empty()
                && vhost.policies.is_empty()
                && vhost.operator_policies.is_empty()
                && vhost.parameters.is_empty()
                && vhost.binding_count() == 0
                && vhost
                    .exchanges
                    .keys()
                    .all(|name| name.as_str().is_empty() || name.as_str().starts_with("amq."))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::WIRE_VERSION;

    const CLUSTER: ClusterId = ClusterId(7);
    const LATE: Duration = Duration::from_millis(CLUSTER_FORM_ALL_MS);

    fn met(id: u64, cluster: ClusterId) -> Met {
        let addr = SocketAddr::from(([10, 0, 0, 1], 25_672));
        let (name, version) = (format!("n{id}"), String::new());
        Met { node: NodeIdentity { id, name, cluster, boot: 1, wire: WIRE_VERSION, version, addr }, addr }
    }

    fn seeker(expected: usize) -> Seeker {
        Seeker {
            me: NodeId(5),
            cluster: None,
            is_pristine: true,
            has_own_vote: false,
            expected,
            since_start: LATE,
        }
    }

    fn told(seeker: Seeker, others: &[Met]) -> String {
        match seeker.next(others) {
            Next::Wait(why) | Next::End(why) => why,
            Next::Join(met) => format!("join {}", met.node.id),
            Next::Form => "form".to_owned(),
            Next::AskForVotes { majority } => format!("ask for {majority}"),
        }
    }

    #[test]
    fn a_node_joins_waits_or_forms_by_whom_it_met() {
        let none = ClusterId::default();
        let strange = Seeker { is_pristine: false, ..seeker(3) };
        let early = Seeker { since_start: LATE / 2, ..seeker(3) };
        for (seeker, others, wanted) in [
            (seeker(1), vec![], "form"),
            (seeker(3), vec![], "waiting for 2 of 3 nodes"),
            (seeker(3), vec![met(6, none)], "ask for 2"),
            (seeker(3), vec![met(4, none)], "waiting for another node"),
            (early, vec![met(6, none)], "waiting a moment for all 3 nodes: 2"),
            (early, vec![met(6, none), met(7, none)], "ask for 2"),
            (Seeker { has_own_vote: true, ..seeker(3) }, vec![met(4, none)], "ask for 2"),
            (seeker(3), vec![met(4, none), met(6, CLUSTER)], "join 6"),
            (seeker(4), vec![met(6, none)], "waiting for 3 of 4 nodes"),
            (seeker(5), vec![met(6, none), met(7, none)], "ask for 3"),
            (strange, vec![], "form"),
            (strange, vec![met(6, none)], "form"),
            (strange, vec![met(6, CLUSTER)], "node n6 at 10.0.0.1:25672 belongs to a cluster"),
            (Seeker { cluster: Some(CLUSTER), ..strange }, vec![met(6, CLUSTER)], "join 6"),
            (
                Seeker { cluster: Some(CLUSTER), ..strange },
                vec![met(6, none)],
                "waiting for a node of the cluster",
            ),
            (Seeker { cluster: Some(CLUSTER), ..seeker(1) }, vec![], "waiting for a node of the cluster"),
        ] {
            let told = told(seeker, &others);
            assert!(told.starts_with(wanted), "{told}, wanted {wanted}");
        }
    }

    #[test]
    fn a_list_may_be_that_of_the_others() {
        assert_eq!(Expected::Nobody.count(false), Ok(1));
        assert_eq!(Expected::Listed(3).count(true), Ok(3));
        assert_eq!(Expected::Listed(2).count(false), Ok(3));
        assert_eq!(Expected::ByName(3).count(false), Ok(3));
        assert!(Expected::ByName(0).count(true).unwrap_err().contains("expected-nodes"));
        assert!(Expected::Listed(0).count(false).unwrap_err().contains("expected-nodes"));
    }

    #[test]
    fn votes_are_given_once_and_counted() {
        let own = |founder| seeker(3).own_vote(&Ballot { founder, cluster: 1 });
        assert_eq!(own(5), Ok(()));
        assert!(own(6).unwrap_err().contains("0000000000000006"));
        assert_eq!(seeker(3).may_vote(), Ok(()));
        let member = Seeker { cluster: Some(CLUSTER), ..seeker(3) };
        assert!(member.may_vote().unwrap_err().contains("in a cluster already"));
        let strange = Seeker { is_pristine: false, ..seeker(3) };
        assert!(strange.may_vote().unwrap_err().contains("definitions of its own"));
        assert_eq!(elected(2, 2), Ok(()));
        assert!(elected(1, 2).unwrap_err().contains("1 so far"));
    }

    #[test]
    fn a_member_waits_for_its_cluster_and_a_stranger_looks_around() {
        let none = Standing::default();
        let inside = Standing { cluster: Some(CLUSTER), ..none };
        let known = Standing { is_known: true, ..inside };
        let there = Standing { has_lease: true, is_member_now: true, up: 3, ..known };
        let late = Duration::from_millis(CLUSTER_SERVE_ALONE_MS + 1);
        for (standing, wanted) in [
            (none, Course::LookAround),
            (inside, Course::Wait { serve: false, look_around: true }),
            (Standing { since_start: late, ..inside }, Course::Wait { serve: false, look_around: true }),
            (known, Course::Wait { serve: false, look_around: false }),
            (Standing { since_start: late, ..known }, Course::Wait { serve: true, look_around: false }),
            (Standing { is_half_formed: true, ..inside }, Course::FinishForming(CLUSTER)),
            (Standing { has_lease: true, ..known }, Course::Wait { serve: false, look_around: false }),
            (Standing { voters: 3, ..there }, Course::Arrived(CLUSTER)),
            (Standing { voters: 1, ..there }, Course::Wait { serve: false, look_around: false }),
            (Standing { voters: 1, since_start: late, ..there }, Course::Arrived(CLUSTER)),
        ] {
            assert_eq!(standing.course(), wanted, "{standing:?}");
        }
    }
}
