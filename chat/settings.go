//tidy:apply

package chat

import (
	"encoding/binary"
	"slices"

	"github.com/godwit-im/godwit"
)

// levelMax is the highest feature level this code can apply. A group's level is
// replicated and rises only when all its voters support it.
const levelMax = 2

// settings are what apply reads instead of a node's configuration: replicated,
// written by the first command of each group; only the epoch changes in this level.
type settings struct {
	level            uint32
	epoch            uint64   // incarnation of the group's logs and lanes
	messageKey       [16]byte // AES key of message ids, equal in all groups
	groups           uint32   // raft groups of the cluster, a power of two ≤ 1024
	dedupSends       uint32   // a sender's last sends that are remembered
	dedupWindowMS    uint64   // log time for which a send is remembered
	conversationsMax uint32   // conversations after which a user may open no other
	// past are the epochs before restores, newest first; zeros behind the oldest.
	past   [pastEpochsMax]uint64
	policy policy // from level 2 on
}

// policy are the rules that may be changed while a cluster lives: a leader whose
// configuration differs proposes its own at the start.
type policy struct {
	channelAbove   uint32 // a group with more members becomes a channel, for good
	membersMax     uint32 // of a group
	groupsMax      uint32 // of a user, channels included
	channelsMax    uint32 // of a user
	peopleMax      uint32 // whom a user blocks; and as many contacts
	editWindowMS   uint64 // in which a message may be edited or recalled; 0: for ever
	whoMayStart    uint8  // a 1:1 conversation: start…
	receiptMembers uint32 // groups of up to so many members tell them of each other's marks
}

// Who may start a conversation with a user. Messages of the operator always may.
const (
	startAll      = 0
	startContacts = 1 // whom he has among his contacts
	startNone     = 2
)

func (p *policy) append(dst []byte) []byte {
	for _, v := range [...]uint32{p.channelAbove, p.membersMax, p.groupsMax, p.channelsMax, p.peopleMax, p.receiptMembers} {
		dst = binary.BigEndian.AppendUint32(dst, v)
	}
	return append(binary.BigEndian.AppendUint64(dst, p.editWindowMS), p.whoMayStart)
}

func (p *policy) take(r *reader) {
	for _, v := range [...]*uint32{&p.channelAbove, &p.membersMax, &p.groupsMax, &p.channelsMax, &p.peopleMax, &p.receiptMembers} {
		*v = r.u32()
	}
	p.editWindowMS, p.whoMayStart = r.u64(), r.u8()
}

func (p *policy) valid() bool {
	return p.channelAbove >= 1 && p.membersMax >= 1 && p.editWindowMS <= 1<<62 && p.whoMayStart <= startNone
}

// Version 2 has past epochs at its end. The first restore makes it; the store
// underneath, once restored, is refused by programs that know only version 1.
// Version 3 has the policy behind them: feature level 2 makes it.
const settingsVersion = 3

func (s *settings) append(dst []byte) []byte {
	version := byte(1)
	switch {
	case s.level >= 2:
		version = 3
	case s.past[0] != 0:
		version = 2
	}
	dst = append(dst, version)
	dst = binary.BigEndian.AppendUint32(dst, s.level)
	dst = binary.BigEndian.AppendUint64(dst, s.epoch)
	dst = append(dst, s.messageKey[:]...)
	dst = binary.BigEndian.AppendUint32(dst, s.groups)
	dst = binary.BigEndian.AppendUint32(dst, s.dedupSends)
	dst = binary.BigEndian.AppendUint64(dst, s.dedupWindowMS)
	dst = binary.BigEndian.AppendUint32(dst, s.conversationsMax)
	if version >= 2 {
		for _, e := range s.past {
			dst = binary.BigEndian.AppendUint64(dst, e)
		}
	}
	if version == 3 {
		dst = s.policy.append(dst)
	}
	return dst
}

func parseSettings(src []byte) (s settings, ok bool) {
	r := reader{b: src}
	version := r.u8()
	s.level = r.u32()
	s.epoch = r.u64()
	copy(s.messageKey[:], r.take(16))
	s.groups = r.u32()
	s.dedupSends = r.u32()
	s.dedupWindowMS = r.u64()
	s.conversationsMax = r.u32()
	if version >= 2 {
		for i := range s.past {
			s.past[i] = r.u64()
		}
	}
	if version == 3 {
		s.policy.take(&r)
	}
	switch version {
	case 1:
		ok = s.level == 1
	case 2:
		ok = s.level == 1 && s.past[0] != 0
	case settingsVersion:
		ok = s.level >= 2 && s.policy.valid()
	}
	return s, ok && r.done() && s.valid()
}

// isPast tells whether an epoch ended with a restore.
func (s *settings) isPast(epoch uint64) bool { return slices.Contains(s.past[:], epoch) }

// begin moves to a new incarnation of the group.
func (s *settings) begin(epoch uint64) {
	copy(s.past[1:], s.past[:pastEpochsMax-1])
	s.past[0], s.epoch = s.epoch, epoch
}

func (s *settings) valid() bool {
	return s.level >= 1 && s.groups >= 1 && s.groups <= godwit.Partitions && s.groups&(s.groups-1) == 0 &&
		s.epoch != 0 && s.dedupSends >= 1 && s.dedupWindowMS >= 1 && s.dedupWindowMS <= 1<<62 && s.conversationsMax >= 1
}

// group returns the raft group that owns a partition.
func (s *settings) group(p godwit.Partition) int { return groupOf(p, int(s.groups)) }

func groupOf(p godwit.Partition, groups int) int { return int(p) * groups / godwit.Partitions }

// homeOf returns the first partition of a group: its settings row lies there.
func homeOf(group, groups int) godwit.Partition {
	return godwit.Partition((group*godwit.Partitions + groups - 1) / groups)
}
