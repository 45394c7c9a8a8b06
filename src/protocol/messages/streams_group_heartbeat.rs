//! StreamsGroupHeartbeat: membership of a group of the streams protocol (KIP-1071).

use crate::protocol::message::message;

message! {
    api StreamsGroupHeartbeat, versions 0..=0, flexible 0..;

    /// Says that a member is alive, and what it runs.
    request StreamsGroupHeartbeatRequest {
        /// The group.
        group_id: String, strict 0..;
        /// The member's id.
        member_id: String, strict 0..;
        /// The member's epoch; 0 to join, -1 to leave, -2 to leave for a while.
        member_epoch: i32, strict 0..;
        /// The epoch of the endpoints the member knows; -1 if none.
        endpoint_information_epoch: i32, strict 0..;
        /// The id of a static member; null of a dynamic one.
        instance_id: Option<String> = None, strict 0..;
        /// The member's rack; null if it does not say.
        rack_id: Option<String> = None, strict 0..;
        /// How long the member may take to join a rebalance, in milliseconds; -1 if it does not say.
        rebalance_timeout_ms: i32 = -1, strict 0..;
        /// The topology; null if unchanged.
        topology: Option<Topology> = None, strict 0..;
        /// Its active tasks; null if unchanged.
        active_tasks: Option<Vec<TaskIds>> = None, strict 0..;
        /// Its standby tasks; null if unchanged.
        standby_tasks: Option<Vec<TaskIds>> = None, strict 0..;
        /// Its tasks that warm up; null if unchanged.
        warmup_tasks: Option<Vec<TaskIds>> = None, strict 0..;
        /// The process, to tell instances on one host apart.
        process_id: Option<String> = None, strict 0..;
        /// Where interactive queries go.
        user_endpoint: Option<Endpoint> = None, strict 0..;
        /// Tags of the client, for rack awareness.
        client_tags: Option<Vec<KeyValue>> = None, strict 0..;
        /// Offsets that tasks have restored to.
        task_offsets: Option<Vec<TaskOffset>> = None, strict 0..;
        /// Ends of the changelogs of tasks.
        task_end_offsets: Option<Vec<TaskOffset>> = None, strict 0..;
        /// Whether the whole application shall stop.
        shutdown_application: bool, strict 0..;
    }

    /// The member's epoch, and what it shall run.
    response StreamsGroupHeartbeatResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, strict 0..;
        /// The member's id.
        member_id: String, strict 0..;
        /// The member's epoch.
        member_epoch: i32, strict 0..;
        /// How often to come back, in milliseconds.
        heartbeat_interval_ms: i32, strict 0..;
        /// The lag, in records, up to which a task counts as caught up.
        acceptable_recovery_lag: i32, strict 0..;
        /// How often to report offsets of tasks, in milliseconds.
        task_offset_interval_ms: i32, strict 0..;
        /// What the member should know.
        status: Option<Vec<Status>>, strict 0..;
        /// The active tasks.
        active_tasks: Option<Vec<TaskIds>> = None, strict 0..;
        /// The standby tasks.
        standby_tasks: Option<Vec<TaskIds>> = None, strict 0..;
        /// The tasks that warm up.
        warmup_tasks: Option<Vec<TaskIds>> = None, strict 0..;
        /// The epoch of the endpoints the member knows; -1 if none.
        endpoint_information_epoch: i32, strict 0..;
        /// Which partitions are where, for interactive queries.
        partitions_by_user_endpoint: Option<Vec<EndpointToPartitions>> = None, strict 0..;
    }

    /// The topology of an application.
    struct Topology {
        /// Its epoch.
        epoch: i32, strict 0..;
        /// Its parts.
        subtopologies: Vec<Subtopology>, strict 0..;
    }

    /// Tasks of one subtopology.
    struct TaskIds {
        /// The subtopology.
        subtopology_id: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }

    /// A host and a port.
    struct Endpoint {
        /// Its host.
        host: String, strict 0..;
        /// Its port.
        port: u16, strict 0..;
    }

    /// A key and its value.
    struct KeyValue {
        /// The key.
        key: String, strict 0..;
        /// The value.
        value: String, strict 0..;
    }

    /// The offset of a task.
    struct TaskOffset {
        /// The subtopology.
        subtopology_id: String, strict 0..;
        /// The partition's index.
        partition: i32, strict 0..;
        /// The offset.
        offset: i64, strict 0..;
    }

    /// A part of a topology.
    struct Subtopology {
        /// The subtopology.
        subtopology_id: String, strict 0..;
        /// Topics it reads.
        source_topics: Vec<String>, strict 0..;
        /// Regular expressions of topics it reads.
        source_topic_regex: Vec<String>, strict 0..;
        /// Changelog topics of its stores.
        state_changelog_topics: Vec<TopicInfo>, strict 0..;
        /// Repartition topics it writes.
        repartition_sink_topics: Vec<String>, strict 0..;
        /// Repartition topics it reads.
        repartition_source_topics: Vec<TopicInfo>, strict 0..;
        /// Topics that must have equally many partitions.
        copartition_groups: Vec<CopartitionGroup>, strict 0..;
    }

    /// A topic that the application owns.
    struct TopicInfo {
        /// Its name.
        name: String, strict 0..;
        /// How many partitions it shall have; 0 if it is to be found out.
        partitions: i32, strict 0..;
        /// How many replicas a partition; 0 for the broker's own setting.
        replication_factor: i16, strict 0..;
        /// Settings of the topic.
        topic_configs: Vec<KeyValue>, strict 0..;
    }

    /// Topics that must have equally many partitions.
    struct CopartitionGroup {
        /// Indexes of topics that the subtopology reads.
        source_topics: Vec<i16>, strict 0..;
        /// Indexes of regular expressions of the subtopology.
        source_topic_regex: Vec<i16>, strict 0..;
        /// Indexes of repartition topics that the subtopology reads.
        repartition_source_topics: Vec<i16>, strict 0..;
    }

    /// Something a member should know.
    struct Status {
        /// What it is about.
        status_code: i8, strict 0..;
        /// The same, in words.
        status_detail: String, strict 0..;
    }

    /// What one endpoint holds.
    struct EndpointToPartitions {
        /// Where interactive queries go.
        user_endpoint: Endpoint, strict 0..;
        /// Partitions of active tasks.
        active_partitions: Vec<TopicPartition>, strict 0..;
        /// Partitions of standby tasks.
        standby_partitions: Vec<TopicPartition>, strict 0..;
    }

    /// Partitions of a topic.
    struct TopicPartition {
        /// The topic's name.
        topic: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }
}
