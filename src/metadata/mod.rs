//! Cluster metadata: commands become records, records become images (tier T2).
