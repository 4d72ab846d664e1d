package edge

func childMain() bool { return false }
