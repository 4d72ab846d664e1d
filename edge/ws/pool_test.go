package ws

// raceEnabled tells that pools give away what they like.
var raceEnabled bool
