package edge

import (
	"bytes"
	"slices"
	"strconv"

	"github.com/godwit-im/godwit"
)

// takePlaces copies places of a frame, which dies, in the order of their names.
// ok is false for places that no client may name.
func takePlaces(places []godwit.ChannelPlace) (taken []godwit.ChannelPlace, ok bool) {
	if len(places) == 0 || len(places) > godwit.ChannelPlacesMax {
		return nil, len(places) == 0
	}
	size := 0
	for i := range places {
		size += len(places[i].Conv)
	}
	names := make([]byte, 0, size)
	taken = make([]godwit.ChannelPlace, len(places))
	for i := range places {
		start := len(names)
		names = append(names, places[i].Conv...)
		taken[i] = godwit.ChannelPlace{Conv: names[start:len(names):len(names)], GSeq: places[i].GSeq}
		if !validPlace(&taken[i]) {
			return nil, false
		}
	}
	slices.SortFunc(taken, comparePlaces)
	return taken, isAscending(taken)
}

func validPlace(p *godwit.ChannelPlace) bool {
	id, isGroup := bytes.CutPrefix(p.Conv, groupPrefix)
	return isGroup && godwit.ValidID(id) && p.GSeq <= godwit.SeqMax
}

var groupPrefix = []byte("g:")

func comparePlaces(a, b godwit.ChannelPlace) int { return bytes.Compare(a.Conv, b.Conv) }

// isAscending reports that places are sorted and none is named twice.
func isAscending(places []godwit.ChannelPlace) bool {
	for i := 1; i < len(places); i++ {
		if comparePlaces(places[i-1], places[i]) >= 0 {
			return false
		}
	}
	return true
}

// appendPlaces writes places as a cursor and a query carry them: ",ID:GSEQ" for
// each, with the sequence in some base.
func appendPlaces(dst []byte, places []godwit.ChannelPlace, base int) []byte {
	for i := range places {
		dst = append(append(dst, ','), places[i].Conv[len(groupPrefix):]...)
		dst = strconv.AppendUint(append(dst, ':'), uint64(places[i].GSeq), base)
	}
	return dst
}

// parsePlaces takes exactly what appendPlaces writes: one spelling for one place.
// What it returns is its own, in the order of the list.
func parsePlaces(list []byte, base int) (places []godwit.ChannelPlace, ok bool) {
	if len(list) == 0 {
		return nil, true
	}
	n := bytes.Count(list, []byte{','})
	if list[0] != ',' || n > godwit.ChannelPlacesMax {
		return nil, false
	}
	names := make([]byte, 0, len(list)+n*len(groupPrefix))
	places = make([]godwit.ChannelPlace, 0, n)
	for field := range bytes.SplitSeq(list[1:], []byte{','}) {
		id, number, _ := bytes.Cut(field, []byte{':'})
		at, err := strconv.ParseUint(string(number), base, 64)
		start := len(names)
		names = append(append(names, groupPrefix...), id...)
		p := godwit.ChannelPlace{Conv: names[start:len(names):len(names)], GSeq: godwit.Seq(at)}
		if err != nil || !validPlace(&p) {
			return nil, false
		}
		places = append(places, p)
	}
	return places, bytes.Equal(appendPlaces(make([]byte, 0, len(list)), places, base), list)
}

// movePlace sets or adds a place, which is copied when it is new. A new one beyond
// ChannelPlacesMax is not kept: its channel begins again at the next poll.
func movePlace(places []godwit.ChannelPlace, conv []byte, at godwit.Seq, starts bool) []godwit.ChannelPlace {
	p := godwit.ChannelPlace{Conv: conv, GSeq: at}
	i, found := slices.BinarySearchFunc(places, p, comparePlaces)
	switch {
	case found && (starts || at > places[i].GSeq):
		places[i].GSeq = at
	case !found && len(places) < godwit.ChannelPlacesMax && validPlace(&p):
		p.Conv = bytes.Clone(conv)
		places = slices.Insert(places, i, p)
	}
	return places
}
