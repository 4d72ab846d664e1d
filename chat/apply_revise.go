//tidy:apply

package chat

import "github.com/godwit-im/godwit"

// receiveRevise brings an edit or recall to the log of the message's recipient.
func (a *applier) receiveRevise(Tx, *settings, godwit.Partition, *reviseItem, *laneItem) {}
