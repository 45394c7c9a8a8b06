//! A shard looks at how full its disk is, and closes or opens the gate before appends.
//!
//! In:   the log directory; `storage.disk.use.max.percent`, which may change meanwhile.
//! Out:  the state of the gate (`crate::storage::disk_gate`); one line whenever it changes.
//! Home: one shard, in the housekeeping queue; the question to the system runs beside it.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use crate::io::directory::Directory as _;
use crate::shard::timers;
use crate::storage::disk_gate::{DiskGate, Refused};

use super::Disk;

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);

/// What is watched, and for whom.
pub struct DiskWatch {
    /// The log directory.
    pub disk: Disk,
    /// The shard's gate.
    pub gate: Rc<DiskGate>,
    /// `storage.disk.use.max.percent`.
    pub max_percent: Cell<u8>,
    /// Whether this shard says what changes: one line a broker is enough.
    pub says: bool,
}

impl DiskWatch {
    /// Looks every second until the shard ends.
    pub async fn run(self: Rc<Self>) {
        loop {
            timers::sleep(LOOK).await;
            self.look().await;
        }
    }

    /// Looks once, for a start or another setting. A file system that does not answer leaves the gate as it is.
    pub async fn look(&self) {
        let space = match self.disk.space().await {
            Ok(space) => space,
            Err(error) => return tracing::debug!(%error, "space of the disk not known"),
        };
        let max_percent = self.max_percent.get();
        let Some(refused) = self.gate.look(space, max_percent) else { return };
        if !self.says {
            return;
        }
        let (used, available) = (space.used_bytes, space.available_bytes);
        let directory = self.disk.path().display();
        match refused {
            Refused::Nobody => {
                tracing::warn!(%directory, used, available, "disk has room: produce is taken again");
            }
            Refused::Clients => tracing::error!(
                %directory, used, available, max_percent,
                "disk nearly full: produce is refused, reads go on; delete topics or records, \
                 shorten retention, or raise storage.disk.use.max.percent"
            ),
            Refused::Everyone => tracing::error!(
                %directory, used, available,
                "disk full but for the last percents: commits of groups and transactions are \
                 refused, too"
            ),
        }
    }
}
