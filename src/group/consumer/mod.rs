//! KIP-848 groups: members say what they read, the coordinator assigns.
//!
//! Home: pure; part of the group coordinator. [`group::Consumer`] is one group's state, changed
//! by records alone; [`heartbeat`] is what members ask of it, [`reconcile`] how a member comes
//! from what it has to what it is to have.
//!
//! Three epochs drive it: the *group's* grows when a member or its subscription, or the
//! subscribed topics change; the *target's* is the group epoch that the assignment was
//! computed for; a *member's* is the target epoch that it has come to.
//!
//! Source: KIP-848, KIP-1101 (metadata hash), KIP-1251 (assignment epochs), KIP-1263
//! (assignment interval); `protocol.md` P90.

pub mod classic_member;
pub mod group;
pub mod heartbeat;
pub mod member;
pub mod reconcile;
pub mod topics;
