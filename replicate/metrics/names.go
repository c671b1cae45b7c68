package metrics

import "github.com/prometheus/client_golang/prometheus"

// perDisk are the labels of a disk.
var perDisk = []string{"role", "peer", "vm", "disk"}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("wanrep_"+name, help, labels, nil)
}

// What every appliance has.
var (
	buildInfo   = describe("build_info", "What runs here; the value is always 1.", "role", "version", "goversion")
	configGood  = describe("config_last_reload_successful", "Whether the config that is in effect is the file's, as it was last read: 1 or 0.")
	configRead  = describe("config_last_reload_success_timestamp_seconds", "When the config was last read.")
	certificate = describe("certificate_expiry_timestamp_seconds", "When this appliance's certificate ends. Peers know each other by their keys, so that it is centuries away.")
	rateLimit   = describe("rate_limit_bytes_per_second", "The most that is sent over all uplinks; 0 is no limit.")
	stageBusy   = describe("stage_busy_seconds_total", "How long each stage of the pipeline was busy, over all disks.", "stage")
)

// The relation to a peer.
var (
	peerUp         = describe("peer_up", "0 while the line to the peer is lost or given up, else 1, also while no run needs it.", "peer")
	peerRTT        = describe("peer_rtt_seconds", "Round trip time of the link; 0 without one.", "peer")
	peerQueue      = describe("peer_queue_seconds", "How much longer round trips take now than the shortest: about what waits on the way.", "peer")
	peerWindow     = describe("peer_window_bytes", "How much may be under way without an answer; only a source knows.", "peer")
	peerLanes      = describe("peer_lanes", "QUIC connections of the link: more than a few where the line loses packets at random; 0 without a link.", "peer")
	peerLineRate   = describe("peer_line_rate_bytes_per_second", "What the line was seen to carry when it was full; 0 if that is not known.", "peer")
	peerSent       = describe("peer_sent_packets_total", "QUIC packets sent to the peer.", "peer")
	peerLost       = describe("peer_lost_packets_total", "QUIC packets sent to the peer that were lost.", "peer")
	peerMigrations = describe("peer_path_migrations_total", "How often a link moved to another uplink.", "peer")
	peerConnects   = describe("peer_connects_total", "How often a link came to be.", "peer")
	peerRedials    = describe("peer_redial_attempts_total", "How often a lost link was dialed on the timer.", "peer")
	peerGiveUps    = describe("peer_redial_giveups_total", "How often a link was given up.", "peer")
	peerReattach   = describe("peer_reattach_duration_seconds", "How long each loss lasted that ended with a new link.", "peer")
)

// A disk, in the point that is under way or was last.
var (
	diskState      = describe("disk_state", "1 for the state that the disk is in.", append([]string{"state"}, perDisk...)...)
	diskSize       = describe("disk_size_bytes", "Virtual size of the disk.", perDisk...)
	diskPending    = describe("disk_pending_bytes", "Bytes that still have to be read and sent; only a source knows.", perDisk...)
	diskReplicated = describe("disk_replicated_bytes", "How far the disk is safe at the target, in the point that is under way.", perDisk...)
	diskRead       = describe("disk_read_bytes_total", "Bytes read from the disk.", perDisk...)
	diskSent       = describe("disk_wire_sent_bytes_total", "Bytes handed to the disk's streams at the source.", perDisk...)
	diskReceived   = describe("disk_wire_received_bytes_total", "Bytes taken from the disk's streams at the target.", perDisk...)
	diskWritten    = describe("disk_written_bytes_total", "Bytes of content written at the target.", perDisk...)
	diskSkipped    = describe("disk_skipped_bytes_total", "Bytes that did not have to be sent: zeros, or the same as in the point before.", append([]string{"reason"}, perDisk...)...)
	diskErrors     = describe("disk_errors_total", "How often a run failed for the disk.", perDisk...)
	diskResyncs    = describe("disk_resyncs_total", "How often the disk began again at an earlier offset of its point.", perDisk...)
	diskDamaged    = describe("disk_damaged_blocks", "Blocks of 64 KiB of the disk, in all of its points, that are known to be damaged and are not healed yet; only a target knows.", perDisk...)
	diskFound      = describe("disk_damage_found_blocks_total", "Blocks that a scrub found damaged.", perDisk...)
	diskHealed     = describe("disk_damage_healed_blocks_total", "Damaged blocks that were put back as they had been committed.", perDisk...)
	diskPaused     = describe("disk_paused", "1 while the operator holds the disk's job.", perDisk...)
)

// What a disk's VM has; it is told per disk, so that rules need one set of labels.
var (
	diskNewest   = describe("disk_recovery_point_timestamp_seconds", "When the newest restore point was taken; 0 is never.", perDisk...)
	diskRPO      = describe("disk_rpo_seconds", "How old the newest restore point may become; absent without an RPO.", perDisk...)
	diskVerified = describe("disk_verify_last_success_timestamp_seconds", "When the scrub last came to the end of the VM's points and knew of no damage; 0 is never. [scrub] sample says how much of them it reads.", perDisk...)
	diskTested   = describe("disk_failover_test_last_success_timestamp_seconds", "When somebody last said that a failover was tested and worked; 0 is never.", perDisk...)
	diskSuspect  = describe("disk_points_damaged", "1 while something is known to be wrong with the VM's points; only a target knows.", perDisk...)
	diskHeld     = describe("disk_points_held", "1 while points stay at a target that its keep rules let go, because a person has to look at them first or they can't be removed.", perDisk...)
	diskSeen     = describe("disk_first_seen_timestamp_seconds", "Since when this appliance knows the disk's VM.", perDisk...)
)

// The store of a target.
var (
	storeFree = describe("store_free_bytes", "Bytes that can still be written to the store's file system.")
	storeSize = describe("store_size_bytes", "Bytes that the store's file system has.")
)
