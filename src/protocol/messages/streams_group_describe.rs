//! StreamsGroupDescribe: groups of the streams protocol (KIP-1071).

use crate::protocol::message::message;

message! {
    api StreamsGroupDescribe, versions 0..=0, flexible 0..;

    /// Asks for groups of the streams protocol.
    request StreamsGroupDescribeRequest {
        /// The groups.
        group_ids: Vec<String>, strict 0..;
        /// Whether to say what the caller may do to it.
        include_authorized_operations: bool, strict 0..;
    }

    /// The groups.
    response StreamsGroupDescribeResponse {
        /// How long the client was throttled, in milliseconds.
        throttle_time_ms: i32, strict 0..;
        /// The groups.
        groups: Vec<DescribedGroup>, strict 0..;
    }

    /// A group, or why it cannot be shown.
    struct DescribedGroup {
        /// 0, or what went wrong.
        error_code: i16, strict 0..;
        /// What went wrong, in words.
        error_message: Option<String> = None, strict 0..;
        /// The group.
        group_id: String, strict 0..;
        /// The group's state, by name.
        group_state: String, strict 0..;
        /// The group's epoch.
        group_epoch: i32, strict 0..;
        /// The epoch of the target assignment.
        assignment_epoch: i32, strict 0..;
        /// The topology; null if there is none yet.
        topology: Option<Topology> = None, strict 0..;
        /// The members.
        members: Vec<Member>, strict 0..;
        /// A bit for each operation allowed; `i32::MIN` if not asked for.
        authorized_operations: i32 = i32::MIN, strict 0..;
    }

    /// The topology of an application.
    struct Topology {
        /// Its epoch.
        epoch: i32, strict 0..;
        /// Its parts.
        subtopologies: Option<Vec<Subtopology>> = None, strict 0..;
    }

    /// A member.
    struct Member {
        /// The member's id.
        member_id: String, strict 0..;
        /// The member's epoch.
        member_epoch: i32, strict 0..;
        /// The id of a static member; null of a dynamic one.
        instance_id: Option<String> = None, strict 0..;
        /// The member's rack; null if it does not say.
        rack_id: Option<String> = None, strict 0..;
        /// The member's client id.
        client_id: String, strict 0..;
        /// The address it calls from.
        client_host: String, strict 0..;
        /// The epoch of its topology.
        topology_epoch: i32, strict 0..;
        /// The process, to tell instances on one host apart.
        process_id: String, strict 0..;
        /// Where interactive queries go.
        user_endpoint: Option<Endpoint> = None, strict 0..;
        /// Tags of the client, for rack awareness.
        client_tags: Vec<KeyValue>, strict 0..;
        /// Offsets that tasks have restored to.
        task_offsets: Vec<TaskOffset>, strict 0..;
        /// Ends of the changelogs of tasks.
        task_end_offsets: Vec<TaskOffset>, strict 0..;
        /// What it has.
        assignment: Assignment, strict 0..;
        /// What it shall have.
        target_assignment: Assignment, strict 0..;
        /// Whether it speaks the classic protocol.
        is_classic: bool, strict 0..;
    }

    /// A part of a topology.
    struct Subtopology {
        /// The subtopology.
        subtopology_id: String, strict 0..;
        /// Topics it reads.
        source_topics: Vec<String>, strict 0..;
        /// Repartition topics it writes.
        repartition_sink_topics: Vec<String>, strict 0..;
        /// Changelog topics of its stores.
        state_changelog_topics: Vec<TopicInfo>, strict 0..;
        /// Repartition topics it reads.
        repartition_source_topics: Vec<TopicInfo>, strict 0..;
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

    /// What a member has or shall have.
    struct Assignment {
        /// The active tasks.
        active_tasks: Vec<TaskIds>, strict 0..;
        /// The standby tasks.
        standby_tasks: Vec<TaskIds>, strict 0..;
        /// The tasks that warm up.
        warmup_tasks: Vec<TaskIds>, strict 0..;
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

    /// Tasks of one subtopology.
    struct TaskIds {
        /// The subtopology.
        subtopology_id: String, strict 0..;
        /// The partitions.
        partitions: Vec<i32>, strict 0..;
    }
}
