package client

import (
	"slices"
	"sort"

	"github.com/godwit-im/godwit"
)

// ChannelPlace says that everything of a channel up to GSeq, a sequence of the
// channel, was received.
type ChannelPlace struct {
	Conv godwit.ConversationID
	GSeq godwit.Seq
}

// channelAheadMax bounds the entries of one channel beyond a hole; what is dropped
// is fetched later.
const channelAheadMax = 256

// channel is what the client knows of one channel's log. Its entries share ready
// with the user's log, so that the application takes both in the order they came.
type channel struct {
	place    godwit.Seq     // everything up to here went into ready, once and in order
	owed     godwit.Seq     // entries up to here exist and must be fetched if they don't come
	ahead    []godwit.Entry // beyond a hole: sorted by GSeq, each above place+1
	fetching bool
	asked    godwit.Seq // what was owed when the page was asked for
	// gated: entries are parked until the next sequence of the user's log is gate,
	// which is 0 while the log's head is asked for. A group that becomes a channel,
	// or is joined, says so in the log, and that goes first.
	gated bool
	gate  godwit.Seq
}

// channels puts the entries of channels into order. It is pure, as feed is.
type channels struct {
	feed   *feed
	by     map[godwit.ConversationID]*channel
	behind map[godwit.ConversationID]bool // those that owe something
	// held while the user's log is replayed: what it still has of a group is older
	// than all of the channel that the group became. Entries are parked meanwhile.
	held    bool
	ungated []godwit.ConversationID // gated, and the head is still to be asked for
	gates   int                     // channels that are gated
}

func (c *channels) init(f *feed, places []ChannelPlace) {
	c.feed, c.by, c.behind = f, map[godwit.ConversationID]*channel{}, map[godwit.ConversationID]bool{}
	for _, p := range places {
		c.by[p.Conv] = &channel{place: p.GSeq, owed: p.GSeq}
	}
}

// places are where a resume begins, at most as many as one can name: the server
// starts the others at their heads, and what lies between is fetched.
func (c *channels) places() []godwit.ChannelPlace {
	convs := make([]godwit.ConversationID, 0, len(c.by))
	for conv := range c.by {
		convs = append(convs, conv)
	}
	slices.Sort(convs)
	convs = convs[:min(len(convs), godwit.ChannelPlacesMax)]
	list := make([]godwit.ChannelPlace, 0, len(convs))
	for _, conv := range convs {
		list = append(list, godwit.ChannelPlace{Conv: []byte(conv), GSeq: c.by[conv].place})
	}
	return list
}

// convOf is the conversation an entry belongs to; empty of a skip.
func convOf(e *godwit.Entry) godwit.ConversationID {
	switch {
	case e.Group != nil:
		return e.Group.Conv
	case e.Receipt != nil:
		return e.Receipt.Conv
	case e.Settings != nil:
		return e.Settings.Conv
	}
	return godwit.ConversationID(e.Msg.Conv)
}

// start heeds the server's word that every entry after s.GSeq will come. What lies
// between the client's own place and that is fetched, or given up and said so.
func (c *channels) start(s *godwit.ChannelStart, snapshot bool) {
	conv := godwit.ConversationID(s.Conv)
	ch := c.by[conv]
	switch {
	case ch == nil:
		ch = &channel{place: s.GSeq, owed: s.GSeq, gated: true}
		c.by[conv] = ch
		c.ungated = append(c.ungated, conv)
		c.gates++
		if s.Reset {
			c.feed.jumpChannel(conv, 0, s.GSeq)
		}
	case s.GSeq <= ch.place: // what is repeated is dropped
	case s.Reset && snapshot:
		c.feed.jumpChannel(conv, ch.place, s.GSeq)
		ch.place, ch.ahead = s.GSeq, nil
		ch.owed = ch.place
		delete(c.behind, conv)
	default:
		c.owe(conv, ch, s.GSeq)
	}
}

func (c *channels) owe(conv godwit.ConversationID, ch *channel, upTo godwit.Seq) {
	if ch.owed = max(ch.owed, upTo); ch.owed > ch.place {
		c.behind[conv] = true
	}
}

// offer takes an entry of a channel that has begun, in any order, any number of times. A skip names no channel:
// its position is a hole until another entry shows it, and then it is fetched.
func (c *channels) offer(e godwit.Entry) {
	conv := convOf(&e)
	if conv == "" {
		return
	}
	ch := c.by[conv]
	switch {
	case ch == nil: // the user has left it meanwhile
	case e.GSeq <= ch.place:
	case c.held || ch.gated:
		c.owe(conv, ch, e.GSeq)
		c.park(conv, ch, e)
	case e.GSeq > ch.place+1:
		c.owe(conv, ch, e.GSeq-1)
		c.park(conv, ch, e)
	case !c.accept(ch, e):
		c.owe(conv, ch, e.GSeq)
	default:
		c.advance(conv, ch)
	}
}

// accept appends the next entry; false when ready is full.
func (c *channels) accept(ch *channel, e godwit.Entry) bool {
	if c.feed.full() {
		return false
	}
	ch.place = e.GSeq
	ch.owed = max(ch.owed, ch.place)
	c.feed.readyBytes += len(e.Msg.Body)
	c.feed.push(Item{Entry: e})
	return true
}

// park keeps an entry beyond the hole; the farthest gives way, as in feed.park.
func (c *channels) park(conv godwit.ConversationID, ch *channel, e godwit.Entry) {
	at := sort.Search(len(ch.ahead), func(i int) bool { return ch.ahead[i].GSeq >= e.GSeq })
	if at < len(ch.ahead) && ch.ahead[at].GSeq == e.GSeq {
		return
	}
	ch.ahead = slices.Insert(ch.ahead, at, e)
	if last := len(ch.ahead) - 1; last >= channelAheadMax {
		c.owe(conv, ch, ch.ahead[last].GSeq)
		ch.ahead = ch.ahead[:last]
	}
}

// advance moves parked entries that the place has reached.
func (c *channels) advance(conv godwit.ConversationID, ch *channel) {
	n := 0
	for ; n < len(ch.ahead) && ch.ahead[n].GSeq <= ch.place+1; n++ {
		if ch.ahead[n].GSeq > ch.place && !c.accept(ch, ch.ahead[n]) {
			break
		}
	}
	if n > 0 {
		ch.ahead = slices.Delete(ch.ahead, 0, n)
	}
	if ch.owed <= ch.place {
		delete(c.behind, conv)
	}
}

// fill takes a page of the channel's history that began after place. Between its
// entries there is nothing, but parked ones may know better.
func (c *channels) fill(conv godwit.ConversationID, page *godwit.HistoryReply) {
	ch := c.by[conv]
	if ch == nil {
		return
	}
	ch.fetching = false
	if c.held || ch.gated {
		return // it is asked for again
	}
	for i := range page.Entries {
		e := page.Entries[i]
		for len(ch.ahead) > 0 && ch.ahead[0].GSeq < e.GSeq {
			if ch.ahead[0].GSeq > ch.place && !c.accept(ch, ch.ahead[0]) {
				return
			}
			ch.ahead = slices.Delete(ch.ahead, 0, 1)
		}
		switch {
		case e.GSeq <= ch.place:
		case e.IsSkip():
			ch.place = max(e.GSeq, e.SkipTo)
		case !c.accept(ch, e):
			return
		}
	}
	if !page.More || len(page.Entries) == 0 {
		c.conclude(ch)
	}
	c.advance(conv, ch)
}

// conclude: of what was owed when the page was asked for, the channel has nothing
// more but what is parked. What came to be owed since may not be in the page.
func (c *channels) conclude(ch *channel) {
	for len(ch.ahead) > 0 && ch.ahead[0].GSeq <= ch.asked {
		if ch.ahead[0].GSeq > ch.place && !c.accept(ch, ch.ahead[0]) {
			return
		}
		ch.ahead = slices.Delete(ch.ahead, 0, 1)
	}
	ch.place = max(ch.place, ch.asked)
}

// missing returns a channel of which a page must be fetched, if that finds room.
func (c *channels) missing(page int) (conv godwit.ConversationID, after godwit.Seq, ok bool) {
	if len(c.behind) == 0 || c.held || len(c.feed.ready)+page > readyMax || c.feed.readyBytes >= readyBytesMax {
		return "", 0, false
	}
	for conv := range c.behind {
		if ch := c.by[conv]; ch != nil && !ch.fetching && !ch.gated {
			return conv, ch.place, true
		}
	}
	return "", 0, false
}

// hold begins or ends a replay of the user's log.
func (c *channels) hold(replaying bool) {
	if c.held == replaying {
		return
	}
	c.held = replaying
	for conv, ch := range c.by {
		if !c.held && !ch.gated && len(ch.ahead) > 0 {
			c.advance(conv, ch)
		}
	}
}

// setGate notes the head of the user's log, as it was after the channels began.
func (c *channels) setGate(convs []godwit.ConversationID, head godwit.Seq) {
	for _, conv := range convs {
		if ch := c.by[conv]; ch != nil && ch.gated {
			ch.gate = head + 1
		}
	}
	c.openGates()
}

// openGates lets the channels go on whose gate the log has reached.
func (c *channels) openGates() {
	if c.gates == 0 {
		return
	}
	c.gates = 0
	for conv, ch := range c.by {
		switch {
		case !ch.gated:
		case ch.gate == 0 || c.feed.cursor+1 < ch.gate:
			c.gates++
		default:
			ch.gated = false
			if !c.held {
				c.advance(conv, ch)
			}
		}
	}
}

// drop forgets a channel the user is no longer in.
func (c *channels) drop(conv godwit.ConversationID) {
	delete(c.by, conv)
	delete(c.behind, conv)
}
