//! What the metrics show of a node of a cluster: plain numbers, which whoever knows the node fills in at a scrape.

/// A node of a cluster, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ClusterShown {
    /// Whether it owns the store.
    pub(crate) is_owner: bool,
    /// Whether it knows an owner.
    pub(crate) sees_owner: bool,
    /// Whether it is the owner, or can send calls on to it.
    pub(crate) reaches_owner: bool,
    /// Whether it is the owner, or can take its place.
    pub(crate) is_ready: bool,
    /// Of the owner that it knows; 0 for none.
    pub(crate) epoch: u64,
    /// The last record that it has.
    pub(crate) seq: u64,
    /// How much later than the owner it has applied that record. None if that is not known.
    pub(crate) lag_nanos: Option<u64>,
    /// How it became the owner. None if it did not.
    pub(crate) takeover: Option<TakeoverShown>,
    /// None before etcd was reached.
    pub(crate) etcd: Option<EtcdShown>,
}

/// How a node became the owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TakeoverShown {
    /// In nanoseconds since 1970.
    pub(crate) at_nanos: u64,
    pub(crate) took_nanos: u64,
}

/// The etcd of a cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EtcdShown {
    /// Of the largest file of a member.
    pub(crate) file_bytes: u64,
    pub(crate) quota_bytes: u64,
}
