package chat

type channels struct{}

func (c *channels) entered(*groupEffect) {}
